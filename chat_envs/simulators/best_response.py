"""The best answer to a `Negotiator` over one price whose type is unknown: exact, by search.

The other side concedes on one of several equally likely ladders. Its offers are certain given the
ladder, so a belief is the set of ladders that agree with what was heard, and a turn splits it.

Three observations keep the search small without changing its result:
- A turn without a step leaves everything as it is but the turns, so it is never better than a step.
- Offers that the same ladders accept differ in price alone, and a higher one leaves more room.
  So only the prices at which some ladder begins to accept are worth a try, and the highest allowed.
- To leave pays 0, so no deal at a loss is ever made.

Gains are counted in steps from the other side's first offer, upwards is better for this side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Sequence

__all__ = ["BestResponse", "Move", "PriceState", "share_of_surplus"]

_LEAST_GAIN = 1e-12  # ties go to what was tried first, not to rounding


class Move(NamedTuple):
    """What to do: offer `gain` with or without a fairness word, or accept where it is None."""

    gain: int | None
    is_fair: bool = False


class PriceState(NamedTuple):
    """What one side knows.

    Attributes:
        turns: replies left.
        clock: the other side's.
        room: the highest gain that is still a step.
        is_softened: whether a fairness word was used up.
        types: the ladders that are still possible; all made the same offer last.
    """

    turns: int
    clock: int
    room: int
    is_softened: bool
    types: tuple[int, ...]


@dataclass(frozen=True)
class _Choice:
    total: float
    move: Move | None


def share_of_surplus(gain: float, limit: float, width: float) -> float:
    """Return the share of the surplus of a deal, from -1 (a great loss) to 1.

    Args:
        gain: the deal, in steps from the other side's first offer.
        limit: the gain below which this side loses.
        width: the gain at which the other side's reservation lies.

    >>> share_of_surplus(6, 2, 10), share_of_surplus(1, 2, 10), share_of_surplus(-99, 2, 10)
    (0.5, -0.125, -1.0)
    """
    return max(-1.0, (gain - limit) / (width - limit))


class BestResponse:
    """The optimal policy of one side against ladders it cannot tell apart at first.

    Args:
        ladders: what the other side concedes at each clock; the last step of each is the most.
        limit: the gain below which a deal is a loss.
        highest: a higher offer is absurd.
        step: how much lower than the last an offer must be.
        turns: replies in an episode.

    >>> one = BestResponse([(0, 1, 4), (0, 2, 8)], limit=0, highest=9, step=1, turns=2)
    >>> one.value, one.choose(one.start)
    (1.0, Move(gain=9, is_fair=True))
    """

    def __init__(
        self,
        ladders: Sequence[tuple[int, ...]],
        *,
        limit: int,
        highest: int,
        step: int,
        turns: int,
    ) -> None:
        if any(steps[-1] <= limit for steps in ladders):
            raise ValueError(
                f"Every ladder must end above the limit {limit}, got {list(ladders)}."
            )
        self.ladders = tuple(ladders)
        self.limit = limit
        self.step = step
        self.start = PriceState(turns, 0, highest, False, tuple(range(len(ladders))))
        self._known: dict[PriceState, _Choice] = {}

    @property
    def value(self) -> float:
        """The expected share of the surplus: no policy with the same knowledge earns more."""
        return self._solve(self.start).total / len(self.ladders)

    def choose(self, state: PriceState) -> Move | None:
        """Return the best move, None for to leave."""
        return self._solve(state).move

    def clock_after(self, state: PriceState, is_fair: bool) -> int:
        """Return the other side's clock after a step."""
        clock = state.clock + 1 + (is_fair and not state.is_softened)
        return min(clock, len(self.ladders[0]) - 1)

    def _solve(self, state: PriceState) -> _Choice:
        if not state.turns:
            return _Choice(0.0, None)
        if state not in self._known:
            self._known[state] = self._search(state)
        return self._known[state]

    def _search(self, state: PriceState) -> _Choice:
        standing = self.ladders[state.types[0]][state.clock]
        best = _Choice(0.0, None)
        total = sum(self._share(i, standing) for i in state.types)
        if total > best.total + _LEAST_GAIN:
            best = _Choice(total, Move(None))
        for is_fair in (False,) if state.is_softened else (True, False):
            clock = self.clock_after(state, is_fair)
            tries = {self.ladders[i][clock] for i in state.types} | {state.room}
            for gain in sorted(tries, reverse=True):
                if not standing < gain <= state.room:
                    continue
                total = self._total(state, gain, is_fair, clock)
                if total > best.total + _LEAST_GAIN:
                    best = _Choice(total, Move(gain, is_fair))
        return best

    def _total(self, state: PriceState, gain: int, is_fair: bool, clock: int) -> float:
        """Return the summed shares over the types of `state` after an offer."""
        total = 0.0
        refused: dict[int, list[int]] = {}
        for i in state.types:
            threshold = self.ladders[i][clock]
            if threshold >= gain:
                total += self._share(i, gain)
            else:
                refused.setdefault(threshold, []).append(i)
        for types in refused.values():
            after = PriceState(
                turns=state.turns - 1,
                clock=clock,
                room=gain - self.step,
                is_softened=state.is_softened or is_fair,
                types=tuple(types),
            )
            total += self._solve(after).total
        return total

    def _share(self, index: int, gain: int) -> float:
        return share_of_surplus(gain, self.limit, self.ladders[index][-1])
