"""Intervals: what they are of, that they repeat, and how much they hold in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats

from benchmarks import score_bootstrap
from benchmarks.score import (
    Floats,
    area_weights,
    iqm,
    performance_profile,
    probability_of_improvement,
)
from benchmarks.score_bootstrap import (
    estimate_gap,
    estimate_half_reached,
    estimate_improvement,
    estimate_iqm,
    estimate_iqm_curve,
    estimate_mean,
    estimate_profile,
    estimate_worst_quarter,
    generator,
    resample,
)

SIMPLE = (estimate_iqm, estimate_gap, estimate_mean, estimate_worst_quarter)


def scores(number: int = 8, tasks: int = 3, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0.5, 0.2, (tasks, number))


@pytest.mark.parametrize("estimate", SIMPLE)
def test_an_interval_holds_its_value_and_counts_its_runs(
    estimate: Callable[..., Any],
) -> None:
    found = estimate(scores(), generator(0, "x"))
    assert found.low < found.value < found.high
    assert found.n == 24
    assert set(found.as_dict()) == {"value", "low", "high", "n"}


@pytest.mark.parametrize("estimate", SIMPLE)
def test_the_same_generator_gives_the_same_interval(
    estimate: Callable[..., Any],
) -> None:
    first = estimate(scores(), generator(3, "x"), 500)
    assert first == estimate(scores(), generator(3, "x"), 500)
    assert first != estimate(scores(), generator(4, "x"), 500)
    assert first != estimate(scores(), generator(3, "y"), 500)


def test_a_mean_of_one_task_agrees_with_scipys_bootstrap() -> None:
    row = scores(30, 1)[0]
    theirs = scipy.stats.bootstrap(
        (row,),
        np.mean,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    ours = estimate_mean([row], generator(0, "x"))
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.003)


def test_runs_are_resampled_within_their_task() -> None:
    rows = [np.array([0.0, 1.0, 2.0]), np.array([10.0, 11.0])]
    for drawn in resample(rows, generator(0, "x"), 200):
        assert [part.shape[1] for part in drawn] == [3, 2]
        assert set(drawn[0].ravel()) == {0.0, 1.0, 2.0}
        assert set(drawn[1].ravel()) == {10.0, 11.0}


def test_tasks_that_differ_do_not_widen_the_interval() -> None:
    # Were tasks resampled too, the interval would span what lies between them.
    rows = [np.full(5, 0.0), np.full(5, 1.0)]
    found = estimate_mean(rows, generator(0, "x"), 500)
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)


def test_all_replicates_are_drawn_and_few_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(score_bootstrap, "_NUMBERS_AT_ONCE", 100)
    sizes = [
        len(drawn[0]) for drawn in resample([np.zeros(7)], generator(0, "x"), 1003)
    ]
    assert sum(sizes) == 1003
    assert max(sizes) == 100 // 7


def test_an_improvement_is_bootstrapped_like_its_definition() -> None:
    x, y = scores(6, 2, 1), scores(4, 2, 2)
    found = estimate_improvement(x, y, generator(0, "x"), 4000)
    rng = np.random.default_rng(9)
    plain = [
        probability_of_improvement(
            [row[rng.integers(6, size=6)] for row in x],
            [row[rng.integers(4, size=4)] for row in y],
        )
        for _ in range(4000)
    ]
    low, high = np.quantile(plain, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)
    assert found.value == probability_of_improvement(x, y)
    assert found.n == 12


def test_a_run_that_always_wins_leaves_no_doubt() -> None:
    found = estimate_improvement([[2.0] * 3], [[1.0] * 3], generator(0, "x"), 100)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


def test_a_profile_has_an_interval_at_every_threshold() -> None:
    taus = np.linspace(0.0, 1.0, 11)
    value, low, high = estimate_profile(scores(), taus, generator(0, "x"), 1000)
    assert (value == performance_profile(scores(), taus)).all()
    assert (low <= value).all() and (value <= high).all()
    # Of one task it is a share of independent runs: the binomial's spread.
    row = np.arange(10.0)
    _, low, high = estimate_profile([row], [4.5], generator(0, "x"))
    expected = scipy.stats.binom(10, 0.5).ppf([0.025, 0.975]) / 10
    assert [low[0], high[0]] == expected.tolist()


def test_a_curve_of_constants_is_the_iqm_and_so_is_its_area() -> None:
    rows = scores(8, 2)
    curves = [np.repeat(row[:, None], 4, axis=1) for row in rows]
    weights = area_weights([0.0, 1.0, 2.0, 7.0])
    value, low, high, area = estimate_iqm_curve(
        curves, generator(0, "x"), 2000, weights
    )
    plain = estimate_iqm(rows, generator(0, "x"), 2000)
    assert value == pytest.approx(np.full(4, iqm(rows)))
    assert low == pytest.approx(np.full(4, plain.low))
    assert high == pytest.approx(np.full(4, plain.high))
    assert area.value == pytest.approx(plain.value)
    assert (area.low, area.high) == pytest.approx((plain.low, plain.high))


def test_steps_that_were_never_reached_are_censored_not_dropped() -> None:
    steps = [[1.0, 2.0, math.inf], [3.0, math.inf, math.inf]]
    found = estimate_half_reached(steps, generator(0, "x"), 500)
    assert (found.value, found.high, found.n) == (3.0, math.inf, 6)
    assert not math.isnan(found.low)


def test_no_replicates_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        estimate_mean([[1.0, 2.0]], generator(0, "x"), 0)
