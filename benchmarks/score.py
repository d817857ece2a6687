"""What a set of trained runs achieved: the statistics of many seeds on many tasks.

One score is the mean over the evaluation episodes of **one** trained run; episodes of different
runs are never pooled. The scores of an algorithm come as one row a task, each with one score a run,
so an (M, N) array will do; rows may differ in length. The aggregates are those of Agarwal et al.
2021 (arXiv:2108.13264). Every function here is pure; `benchmarks.score_bootstrap` gives
their intervals.

Shape legend: N runs (training seeds) of a task, M tasks, P points of a curve, T thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = [
    "Floats",
    "MIN_RUNS",
    "RECOMMENDED_RUNS",
    "Rows",
    "TooFewRunsError",
    "WARNED_RUNS",
    "area_under_curve",
    "area_weights",
    "as_rows",
    "check_runs",
    "comparison",
    "curve_on",
    "half_reached",
    "iqm",
    "mean_score",
    "optimality_gap",
    "pass_hat_k",
    "performance_profile",
    "probability_of_improvement",
    "steps_to_reach",
    "trimmed_mean",
    "worst_quarter",
]

Floats = npt.NDArray[np.float64]
Rows = Sequence[npt.ArrayLike] | npt.NDArray[np.float64]

MIN_RUNS = 3  # fewer runs of a task have no interval, and no aggregate is shown
WARNED_RUNS = 5  # fewer are shown with a warning
RECOMMENDED_RUNS = 10
_TRIMMED = 0.25  # share cut from either end


class TooFewRunsError(ValueError):
    """A statistic was asked of fewer runs than it can be shown for; the message says how many."""


def as_rows(scores: Rows) -> list[Floats]:
    """Return the scores as one float64 array a task, the first axis of which is runs.

    Raises:
        ValueError: there is no task, a task has no run, or a score is not finite (a failed run is
            given its score, or left out, by whoever asks: never here).
    """
    rows = [np.asarray(row, dtype=np.float64) for row in scores]
    if not rows or any(row.ndim < 1 or len(row) == 0 for row in rows):
        raise ValueError("Scores come as one row a task, each with at least one run.")
    for place, row in enumerate(rows):
        if not np.isfinite(row).all():
            raise ValueError(f"Row {place} has a score that is not finite: {row}.")
    return rows


def check_runs(scores: Rows) -> str:
    """Return the warning that so few runs deserve; "" from `WARNED_RUNS` on.

    Raises:
        TooFewRunsError: a task has fewer than `MIN_RUNS`.

    >>> check_runs([[1.0, 2.0, 3.0], [1.0] * 7])
    'only 3 runs of a task: its interval is too narrow; 10 are recommended'
    """
    least = min(len(row) for row in as_rows(scores))
    if least < MIN_RUNS:
        raise TooFewRunsError(
            f"{least} {'run' if least == 1 else 'runs'} of a task: {MIN_RUNS} are the least that "
            f"is shown, {RECOMMENDED_RUNS} are recommended"
        )
    if least < WARNED_RUNS:
        return (
            f"only {least} runs of a task: its interval is too narrow; "
            f"{RECOMMENDED_RUNS} are recommended"
        )
    return ""


def trimmed_mean(values: npt.ArrayLike, axis: int = -1) -> Floats:
    """Return the mean of what is left when int(n / 4) values are cut from either end.

    >>> float(trimmed_mean([0.0, 1.0, 2.0, 99.0]))
    1.5
    """
    array = np.moveaxis(np.asarray(values, dtype=np.float64), axis, -1)
    number = array.shape[-1]
    cut = int(_TRIMMED * number)
    if cut:
        # What is cut need not be sorted, only be on its side.
        array = np.partition(array, (cut, number - cut - 1), axis=-1)
    return np.asarray(array[..., cut : number - cut].mean(axis=-1))


def iqm(scores: Rows) -> float:
    """Return the interquartile mean: the 25%-trimmed mean of the scores of all runs and tasks.

    >>> iqm([[0.0, 1.0], [2.0, 99.0]])
    1.5
    """
    return float(trimmed_mean(np.concatenate(as_rows(scores))))


def optimality_gap(scores: Rows) -> float:
    """Return 1 - mean(min(x, 1)): how far the runs are below the expert; less is better.

    >>> optimality_gap([[0.5, 2.0]])
    0.25
    """
    return float(1.0 - np.minimum(np.concatenate(as_rows(scores)), 1.0).mean())


def mean_score(scores: Rows) -> float:
    """Return the mean over tasks of the mean over runs.

    >>> mean_score([[0.0, 1.0], [1.0]])
    0.75
    """
    return float(np.mean([row.mean() for row in as_rows(scores)]))


def performance_profile(scores: Rows, thresholds: npt.ArrayLike) -> Floats:
    """Return (T,) F(tau), the share of scores above each threshold.

    >>> performance_profile([[0.0, 0.5], [1.0, 1.0]], [0.0, 0.5, 1.0]).tolist()
    [0.75, 0.5, 0.0]
    """
    flat = np.sort(np.concatenate(as_rows(scores)))
    below = np.searchsorted(flat, np.asarray(thresholds, np.float64), side="right")
    return np.asarray(1.0 - below / len(flat), dtype=np.float64)


def probability_of_improvement(scores: Rows, others: Rows) -> float:
    """Return P(X > Y): the mean over tasks of the share of pairs of runs won, ties 1/2.

    On each task it is the Mann-Whitney statistic U / (N_x N_y).

    Args:
        scores: of X.
        others: of Y, on the same tasks in the same order.

    >>> probability_of_improvement([[1.0, 2.0]], [[1.0, 0.0]])
    0.875
    """
    rows, other_rows = as_rows(scores), as_rows(others)
    if len(rows) != len(other_rows):
        raise ValueError(
            f"X has {len(rows)} tasks and Y {len(other_rows)}; compare them on the same ones."
        )
    shares = [comparison(x, y).mean() for x, y in zip(rows, other_rows, strict=True)]
    return float(np.mean(shares))


def comparison(x: Floats, y: Floats) -> Floats:
    """Return (N_x, N_y): 1 where x is above y, 1/2 where they are equal, else 0."""
    return np.asarray(
        (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None]), dtype=np.float64
    )


def worst_quarter(scores: Rows) -> float:
    """Return the mean over tasks of the mean of the worst ceil(N / 4) runs.

    >>> worst_quarter([[3.0, 1.0, 2.0, 4.0, 0.0]])
    0.5
    """
    means = [np.sort(row)[: math.ceil(len(row) / 4)].mean() for row in as_rows(scores)]
    return float(np.mean(means))


def pass_hat_k(
    num_successes: Sequence[int], num_trials: Sequence[int], k: int
) -> float:
    """Return pass^k: the mean over goals of C(c, k) / C(n, k): the chance of k successes in k.

    The unbiased estimator of Yao et al. 2024 (arXiv:2406.12045).

    Args:
        num_successes: c of each goal.
        num_trials: n of each goal, at least k.
        k: trials that must all succeed, at least 1.

    >>> pass_hat_k([4, 2], [4, 4], 2)
    0.5833333333333334
    """
    pairs = list(zip(num_successes, num_trials, strict=True))
    if k < 1 or not pairs or any(not 0 <= c <= n or n < k for c, n in pairs):
        raise ValueError(
            f"pass^{k} needs goals with 0 <= c <= n and n >= {k} >= 1, got (c, n) = {pairs}."
        )
    return sum(math.comb(c, k) / math.comb(n, k) for c, n in pairs) / len(pairs)


def curve_on(
    grid: npt.ArrayLike, steps: npt.ArrayLike, scores: npt.ArrayLike
) -> Floats:
    """Return a run's score at each place of the grid: linear between its points, held outside.

    Args:
        grid: places, in steps (tokens, turns or seconds).
        steps: (P,) where the run was scored, never falling.
        scores: (P,).
    """
    places, values = (np.asarray(x, dtype=np.float64) for x in (steps, scores))
    if places.ndim != 1 or places.shape != values.shape or not len(places):
        raise ValueError(
            f"A curve has one score a step and at least one point, got {places.shape} steps and "
            f"{values.shape} scores."
        )
    if (np.diff(places) < 0).any():
        raise ValueError("The steps of a curve must not fall.")
    return np.asarray(np.interp(np.asarray(grid, np.float64), places, values))


def area_weights(grid: npt.ArrayLike) -> Floats:
    """Return (P,) what each place of a grid weighs in the area under a curve; they sum to 1."""
    places = np.asarray(grid, dtype=np.float64)
    if places.ndim != 1 or len(places) < 2 or not (np.diff(places) > 0).all():
        raise ValueError("The grid of an area needs at least 2 places that rise.")
    halves = np.diff(places) / 2.0
    weights = np.append(halves, 0.0) + np.append(0.0, halves)
    return np.asarray(weights / (places[-1] - places[0]))


def area_under_curve(grid: npt.ArrayLike, curve: npt.ArrayLike) -> Floats:
    """Return the area under a curve over the length of its grid: the score on the way, a mean.

    Args:
        grid: (P,) rising places.
        curve: (..., P) scores there.

    >>> float(area_under_curve([0.0, 1.0, 4.0], [0.0, 1.0, 1.0]))
    0.875
    """
    return np.asarray(np.asarray(curve, np.float64) @ area_weights(grid))


def steps_to_reach(
    steps: npt.ArrayLike, scores: npt.ArrayLike, level: float = 0.5
) -> float:
    """Return after how many steps a run first reached a score; infinite if it never did.

    The default is half of what the expert scores. Between two points the curve is linear.

    >>> steps_to_reach([0, 100, 200], [0.0, 0.25, 0.75]), steps_to_reach([0, 9], [0.0, 0.4])
    (150.0, inf)
    """
    places, values = (np.asarray(x, dtype=np.float64) for x in (steps, scores))
    reached = np.flatnonzero(values >= level)
    if not len(reached):
        return math.inf
    i = int(reached[0])
    if i == 0 or values[i] == level:
        return float(places[i])
    share = (level - values[i - 1]) / (values[i] - values[i - 1])
    return float(places[i - 1] + share * (places[i] - places[i - 1]))


def half_reached(steps: npt.ArrayLike, axis: int = -1) -> Floats:
    """Return by when half of the runs had reached a level; infinite if fewer ever did.

    A run that never did is censored: it counts among the runs, but has no step. No mean of the
    steps would be honest, since it would leave such runs out.

    >>> float(half_reached([10.0, 20.0, float("inf")])), float(half_reached([10.0, np.inf, np.inf]))
    (20.0, inf)
    """
    ordered = np.sort(np.asarray(steps, dtype=np.float64), axis=axis)
    place = math.ceil(ordered.shape[axis] / 2) - 1
    return np.asarray(np.take(ordered, place, axis=axis))
