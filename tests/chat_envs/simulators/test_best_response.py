"""The search for the best response: against brute force over every offer, and by known answers."""

from __future__ import annotations

import functools
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_envs.simulators.best_response import (
    BestResponse,
    Move,
    PriceState,
    share_of_surplus,
)
from chat_envs.simulators.negotiator import Negotiator, Verdict, ladder

Ladder = tuple[int, ...]


def side(steps: Ladder, highest: int, step: int) -> Negotiator:
    return Negotiator([-s for s in steps], floor=-highest, least_step=step, patience=2)


def brute_force(
    ladders: list[Ladder], limit: int, highest: int, step: int, turns: int
) -> float:
    """Return the best mean share over every policy, by trying every reply after every answer.

    It plays the real `Negotiator`, with offers that are no step or absurd among the replies.
    """
    replies = [
        (gain, fair) for gain in range(-1, highest + 2) for fair in (False, True)
    ]

    def answer(
        steps: Ladder, history: tuple[tuple[int, bool], ...]
    ) -> tuple[Verdict, int]:
        other = side(steps, highest, step)
        verdict = Verdict.MOVED
        for gain, fair in history:
            verdict = other.hear(-gain, is_fair=fair)
        return verdict, -round(other.target)

    @functools.cache
    def best(history: tuple[tuple[int, bool], ...], types: tuple[int, ...]) -> float:
        """Return the summed shares of `types`, all still bargaining after `history`."""
        if len(history) == turns:
            return 0.0
        standing = answer(ladders[types[0]], history)[1]
        top = max(
            0.0,
            sum(share_of_surplus(standing, limit, ladders[i][-1]) for i in types),
        )
        for reply in replies:
            total = 0.0
            groups: dict[tuple[Verdict, int], list[int]] = {}
            for i in types:
                verdict, standing = answer(ladders[i], (*history, reply))
                if verdict is Verdict.AGREED:
                    total += share_of_surplus(reply[0], limit, ladders[i][-1])
                elif verdict is not Verdict.LEFT:
                    groups.setdefault((verdict, standing), []).append(i)
            for group in groups.values():
                total += best((*history, reply), tuple(group))
            top = max(top, total)
        return top

    return best((), tuple(range(len(ladders)))) / len(ladders)


def play(plan: BestResponse, index: int, highest: int) -> float:
    """Return the share that the plan's moves earn against the real other side of a type."""
    steps = plan.ladders[index]
    other = side(steps, highest, plan.step)
    state = plan.start
    while state.turns and (move := plan.choose(state)) is not None:
        if move.gain is None:
            return share_of_surplus(-other.target, plan.limit, steps[-1])
        clock = plan.clock_after(state, move.is_fair)
        verdict = other.hear(-move.gain, is_fair=move.is_fair)
        if verdict is Verdict.AGREED:
            return share_of_surplus(move.gain, plan.limit, steps[-1])
        assert verdict is Verdict.MOVED
        assert other.clock == clock
        state = PriceState(
            state.turns - 1,
            clock,
            move.gain - plan.step,
            other.is_softened,
            tuple(
                i for i in state.types if plan.ladders[i][clock] == -round(other.target)
            ),
        )
        assert index in state.types
    return 0.0


@settings(max_examples=12)
@given(
    st.lists(
        st.tuples(st.integers(2, 4), st.sampled_from([0.4, 1.0, 2.0])),
        min_size=1,
        max_size=3,
        unique=True,
    ),
    st.integers(0, 1),
    st.integers(1, 2),
    st.integers(1, 3),
)
def test_no_policy_beats_the_search(
    types: list[tuple[int, float]], limit: int, step: int, turns: int
) -> None:
    ladders = [ladder(width, turns + 1, beta) for width, beta in types]
    plan = BestResponse(ladders, limit=limit, highest=5, step=step, turns=turns)
    assert plan.value == pytest.approx(brute_force(ladders, limit, 5, step, turns))


@pytest.mark.parametrize(("limit", "turns"), [(0, 4), (2, 4), (2, 3), (1, 5)])
def test_its_moves_earn_its_value(limit: int, turns: int) -> None:
    ladders = [
        ladder(width, turns + 1, beta)
        for width, beta in itertools.product((5, 7, 9), (0.4, 1.5))
    ]
    plan = BestResponse(ladders, limit=limit, highest=9, step=1, turns=turns)
    earned = [play(plan, i, 9) for i in range(len(ladders))]
    assert sum(earned) / len(earned) == pytest.approx(plan.value)
    assert min(earned) >= 0.0


def test_against_one_known_side_it_takes_all() -> None:
    plan = BestResponse([(0, 0, 0, 6)], limit=1, highest=9, step=1, turns=2)
    assert plan.value == pytest.approx(1.0)  # a fairness word saves the missing turn
    first = plan.choose(plan.start)
    assert first == Move(9, True)
    last = plan.choose(PriceState(1, 2, 8, True, (0,)))
    assert last == Move(6, False)


def test_it_takes_what_stands_where_no_step_is_left() -> None:
    plan = BestResponse([(0, 2, 4, 6)], limit=1, highest=9, step=1, turns=3)
    assert plan.choose(PriceState(1, 2, 3, True, (0,))) == Move(None)
    assert plan.choose(PriceState(1, 1, 4, True, (0,))) == Move(4)


def test_it_leaves_rather_than_lose() -> None:
    plan = BestResponse([(0, 1, 2, 8)], limit=5, highest=9, step=1, turns=1)
    assert plan.value == 0.0
    assert plan.choose(plan.start) is None


def test_a_wider_choice_never_hurts() -> None:
    ladders = [ladder(w, 5, b) for w, b in itertools.product((5, 8), (0.4, 1.5))]

    def value(limit: int, highest: int, step: int, turns: int) -> float:
        return BestResponse(
            ladders, limit=limit, highest=highest, step=step, turns=turns
        ).value

    assert value(1, 9, 1, 2) <= value(1, 9, 1, 3) <= value(1, 9, 1, 4)
    assert value(1, 9, 3, 4) <= value(1, 9, 2, 4) <= value(1, 9, 1, 4)
    assert value(1, 7, 1, 4) <= value(1, 9, 1, 4)


def test_a_side_without_surplus_is_refused() -> None:
    with pytest.raises(ValueError, match="end above the limit 4"):
        BestResponse([(0, 2, 4)], limit=4, highest=9, step=1, turns=2)


@given(
    st.integers(-200, 80).map(lambda quarters: quarters / 4),
    st.integers(0, 5),
    st.integers(6, 20),
)
def test_a_share_is_at_least_minus_one_and_one_at_the_width(
    gain: float, limit: int, width: int
) -> None:
    share = share_of_surplus(gain, limit, width)
    assert share >= -1.0
    assert (share > 0) == (gain > limit)
    assert share_of_surplus(limit, limit, width) == 0.0
    assert share_of_surplus(width, limit, width) == 1.0
