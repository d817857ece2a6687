"""The bargain over one price in `Negotiation`: its goals, the talk, and the best agent.

A price is counted in *gains*: steps of the item's unit from the other side's first offer, upwards
is better for the agent. A seller's price is unit x (base + gain), a buyer's unit x (base - gain).
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import Mapping

from chat_envs.envs._negotiation_reader import Kind, read_price
from chat_envs.envs._negotiation_talk import (
    ROLES,
    Answer,
    Line,
    answer_to_verdict,
    answer_without_offer,
    data,
)
from chat_envs.message import Conversation, Role
from chat_envs.simulators.best_response import (
    BestResponse,
    PriceState,
    share_of_surplus,
)
from chat_envs.simulators.negotiator import Negotiator, Verdict, ladder
from chat_envs.simulators.stream import Uniform

__all__ = [
    "PRICE_TIERS",
    "PriceGoal",
    "PriceTalk",
    "PriceTier",
    "best_response",
    "draw_price_goal",
    "expert_price_reply",
    "is_held_out",
]

_HELD_OUT_EVERY = 5
_PATIENCE = 2
_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True, kw_only=True)
class PriceTier:
    """What a tier changes. Each value of a tuple is drawn as often as the others.

    Attributes:
        role: the agent's, None for either.
        turns: replies an agent has.
        bases: the other side's first offer in units, by the agent's role.
        limits: gains below which the agent loses.
        widths: gains at which the other side's reservation price lies.
        betas: shapes of its concessions.
        highest: a higher gain is an absurd thing to ask.
        step: how much less each offer must ask than the one before.
    """

    role: str | None
    turns: int
    bases: Mapping[str, tuple[int, ...]]
    limits: tuple[int, ...]
    widths: tuple[int, ...]
    betas: tuple[float, ...]
    highest: int
    step: int

    def ladders(self, turns: int) -> tuple[tuple[int, ...], ...]:
        """Return the ladder of each type of other side, all equally likely.

        The horizon is one step beyond the turns: who never speaks of fairness does not see
        the reservation price.
        """
        return tuple(
            ladder(width, turns + 1, beta)
            for width in self.widths
            for beta in self.betas
        )


PRICE_TIERS: Mapping[str, PriceTier] = {
    # All prices of an episode share their first digit.
    "easy": PriceTier(
        role="seller",
        turns=4,
        bases={
            "seller": tuple(range(10, 100, 10)),
            "buyer": tuple(range(19, 100, 10)),
        },
        limits=(0, 1, 2),
        widths=(5, 6, 7, 8, 9),
        betas=(0.4, 0.7, 1.5),
        highest=9,
        step=1,
    ),
    "default": PriceTier(
        role=None,
        turns=6,
        bases={"seller": tuple(range(20, 60)), "buyer": tuple(range(60, 100))},
        limits=(2, 4, 6),
        widths=tuple(range(12, 31)),
        betas=(0.2, 0.3, 0.45, 0.7, 1.0, 2.0),
        highest=40,
        step=2,
    ),
}


@dataclass(frozen=True, kw_only=True)
class PriceGoal:
    """One bargain: what the agent knows (item, unit, role, base, limit), and the other's ladder."""

    role: str
    item: str
    unit: int
    base: int
    limit: int
    ladder: tuple[int, ...]

    def price(self, gain: int) -> int:
        """Return the price at a gain."""
        sign = 1 if self.role == "seller" else -1
        return self.unit * (self.base + sign * gain)

    def gain(self, price: int) -> float:
        """Return the gain at a price; no whole number where the price is no multiple."""
        sign = 1 if self.role == "seller" else -1
        return sign * (price / self.unit - self.base)


def is_held_out(item: int, base: int, limit: int) -> bool:
    """Return whether a combination is a goal of the test split.

    It depends on what the agent is told, by index, and so tells nothing about the other side.
    """
    return (item + base + limit) % _HELD_OUT_EVERY == 0


def draw_price_goal(
    tier_name: str,
    role: str | None,
    turns: int,
    split: str,
    goal_rng: Uniform,
    behaviour_rng: Uniform,
) -> PriceGoal:
    """Return a goal of `split`; the other side's ladder comes from a stream of its own."""
    tier = PRICE_TIERS[tier_name]
    drawn_role = ROLES[int(goal_rng.random() * len(ROLES))]
    role = drawn_role if role is None else role
    items = list(data()["items"][tier_name].items())
    bases = tier.bases[role]
    while True:
        item = int(goal_rng.random() * len(items))
        base = int(goal_rng.random() * len(bases))
        limit = int(goal_rng.random() * len(tier.limits))
        if is_held_out(item, base, limit) == (split == "test"):
            break
    ladders = _ladders(tier_name, turns)
    return PriceGoal(
        role=role,
        item=items[item][0],
        unit=items[item][1],
        base=bases[base],
        limit=tier.limits[limit],
        ladder=ladders[int(behaviour_rng.random() * len(ladders))],
    )


