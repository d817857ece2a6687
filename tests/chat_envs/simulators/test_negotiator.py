"""Schedules of concession, what is accepted and what moves nothing, utilities, the frontier."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.simulators.negotiator import (
    Negotiator,
    Verdict,
    concession,
    ladder,
    package_values,
    packages,
    pareto_efficiency,
    pareto_frontier,
)

TARGETS = (0, -2, -4, -8, -16)


def make(**changes: float) -> Negotiator:
    settings = {"floor": -30.0, "least_step": 2.0} | changes
    return Negotiator(
        TARGETS,
        floor=settings["floor"],
        least_step=settings["least_step"],
        patience=int(settings.get("patience", 2)),
    )


# Schedules -----------------------------------------------------------------------------------


@given(st.integers(1, 20), st.floats(0.05, 20))
def test_a_schedule_begins_with_nothing_ends_with_all_and_never_goes_back(
    horizon: int, beta: float
) -> None:
    shares = [concession(clock, horizon, beta) for clock in range(horizon + 1)]
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert all(a <= b for a, b in itertools.pairwise(shares))


@pytest.mark.parametrize("clock", [1, 2, 3])
def test_a_boulware_side_gives_less_than_a_linear_one_and_a_conceder_more(
    clock: int,
) -> None:
    boulware, linear, conceder = (concession(clock, 4, beta) for beta in (0.3, 1.0, 3))
    assert boulware < linear == clock / 4 < conceder


def test_a_known_schedule() -> None:
    assert ladder(10, 4, 0.5) == (0, 1, 3, 6, 10)  # 0.625, 2.5 and 5.625, halves up
    assert ladder(10, 4, 1.0) == (0, 3, 5, 8, 10)


@given(st.integers(1, 60), st.integers(1, 12), st.floats(0.1, 10))
def test_a_ladder_ends_at_its_width(width: int, horizon: int, beta: float) -> None:
    steps = ladder(width, horizon, beta)
    assert (len(steps), steps[0], steps[-1]) == (horizon + 1, 0, width)
    assert list(steps) == sorted(steps)


@pytest.mark.parametrize(("clock", "horizon"), [(-1, 4), (5, 4), (0, 0)])
def test_a_clock_beyond_the_horizon_is_refused(clock: int, horizon: int) -> None:
    with pytest.raises(ValueError, match=f"got {clock} of {horizon}"):
        concession(clock, horizon, 1.0)


def test_a_schedule_without_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="beta must be positive, got 0"):
        concession(1, 4, 0)


# What is accepted, and what moves -----------------------------------------------------------


def test_it_accepts_what_is_worth_its_own_offer_and_what_it_would_offer_next() -> None:
    assert make().hear(0) is Verdict.AGREED
    assert make().hear(5) is Verdict.AGREED
    assert make().hear(-2) is Verdict.AGREED
    assert make().hear(-2.5) is Verdict.MOVED


def test_every_step_moves_its_clock_by_one() -> None:
    side = make()
    targets = []
    for value in (-28, -26, -24, -22):
        assert side.hear(value) is Verdict.MOVED
        targets.append(side.target)
    assert tuple(targets) == TARGETS[1:]
    assert side.hear(-20) is Verdict.MOVED
    assert side.target == TARGETS[-1]  # it has nothing more to give


def test_the_first_offer_needs_no_step() -> None:
    assert make().hear(-30) is Verdict.MOVED


@pytest.mark.parametrize("second", [-20, -21, -18.5, -30])
def test_what_is_no_step_moves_nothing(second: float) -> None:
    side = make()
    side.hear(-20)
    assert side.hear(second, is_fair=True) is Verdict.STALLED
    assert (side.clock, side.is_softened, side.num_strikes) == (1, False, 1)
    assert (
        side.hear(-18) is Verdict.MOVED
    )  # a step from the best offer, whatever came after


def test_a_repeated_number_is_left_after_its_patience() -> None:
    side = make(patience=3)
    verdicts = [side.hear(-20) for _ in range(4)]
    assert [v.value for v in verdicts] == ["moved", "stalled", "stalled", "left"]
    assert side.target == TARGETS[1]


def test_an_absurd_offer_moves_nothing_and_is_no_offer_to_step_from() -> None:
    side = make()
    assert side.hear(-31) is Verdict.ABSURD
    assert side.hear(-30) is Verdict.MOVED
    assert side.hear(-99) is Verdict.LEFT


def test_an_insult_spoils_a_step_but_not_a_deal() -> None:
    side = make()
    assert side.hear(-20, is_rude=True) is Verdict.RUDE
    assert side.clock == 0
    assert side.hear(0, is_rude=True) is Verdict.AGREED


def test_a_fairness_word_beside_a_step_moves_the_clock_once_more_and_once_only() -> (
    None
):
    side = make()
    side.hear(-28, is_fair=True)
    assert (side.clock, side.is_softened) == (2, True)
    side.hear(-26, is_fair=True)
    assert side.clock == 3
    assert make().hear(-4, is_fair=True) is Verdict.AGREED
    assert make().hear(-4) is Verdict.MOVED


def test_strikes_of_all_kinds_add_up() -> None:
    side = make(patience=3)
    side.hear(-20)
    assert side.hear(-99) is Verdict.ABSURD
    assert side.hear(-18, is_rude=True) is Verdict.RUDE
    assert side.hear(-20) is Verdict.LEFT


@given(st.lists(st.tuples(st.floats(-40, 20), st.booleans(), st.booleans())))
def test_its_offer_never_gets_worse_for_the_agent_nor_passes_its_reserve(
    said: list[tuple[float, bool, bool]],
) -> None:
    side = make(patience=1000)
    before = side.target
    for value, is_fair, is_rude in said:
        verdict = side.hear(value, is_fair=is_fair, is_rude=is_rude)
        assert TARGETS[-1] <= side.target <= before
        before = side.target
        if verdict is Verdict.AGREED:
            assert value >= side.target
        else:
            assert value < side.target


def test_targets_that_rise_are_refused() -> None:
    with pytest.raises(ValueError, match="never rise"):
        Negotiator([0, -2, -1], floor=-9, least_step=1, patience=2)


# Utilities and the frontier ------------------------------------------------------------------


def test_packages_are_all_combinations_once() -> None:
    every = packages(3, 5)
    assert len(every) == len(set(every)) == 125
    assert (every[0], every[-1]) == ((0, 0, 0), (4, 4, 4))


def test_utilities_add_up() -> None:
    values = package_values((5, 3, 2), packages(3, 5))
    assert (values[0], values[-1]) == (0, 40)
    assert values[packages(3, 5).index((1, 2, 3))] == 5 + 6 + 6


points = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=14
)


@given(points)
def test_the_frontier_is_what_nothing_dominates(pairs: list[tuple[int, int]]) -> None:
    def is_dominated(own: int, other: int) -> bool:
        return any(a >= own and b >= other and (a > own or b > other) for a, b in pairs)

    expected = tuple(i for i, pair in enumerate(pairs) if not is_dominated(*pair))
    own, other = zip(*pairs, strict=True)
    assert pareto_frontier(own, other) == expected


@given(points)
def test_efficiency_is_one_on_the_frontier_and_less_where_more_was_free(
    pairs: list[tuple[int, int]],
) -> None:
    own, other = zip(*pairs, strict=True)
    frontier = pareto_frontier(own, other)
    for index, (value, left) in enumerate(pairs):
        efficiency = pareto_efficiency(index, own, other)
        assert 0.0 <= efficiency <= 1.0
        if index in frontier:
            assert efficiency == 1.0
        if any(a > value and b >= left for a, b in pairs):
            assert efficiency < 1.0
