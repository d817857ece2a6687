"""The other side of a bargain: how far it concedes, what it accepts, when it leaves.

Time-dependent tactics (Faratin, Sierra and Jennings 1998, "Negotiation decision functions for
autonomous agents"): the share conceded at time t of a horizon H is (t/H)^(1/beta). A Boulware
tactic (beta < 1) gives way late, a conceder (beta > 1) early. An offer is accepted if it is worth
at least what this side would itself propose next.

Against a clock that simply runs, the best answer is to wait. Here the clock moves only for one
who moves too: an offer that is no step, an absurd or a rude one leaves it where it is, and after
`patience` of them the other side leaves. A fairness word beside a step moves the clock once more,
once in an episode.

Everything is measured in the other side's own value, so prices and packages share one `Negotiator`.
"""

from __future__ import annotations

import enum
import itertools
from typing import Sequence

__all__ = [
    "Negotiator",
    "Verdict",
    "concession",
    "ladder",
    "package_values",
    "packages",
    "pareto_efficiency",
    "pareto_frontier",
]

_ROUNDING = 1e-9


class Verdict(str, enum.Enum):
    """What the other side makes of an offer."""

    AGREED = "agreed"
    MOVED = "moved"
    STALLED = "stalled"
    ABSURD = "absurd"
    RUDE = "rude"
    LEFT = "left"


def concession(clock: int, horizon: int, beta: float) -> float:
    """Return the share that is conceded at `clock`: (clock / horizon)^(1 / beta).

    >>> [round(concession(t, 4, 0.5), 2) for t in range(5)]  # Boulware
    [0.0, 0.06, 0.25, 0.56, 1.0]
    >>> [round(concession(t, 4, 2.0), 2) for t in range(5)]  # conceder
    [0.0, 0.5, 0.71, 0.87, 1.0]
    """
    if not 0 <= clock <= horizon or horizon < 1:
        raise ValueError(
            f"clock must be from 0 to the horizon, at least 1; got {clock} of {horizon}."
        )
    if not beta > 0:
        raise ValueError(f"beta must be positive, got {beta}.")
    return float((clock / horizon) ** (1.0 / beta))


def ladder(width: int, horizon: int, beta: float) -> tuple[int, ...]:
    """Return what is conceded of `width` at each clock from 0 to `horizon`, in whole steps.

    >>> ladder(8, 4, 1.0)
    (0, 2, 4, 6, 8)
    """
    # Halves up: Python's own rounding to even would make two ladders of one shape differ.
    return tuple(
        int(width * concession(clock, horizon, beta) + 0.5)
        for clock in range(horizon + 1)
    )


class Negotiator:
    """One side of a bargain in one episode.

    Args:
        targets: the value of its own offer at each clock; never rising, the last one is its
            reservation value.
        floor: an offer worth less to it is absurd.
        least_step: an offer must be worth so much more to it than the best before.
        patience: how many offers that are no step, absurd or rude make it leave.

    >>> buyer = Negotiator([0, -2, -4], floor=-9, least_step=1, patience=2)
    >>> [buyer.hear(value).value for value in (-6, -6, -4)]
    ['moved', 'stalled', 'agreed']
    """

    def __init__(
        self,
        targets: Sequence[float],
        *,
        floor: float,
        least_step: float,
        patience: int,
    ) -> None:
        if any(after > before for before, after in itertools.pairwise(targets)):
            raise ValueError(f"targets must never rise, got {list(targets)}.")
        self._targets = targets
        self._floor = floor
        self._least_step = least_step
        self._patience = patience
        self._best: float | None = None
        self.clock = 0
        self.num_strikes = 0
        self.is_softened = False

    @property
    def target(self) -> float:
        """The value of its own offer of now: it accepts what is worth as much."""
        return self._targets[self.clock]

    def hear(
        self, value: float, *, is_fair: bool = False, is_rude: bool = False
    ) -> Verdict:
        """Return what it makes of an offer.

        Args:
            value: what the offer is worth to it.
            is_fair: whether fairness was spoken of.
            is_rude: whether it was insulted.
        """
        if value >= self.target:
            return Verdict.AGREED
        if is_rude:
            return self._strike(Verdict.RUDE)
        if value < self._floor - _ROUNDING:
            return self._strike(Verdict.ABSURD)
        if self._best is not None and value < self._best + self._least_step - _ROUNDING:
            return self._strike(Verdict.STALLED)
        self._best = value
        self.clock += 1 + (is_fair and not self.is_softened)
        self.clock = min(self.clock, len(self._targets) - 1)
        self.is_softened = self.is_softened or is_fair
        return Verdict.AGREED if value >= self.target else Verdict.MOVED

    def _strike(self, verdict: Verdict) -> Verdict:
        self.num_strikes += 1
        return Verdict.LEFT if self.num_strikes >= self._patience else verdict


def packages(num_issues: int, num_levels: int) -> tuple[tuple[int, ...], ...]:
    """Return every package: one level an issue, in lexical order.

    >>> packages(2, 2)
    ((0, 0), (0, 1), (1, 0), (1, 1))
    """
    return tuple(itertools.product(range(num_levels), repeat=num_issues))


def package_values(
    weights: Sequence[int], levels: Sequence[Sequence[int]]
) -> tuple[int, ...]:
    """Return the additive utility of each package: the sum of weight times level.

    >>> package_values((5, 1), packages(2, 2))
    (0, 1, 5, 6)
    """
    return tuple(
        sum(w * level for w, level in zip(weights, package, strict=True))
        for package in levels
    )


def pareto_frontier(own: Sequence[float], other: Sequence[float]) -> tuple[int, ...]:
    """Return the indices of outcomes that no other one dominates.

    Args:
        own: value of each outcome to one side.
        other: value of each outcome to the other side.

    >>> pareto_frontier([0, 1, 2, 1], [2, 2, 0, 1])
    (1, 2)
    """
    order = sorted(range(len(own)), key=lambda i: (-own[i], -other[i]))
    frontier: list[int] = []
    most = float("-inf")  # the other side's best among outcomes at least as good here
    for _, group in itertools.groupby(order, key=lambda i: own[i]):
        equals = list(group)
        top = other[equals[0]]
        if top > most:
            frontier += [i for i in equals if other[i] == top]
            most = top
    return tuple(sorted(frontier))


def pareto_efficiency(
    index: int, own: Sequence[float], other: Sequence[float]
) -> float:
    """Return own value over the best own value that costs the other side nothing, in [0, 1].

    It is 1 where nothing more could be had without loss to the other side; values are at least 0.

    >>> pareto_efficiency(3, [0, 1, 2, 1], [2, 2, 0, 1])
    1.0
    >>> pareto_efficiency(0, [0, 1, 2, 1], [2, 2, 0, 1])
    0.0
    """
    best = max(o for o, v in zip(own, other, strict=True) if v >= other[index])
    return own[index] / best if best > 0 else 1.0
