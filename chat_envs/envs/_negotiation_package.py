"""The bargain over three issues in `Negotiation`: its goals, the talk, and a good agent.

A package gives each issue a *level* from 0 (best for the other side) to 4 (best for the agent); the
value that is spoken of is 1 + level where the agent wants much, 5 - level where it wants little.
Utilities are additive (Raiffa 1982): a level times the issue's private weight, up to 40 points. The
weights of the two sides differ, so both gain when each yields where it cares less.

The other side answers with the package nearest to the agent's among those worth enough to it
(the trade-off of Faratin, Sierra and Jennings 2002, there by similarity, here by levels).
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Sequence

from chat_envs.envs._negotiation_reader import Kind, read_package
from chat_envs.envs._negotiation_talk import (
    ROLES,
    Answer,
    Line,
    answer_to_verdict,
    answer_without_offer,
    data,
)
from chat_envs.simulators.negotiator import (
    Negotiator,
    Verdict,
    concession,
    package_values,
    packages,
    pareto_efficiency,
)
from chat_envs.simulators.stream import Uniform

__all__ = [
    "FLOOR",
    "ISSUES",
    "NEEDS",
    "OPENING",
    "OTHER_TYPES",
    "OtherType",
    "PACKAGES",
    "PackageGoal",
    "PackageTalk",
    "STEP",
    "TURNS",
    "best_utility",
    "draw_package_goal",
    "is_held_out",
    "nearest_package",
    "other_values",
    "own_values",
]

ISSUES = ("price", "days", "years")
TURNS = 6
NEEDS = (10, 12, 14)  # points below which the agent loses
_WEIGHTS = tuple(itertools.permutations((5, 3, 2)))
_MOST = 40  # points: every level at its best
_NUM_LEVELS = 5
FLOOR = 2  # an offer must leave the other side the least that a step is worth
STEP = 2
_PATIENCE = 2
_HELD_OUT_EVERY = 4
# Which issues a role wants much of: a seller a high price, much time, and a short warranty.
_WANTS_MUCH = {"seller": (True, True, False), "buyer": (False, False, True)}
PACKAGES = packages(len(ISSUES), _NUM_LEVELS)
OPENING = 0  # the best for the other side


@dataclass(frozen=True)
class OtherType:
    """What the agent does not know of the other side.

    Attributes:
        weights: points a level, an issue.
        beta: the shape of its concessions.
        reserve: points below which it agrees to nothing.
    """

    weights: tuple[int, ...]
    beta: float
    reserve: int

    def targets(self, turns: int) -> tuple[int, ...]:
        """Return what it wants at each clock; the horizon is one step beyond the turns."""
        return _targets(self, turns)

    def negotiator(self, turns: int) -> Negotiator:
        """Return it at the start of an episode."""
        return Negotiator(
            self.targets(turns), floor=FLOOR, least_step=STEP, patience=_PATIENCE
        )


OTHER_TYPES = tuple(
    OtherType(weights, beta, reserve)
    for weights in _WEIGHTS
    for beta in (0.4, 0.8, 1.6)
    for reserve in (14, 18)
)


@dataclass(frozen=True, kw_only=True)
class PackageGoal:
    """One bargain: what the agent knows (role, weights, need), and the other side."""

    role: str
    weights: tuple[int, ...]
    need: int
    other: OtherType

    def values(self, index: int) -> tuple[int, ...]:
        """Return the values that are spoken of in a package."""
        return tuple(
            1 + level if is_much else _NUM_LEVELS - level
            for level, is_much in zip(
                PACKAGES[index], _WANTS_MUCH[self.role], strict=True
            )
        )

    def index(self, values: Sequence[int]) -> int | None:
        """Return the package with these values, None where one is out of range."""
        index = 0
        for value, is_much in zip(values, _WANTS_MUCH[self.role], strict=True):
            if not 1 <= value <= _NUM_LEVELS:
                return None
            index = index * _NUM_LEVELS + (
                value - 1 if is_much else _NUM_LEVELS - value
            )
        return index

    def share(self, index: int) -> float:
        """Return the normalised utility: 0 at the need, 1 at the best to be had, at least -1."""
        best = best_utility(self.weights, self.other.weights, self.other.reserve)
        own = own_values(self.weights)[index]
        return max(-1.0, (own - self.need) / (best - self.need))


@functools.cache
def _targets(other: OtherType, turns: int) -> tuple[int, ...]:
    horizon = turns + 1
    return tuple(
        _MOST
        - int((_MOST - other.reserve) * concession(clock, horizon, other.beta) + 0.5)
        for clock in range(horizon + 1)
    )


@functools.cache
def own_values(weights: tuple[int, ...]) -> tuple[int, ...]:
    """Return the agent's utility of each package."""
    return package_values(weights, PACKAGES)