@functools.cache
def _ladders(tier_name: str, turns: int) -> tuple[tuple[int, ...], ...]:
    return PRICE_TIERS[tier_name].ladders(turns)


class PriceTalk:
    """A bargain over one price.

    Args:
        goal: who bargains for what.
        highest: the highest gain that is not absurd.
        step: the least step.
    """

    def __init__(self, goal: PriceGoal, *, highest: int, step: int) -> None:
        self.goal = goal
        self._other = Negotiator(
            [-gain for gain in goal.ladder],
            floor=-highest,
            least_step=step,
            patience=_PATIENCE,
        )

    def opening(self) -> tuple[Line, Line]:
        """Return the briefing and the first offer."""
        goal = self.goal
        briefing = {"item": goal.item, "limit": goal.price(goal.limit)}
        return Line(f"brief.{goal.role}", briefing), self._offer("open")

    def respond(self, reply: str) -> Answer:
        """Return what the other side answers."""
        reading = read_price(reply)
        answer = answer_without_offer(reading.kind)
        if answer is not None:
            return answer
        if reading.kind is Kind.ACCEPT:
            return self._deal(-self._other.target)
        gain = self.goal.gain(reading.values[0])
        verdict = self._other.hear(
            -gain, is_fair=reading.is_fair, is_rude=reading.is_rude
        )
        if verdict is Verdict.AGREED:
            return self._deal(gain)
        if verdict is Verdict.MOVED:
            return Answer(self._offer("counter"))
        return answer_to_verdict(verdict)

    def _offer(self, key: str) -> Line:
        price = self.goal.price(round(-self._other.target))
        return Line(f"{key}.{self.goal.role}", {"price": price})

    def _deal(self, gain: float) -> Answer:
        share = share_of_surplus(gain, self.goal.limit, self.goal.ladder[-1])
        # What one side gains in price the other loses: every deal is efficient.
        return Answer(Line("deal"), share=share, pareto=1.0)


@functools.cache
def best_response(tier_name: str, limit: int, turns: int) -> BestResponse:
    """Return the optimal policy of an agent with `limit`, who knows how others may concede."""
    tier = PRICE_TIERS[tier_name]
    return BestResponse(
        _ladders(tier_name, turns),
        limit=limit,
        highest=tier.highest,
        step=tier.step,
        turns=turns,
    )


def expert_price_reply(tier_name: str, turns: int, conversation: Conversation) -> str:
    """Return the best reply of one who knows the conversation and how others may concede."""
    briefing, opening = (m.content for m in conversation.messages[1:3])
    goal = _known(tier_name, briefing, opening)
    plan = best_response(tier_name, goal.limit, turns)
    state = _state(plan, goal, conversation)
    words = data()["expert"][tier_name]
    move = plan.choose(state)
    if move is None:
        return str(words["leave"])
    if move.gain is None:
        return str(words["accept"])
    reply: str = words[f"offer.{goal.role}"].format(price=goal.price(move.gain))
    return reply + (words["fair"] if move.is_fair else "")


def _known(tier_name: str, briefing: str, opening: str) -> PriceGoal:
    """Return what the opening tells of the goal, without the ladder."""
    words = re.findall(r"[a-z]+", briefing.lower())
    role = "seller" if "sell" in words else "buyer"
    item, unit = next(
        (i, u) for i, u in data()["items"][tier_name].items() if i in words
    )
    base, limit = _first_number(opening), _first_number(briefing)
    goal = PriceGoal(
        role=role, item=item, unit=unit, base=base // unit, limit=0, ladder=()
    )
    return PriceGoal(
        role=role,
        item=item,
        unit=unit,
        base=base // unit,
        limit=round(goal.gain(limit)),
        ladder=(),
    )


def _first_number(text: str) -> int:
    match = _NUMBER.search(text)
    assert match is not None, text
    return int(match.group())


def _state(
    plan: BestResponse, goal: PriceGoal, conversation: Conversation
) -> PriceState:
    """Return what the talk so far leaves possible: a counter-offer follows a step, and only one."""
    state = plan.start
    talk = conversation.messages[3:]
    for reply, answer in zip(talk[::2], talk[1::2]):
        assert reply.role is Role.ASSISTANT
        state = state._replace(turns=state.turns - 1)
        if not _NUMBER.search(answer.content):
            continue
        reading = read_price(reply.content)
        clock = plan.clock_after(state, reading.is_fair)
        standing = round(goal.gain(_first_number(answer.content)))
        types = tuple(i for i in state.types if plan.ladders[i][clock] == standing)
        state = state._replace(
            clock=clock,
            room=math.floor(goal.gain(reading.values[0])) - plan.step,
            is_softened=state.is_softened or reading.is_fair,
            types=types,
        )
    return state
