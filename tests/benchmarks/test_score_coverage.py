"""How often do the intervals hold the truth? On synthetic runs, whose truth is known.

A resample of N runs has (N - 1) / N of their variance, so 95% intervals hold the truth less often
than that for few runs. The bounds below are what was measured, with four standard errors around it.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.score_bootstrap import (
    estimate_improvement,
    estimate_iqm,
    estimate_mean,
    generator,
)

NUM_STUDIES = 400
NUM_TASKS = 10
LEVELS = np.linspace(0.2, 0.8, NUM_TASKS)[:, None]


def studies(num_runs: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        LEVELS + 0.1 * rng.standard_normal((NUM_TASKS, num_runs))
        for _ in range(NUM_STUDIES)
    ]


def assert_near(hits: int, expected: float) -> None:
    error = math.sqrt(expected * (1 - expected) / NUM_STUDIES)
    assert abs(hits / NUM_STUDIES - expected) < 4 * error, hits / NUM_STUDIES


@pytest.mark.slow
@pytest.mark.parametrize(("num_runs", "expected"), [(3, 0.89), (5, 0.92), (10, 0.94)])
def test_the_mean_is_in_its_interval_as_often_as_the_runs_allow(
    num_runs: int, expected: float
) -> None:
    hits = 0
    for rows in studies(num_runs, num_runs):
        found = estimate_mean(rows, generator(0, "coverage"), 1000)
        hits += found.low <= 0.5 <= found.high
    # Normal theory: the interval is sqrt((N - 1) / N) as long as it should be.
    scale = math.sqrt((num_runs - 1) / num_runs)
    assert math.erf(1.96 * scale / math.sqrt(2)) == pytest.approx(expected, abs=0.01)
    assert_near(hits, expected)


@pytest.mark.slow
def test_the_iqm_is_in_its_interval_about_as_often() -> None:
    # By symmetry the interquartile mean of the whole population is 0.5 too.
    hits = 0
    for rows in studies(10, 77):
        found = estimate_iqm(rows, generator(0, "coverage"), 1000)
        hits += found.low <= 0.5 <= found.high
    assert hits / NUM_STUDIES > 0.90


@pytest.mark.slow
def test_the_probability_of_improvement_is_in_its_interval_about_as_often() -> None:
    hits = 0
    # N(0.1, 0.1^2) above N(0, 0.1^2): Phi(1 / sqrt 2).
    truth = 0.5 * (1.0 + math.erf(0.5))
    for x, y in zip(studies(10, 1), studies(10, 2), strict=True):
        found = estimate_improvement(x + 0.1, y, generator(0, "coverage"), 1000)
        hits += found.low <= truth <= found.high
    assert 0.88 < hits / NUM_STUDIES < 0.99
