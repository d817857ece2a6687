"""The statistics: against numbers by hand, against scipy, and under what changes nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.score import (
    TooFewRunsError,
    area_under_curve,
    area_weights,
    as_rows,
    check_runs,
    curve_on,
    half_reached,
    iqm,
    mean_score,
    optimality_gap,
    pass_hat_k,
    performance_profile,
    probability_of_improvement,
    steps_to_reach,
    worst_quarter,
)

SCORE = st.integers(-8, 8).map(lambda eighths: eighths / 8)
ROWS = st.lists(st.lists(SCORE, min_size=1, max_size=6), min_size=1, max_size=5)
STATISTICS = (iqm, optimality_gap, mean_score, worst_quarter)


def test_the_iqm_of_eight_scores_is_the_mean_of_the_middle_four() -> None:
    assert iqm([[0.0, 5.0, 1.0, 2.0], [3.0, 9.0, -4.0, 4.0]]) == 2.5


def test_the_iqm_of_three_scores_cuts_none() -> None:
    assert iqm([[0.0, 1.0, 5.0]]) == 2.0


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 7, 8, 11, 40])
def test_the_iqm_is_scipys_trimmed_mean(number: int) -> None:
    scores = np.random.default_rng(number).normal(size=number)
    assert iqm([scores]) == pytest.approx(
        scipy.stats.trim_mean(scores, 0.25), abs=1e-12
    )


def test_the_gap_counts_nothing_above_the_expert() -> None:
    assert (
        optimality_gap([[1.5, 0.5], [-0.5, 1.0]]) == 1.0 - (1.0 + 0.5 - 0.5 + 1.0) / 4
    )


def test_the_mean_gives_every_task_one_voice() -> None:
    assert mean_score([[1.0], [0.0, 0.0, 0.0]]) == 0.5


def test_a_profile_counts_what_is_strictly_above() -> None:
    found = performance_profile([[0.0, 0.5], [0.5, 1.0]], [-1.0, 0.0, 0.5, 0.75, 1.0])
    assert found.tolist() == [1.0, 0.75, 0.25, 0.25, 0.0]


def test_a_profile_never_rises() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 5))
    assert (np.diff(performance_profile(scores, np.linspace(-3, 3, 50))) <= 0).all()


def test_p_of_one_task_is_mann_whitneys_u_over_all_pairs() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 4, 7) / 4, rng.integers(0, 4, 5) / 4  # with ties
    statistic = scipy.stats.mannwhitneyu(x, y).statistic
    assert probability_of_improvement([x], [y]) == pytest.approx(statistic / 35)


def test_p_is_a_mean_over_tasks_not_over_pairs() -> None:
    assert probability_of_improvement([[1.0], [0.0] * 4], [[0.0], [1.0] * 4]) == 0.5


def test_p_refuses_other_tasks() -> None:
    with pytest.raises(ValueError, match="X has 1 tasks and Y 2"):
        probability_of_improvement([[1.0]], [[1.0], [2.0]])


@given(ROWS, st.randoms(use_true_random=False))
def test_permuted_runs_change_nothing(rows: list[list[float]], random: object) -> None:
    shuffled = [list(row) for row in rows]
    for row in shuffled:
        random.shuffle(row)  # type: ignore[attr-defined]
    for statistic in STATISTICS:
        assert statistic(shuffled) == pytest.approx(statistic(rows), abs=1e-12)


@given(ROWS, st.sampled_from([0.25, 2.0, 3.0]), st.integers(-3, 3))
def test_a_rescaled_score_rescales_the_aggregate(
    rows: list[list[float]], scale: float, shift: int
) -> None:
    moved = [[scale * x + shift for x in row] for row in rows]
    for statistic in (iqm, mean_score, worst_quarter):
        assert statistic(moved) == pytest.approx(scale * statistic(rows) + shift)


@given(ROWS, st.data())
def test_p_and_its_reverse_make_one_and_no_rescaling_moves_it(
    rows: list[list[float]], data: st.DataObject
) -> None:
    others = [
        data.draw(st.lists(SCORE, min_size=1, max_size=6), label="other") for _ in rows
    ]
    forward = probability_of_improvement(rows, others)
    assert forward + probability_of_improvement(others, rows) == pytest.approx(1.0)
    moved = [[[2 * x - 1 for x in row] for row in side] for side in (rows, others)]
    assert probability_of_improvement(*moved) == forward
    assert probability_of_improvement(rows, rows) == pytest.approx(0.5)


@given(ROWS)
def test_an_aggregate_lies_among_its_scores(rows: list[list[float]]) -> None:
    flat = [x for row in rows for x in row]
    for statistic in (iqm, mean_score, worst_quarter):
        assert min(flat) - 1e-9 <= statistic(rows) <= max(flat) + 1e-9
    assert worst_quarter(rows) <= mean_score(rows) + 1e-9
    assert optimality_gap(rows) >= 0.0


@given(ROWS)
def test_the_area_under_a_profile_is_the_mean(rows: list[list[float]]) -> None:
    taus = np.arange(-1.0, 1.0, 0.125)  # scores are multiples of it
    flat = np.concatenate([np.array(row) for row in rows])
    area = performance_profile(rows, taus).sum() * 0.125
    assert area - 1.0 == pytest.approx(flat.mean())


def test_the_worst_quarter_of_five_runs_is_two() -> None:
    assert worst_quarter([[5.0, 1.0, 2.0, 9.0, 9.0], [4.0]]) == (1.5 + 4.0) / 2


def test_pass_hat_k_is_the_share_of_choices_that_all_succeed() -> None:
    # Of 4 trials with 3 successes, 3 of the 6 pairs are all successes.
    assert pass_hat_k([3], [4], 2) == 0.5
    assert pass_hat_k([3, 0], [4, 4], 1) == 0.375
    assert pass_hat_k([4, 3], [4, 4], 4) == 0.5


@pytest.mark.parametrize(("c", "n", "k"), [(1, 1, 2), (2, 1, 1), (1, 1, 0), (-1, 1, 1)])
def test_pass_hat_k_refuses_what_cannot_be(c: int, n: int, k: int) -> None:
    with pytest.raises(ValueError, match="needs goals"):
        pass_hat_k([c], [n], k)


@given(st.integers(0, 9), st.integers(1, 9))
def test_pass_hat_k_falls_with_k(c: int, n: int) -> None:
    found = [pass_hat_k([min(c, n)], [n], k) for k in range(1, n + 1)]
    assert found == sorted(found, reverse=True)


def test_a_curve_is_linear_between_its_points_and_held_outside() -> None:
    found = curve_on([0.0, 1.0, 2.0, 3.0, 9.0], [1.0, 3.0], [0.5, 1.5])
    assert found.tolist() == [0.5, 0.5, 1.0, 1.5, 1.5]


def test_a_curve_that_runs_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="must not fall"):
        curve_on([0.0], [2.0, 1.0], [0.0, 0.0])


def test_the_area_of_a_constant_is_the_constant() -> None:
    assert area_under_curve([0.0, 1.0, 7.0], [0.25] * 3) == pytest.approx(0.25)


def test_the_area_is_the_trapezoids() -> None:
    grid, curve = np.array([0.0, 1.0, 4.0, 6.0]), np.array([0.0, 2.0, 1.0, 3.0])
    expected = np.trapezoid(curve, grid) / 6.0
    assert area_under_curve(grid, curve) == pytest.approx(expected)
    assert area_weights(grid).sum() == pytest.approx(1.0)


def test_half_is_reached_between_two_points() -> None:
    assert steps_to_reach([0, 10, 20, 30], [0.0, 0.4, 0.6, 0.2]) == pytest.approx(15.0)
    assert steps_to_reach([5, 10], [0.5, 0.0]) == 5.0
    assert steps_to_reach([0, 10], [0.0, 0.49]) == math.inf


def test_half_of_the_runs_counts_those_that_never_got_there() -> None:
    assert half_reached([30.0, 10.0, math.inf, 20.0]) == 20.0
    assert half_reached([10.0, math.inf, math.inf]) == math.inf


def test_fewer_than_three_runs_are_refused_and_fewer_than_five_warned_of() -> None:
    with pytest.raises(TooFewRunsError, match="^2 runs of a task: 3 are the least"):
        check_runs([[0.0] * 9, [0.0] * 2])
    assert "only 4 runs" in check_runs([[0.0] * 9, [0.0] * 4])
    assert check_runs([[0.0] * 5]) == ""


@pytest.mark.parametrize("rows", [[], [[]], [[1.0], []], [[math.nan]], [[math.inf]]])
def test_no_statistic_takes_what_is_no_score(rows: list[list[float]]) -> None:
    for statistic in STATISTICS:
        with pytest.raises(ValueError, match="Scores come|not finite"):
            statistic(rows)


def test_an_array_of_tasks_by_runs_will_do() -> None:
    assert [row.tolist() for row in as_rows(np.eye(2))] == [[1.0, 0.0], [0.0, 1.0]]
