"""The scripted agent for the bargain over three issues in `Negotiation`.

It replays the talk for every type that the other side may be, keeps those that would have
answered as the other side did, and plans for them alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Sequence

from chat_envs.envs._negotiation_package import (
    FLOOR,
    ISSUES,
    OPENING,
    OTHER_TYPES,
    PACKAGES,
    STEP,
    PackageGoal,
    best_utility,
    nearest_package,
    other_values,
    own_values,
)
from chat_envs.envs._negotiation_reader import read_package
from chat_envs.envs._negotiation_talk import data
from chat_envs.message import Conversation
from chat_envs.simulators.negotiator import Negotiator, Verdict

__all__ = ["expert_package_reply"]

_NUMBER = re.compile(r"[0-9]+")


@dataclass
class _Suspect:
    """A type that the other side may be, in the state in which it then would be."""

    goal: PackageGoal
    negotiator: Negotiator
    best: int  # the most that an offer of the agent was worth to it
    standing: int = OPENING

    def values(self) -> tuple[int, ...]:
        return other_values(self.goal.other.weights)

    def best_utility(self) -> int:
        """Return the most that the agent could have of it."""
        other = self.goal.other
        return best_utility(self.goal.weights, other.weights, other.reserve)

    def hear(self, index: int, is_fair: bool) -> Verdict:
        """Take an offer in, as the other side would."""
        value = self.values()[index]
        verdict = self.negotiator.hear(value, is_fair=is_fair)
        if verdict is Verdict.MOVED:
            self.best = value
            self.standing = nearest_package(
                self.goal.other.weights, int(self.negotiator.target), index
            )
        return verdict

    def next_target(self, turns: int, is_fair: bool) -> int:
        """Return what it will accept after one more step."""
        targets = self.goal.other.targets(turns)
        clock = self.negotiator.clock + 1
        clock += is_fair and not self.negotiator.is_softened
        return targets[min(clock, len(targets) - 1)]


def expert_package_reply(turns: int, conversation: Conversation) -> str:
    """Return what a good agent says who knows the conversation and how others may concede.

    It keeps every type of other side that would have answered as this one did, asks for much and
    yields where that costs least until the last turn, and then offers what is worth most
    in expectation.
    """
    words = data()["expert"]["hard"]
    suspects, turns_left = _suspects(turns, conversation)
    goal = suspects[0].goal
    is_fair = not suspects[0].negotiator.is_softened
    index = _last_offer(suspects, turns) if turns_left == 1 else _step(suspects)
    if index is None:
        return str(words["accept"])
    values = dict(zip(ISSUES, goal.values(index), strict=True))
    reply: str = words["offer"].format(**values)
    return reply + (words["fair"] if is_fair else "")


def _suspects(turns: int, conversation: Conversation) -> tuple[list[_Suspect], int]:
    """Return the types that agree with the talk, and how many replies are left."""
    messages = conversation.messages
    briefing = messages[1].content.lower()
    *weights, need = (int(n) for n in _NUMBER.findall(briefing))
    role = "seller" if "sell" in briefing else "buyer"
    suspects = [
        _Suspect(
            PackageGoal(role=role, weights=tuple(weights), need=need, other=other),
            other.negotiator(turns),
            FLOOR - STEP,
        )
        for other in OTHER_TYPES
    ]
    talk = messages[3:]
    for reply, answer in zip(talk[::2], talk[1::2]):
        reading = read_package(reply.content, data()["issues"], len(ISSUES))
        index = suspects[0].goal.index(reading.values) if reading.values else None
        if index is None:
            continue
        heard = read_package(answer.content, data()["issues"], len(ISSUES))
        kept = []
        for suspect in suspects:
            verdict = suspect.hear(index, reading.is_fair)
            if heard.values:
                said = suspect.goal.values(suspect.standing)
                if verdict is Verdict.MOVED and said == heard.values:
                    kept.append(suspect)
            elif verdict in (Verdict.STALLED, Verdict.ABSURD):
                kept.append(suspect)
        suspects = kept or suspects
    return suspects, turns - len(talk) // 2


def _step(suspects: Sequence[_Suspect]) -> int | None:
    """Return a step, whoever the other side is, that leaves the most room for later ones."""
    own = own_values(suspects[0].goal.weights)
    tables = [(s.values(), s.best + STEP) for s in suspects]
    steps = [
        index
        for index in range(len(PACKAGES))
        if all(values[index] >= least for values, least in tables)
    ]
    if not steps:
        return None
    return min(
        steps,
        key=lambda index: (
            max(values[index] - least for values, least in tables),
            -own[index],
        ),
    )


def _last_offer(suspects: Sequence[_Suspect], turns: int) -> int | None:
    """Return the package of the highest expected share, None to accept what stands."""
    goal = suspects[0].goal
    own = own_values(goal.weights)
    is_fair = not suspects[0].negotiator.is_softened
    # A point is worth more where less is to be had.
    checks = [
        (
            s.values(),
            max(s.next_target(turns, is_fair), s.best + STEP),
            1.0 / (s.best_utility() - goal.need),
        )
        for s in suspects
    ]

    def expected(index: int) -> float:
        worth = sum(w for values, least, w in checks if values[index] >= least)
        return (own[index] - goal.need) * worth

    best = max(range(len(PACKAGES)), key=expected)
    accepted = sum(s.goal.share(s.standing) for s in suspects)
    return None if accepted >= expected(best) else best