@functools.cache
def other_values(weights: tuple[int, ...]) -> tuple[int, ...]:
    """Return the other side's utility of each package."""
    return tuple(_MOST - value for value in own_values(weights))


@functools.cache
def best_utility(
    own_weights: tuple[int, ...], other_weights: tuple[int, ...], reserve: int
) -> int:
    """Return the most that an agent can have while the other side keeps its reserve.

    >>> best_utility((5, 3, 2), (5, 3, 2), 18), best_utility((5, 3, 2), (2, 3, 5), 18)
    (22, 32)
    """
    return max(
        own
        for own, other in zip(own_values(own_weights), other_values(other_weights))
        if other >= reserve
    )


@functools.cache
def nearest_package(weights: tuple[int, ...], target: int, heard: int) -> int:
    """Return the package nearest to `heard` among those worth `target` to the other side."""
    levels = PACKAGES[heard]
    values = other_values(weights)
    return min(
        (index for index, value in enumerate(values) if value >= target),
        key=lambda index: (
            sum(abs(a - b) for a, b in zip(PACKAGES[index], levels)),
            -values[index],
            index,
        ),
    )


def is_held_out(role: int, weights: int, need: int) -> bool:
    """Return whether a combination, by index, is a goal of the test split.

    It depends on what the agent is told, and so tells nothing about the other side.
    """
    return (role + weights + need) % _HELD_OUT_EVERY == 0


def draw_package_goal(
    role: str | None, split: str, goal_rng: Uniform, behaviour_rng: Uniform
) -> PackageGoal:
    """Return a goal of `split`; the other side comes from a stream of its own."""
    while True:
        drawn = int(goal_rng.random() * len(ROLES))
        role_index = drawn if role is None else ROLES.index(role)
        weights = int(goal_rng.random() * len(_WEIGHTS))
        need = int(goal_rng.random() * len(NEEDS))
        if is_held_out(role_index, weights, need) == (split == "test"):
            break
    return PackageGoal(
        role=ROLES[role_index],
        weights=_WEIGHTS[weights],
        need=NEEDS[need],
        other=OTHER_TYPES[int(behaviour_rng.random() * len(OTHER_TYPES))],
    )


class PackageTalk:
    """A bargain over three issues.

    Args:
        goal: who bargains, and with whom.
        turns: replies the agent has.
    """

    def __init__(self, goal: PackageGoal, turns: int) -> None:
        self.goal = goal
        self._other = goal.other.negotiator(turns)
        self._standing = OPENING

    def opening(self) -> tuple[Line, Line]:
        """Return the briefing and the first offer, the best for the other side."""
        goal = self.goal
        briefing = {f"w{i}": weight for i, weight in enumerate(goal.weights)}
        return (
            Line(f"brief.{goal.role}", {**briefing, "need": goal.need}),
            self._offer("open"),
        )

    def respond(self, reply: str) -> Answer:
        """Return what the other side answers."""
        reading = read_package(reply, data()["issues"], len(ISSUES))
        answer = answer_without_offer(reading.kind)
        if answer is not None:
            return answer
        if reading.kind is Kind.ACCEPT:
            return self._deal(self._standing)
        index = self.goal.index(reading.values)
        if index is None:
            return Answer(Line(Kind.UNREAD.value))
        weights = self.goal.other.weights
        verdict = self._other.hear(
            other_values(weights)[index],
            is_fair=reading.is_fair,
            is_rude=reading.is_rude,
        )
        if verdict is Verdict.AGREED:
            return self._deal(index)
        if verdict is Verdict.MOVED:
            self._standing = nearest_package(weights, int(self._other.target), index)
            return Answer(self._offer("counter"))
        return answer_to_verdict(verdict)

    def _offer(self, key: str) -> Line:
        return Line(
            key, dict(zip(ISSUES, self.goal.values(self._standing), strict=True))
        )

    def _deal(self, index: int) -> Answer:
        goal = self.goal
        pareto = pareto_efficiency(
            index, own_values(goal.weights), other_values(goal.other.weights)
        )
        return Answer(Line("deal"), share=goal.share(index), pareto=pareto)
