"""Intervals of the statistics of `benchmarks.score`: the stratified percentile bootstrap.

Runs are resampled within each task and tasks are kept: the tasks of a suite are chosen, the runs
are the sample (Agarwal et al. 2021, arXiv:2108.13264). The ends are the 2.5% and 97.5% quantiles of
10,000 replicates. Resampling N runs sees (N - 1) / N of their variance, so the intervals are too
narrow for few runs; `tests/benchmarks/test_score_coverage.py` measures by how much.

Shape legend: N runs of a task, M tasks, R replicates, r replicates at once, T thresholds.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.score import (
    Floats,
    Rows,
    as_rows,
    comparison,
    half_reached,
    iqm,
    mean_score,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    trimmed_mean,
    worst_quarter,
)

__all__ = [
    "Estimate",
    "NUM_REPLICATES",
    "estimate_gap",
    "estimate_half_reached",
    "estimate_improvement",
    "estimate_iqm",
    "estimate_iqm_curve",
    "estimate_mean",
    "estimate_profile",
    "estimate_worst_quarter",
    "generator",
    "percentiles",
    "resample",
]

NUM_REPLICATES = 10_000
ENDS = (0.025, 0.975)
_NUMBERS_AT_ONCE = 2_000_000  # keeps what is drawn at a time below 16 MB

Statistic = Callable[[list[Floats]], Floats]


@dataclass(frozen=True)
class Estimate:
    """A statistic and the ends of its 95% interval.

    Attributes:
        value: of the runs themselves.
        low: 2.5% of the replicates are below.
        high: 2.5% of the replicates are above.
        n: how many runs it is of, over all tasks.
    """

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int]:
        """Return `{"value", "low", "high", "n"}`."""
        return asdict(self)


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """Return a generator of its own for each statistic, so that one more leaves the others alone.

    >>> generator(0, "iqm", "ppo").random() == generator(0, "iqm", "ppo").random()
    True
    """
    names = [zlib.crc32(name.encode("utf-8", "replace")) for name in purpose]
    return np.random.default_rng([seed, *names])


def resample(
    rows: Sequence[Floats], rng: np.random.Generator, num_replicates: int
) -> Iterator[list[Floats]]:
    """Yield replicates, a few at once: one (r, N, ...) array a task, runs drawn within the task."""
    if num_replicates < 1:
        raise ValueError(f"num_replicates must be at least 1, got {num_replicates}.")
    step = max(_NUMBERS_AT_ONCE // sum(row.size for row in rows), 1)
    for begin in range(0, num_replicates, step):
        number = min(step, num_replicates - begin)
        yield [row[rng.integers(len(row), size=(number, len(row)))] for row in rows]


def percentiles(replicates: Floats, axis: int = 0) -> Floats:
    """Return the ends of the 95% interval, first axis low and high."""
    if np.isfinite(replicates).all():
        return np.asarray(np.quantile(replicates, ENDS, axis=axis))
    # Interpolation between infinities is NaN; an end must be one of the replicates there.
    return np.asarray(np.quantile(replicates, ENDS, axis=axis, method="nearest"))


def _interval(
    rows: Sequence[Floats],
    statistic: Statistic,
    rng: np.random.Generator,
    num_replicates: int,
) -> tuple[float, float]:
    found = [statistic(drawn) for drawn in resample(rows, rng, num_replicates)]
    low, high = percentiles(np.concatenate(found))
    return float(low), float(high)


def _count(rows: Sequence[Floats]) -> int:
    return sum(len(row) for row in rows)


def estimate_iqm(
    scores: Rows, rng: np.random.Generator, num_replicates: int = NUM_REPLICATES
) -> Estimate:
    """Return the interquartile mean with its interval.

    >>> estimate_iqm([[0.5, 0.5, 0.5]], generator(0, "iqm")).as_dict()
    {'value': 0.5, 'low': 0.5, 'high': 0.5, 'n': 3}
    """
    rows = as_rows(scores)
    ends = _interval(rows, _iqms, rng, num_replicates)
    return Estimate(iqm(rows), *ends, _count(rows))


def _iqms(drawn: list[Floats]) -> Floats:
    return trimmed_mean(np.concatenate(drawn, axis=1), axis=1)


def estimate_gap(
    scores: Rows, rng: np.random.Generator, num_replicates: int = NUM_REPLICATES
) -> Estimate:
    """Return the optimality gap with its interval."""
    rows = as_rows(scores)
    ends = _interval(rows, _gaps, rng, num_replicates)
    return Estimate(optimality_gap(rows), *ends, _count(rows))


def _gaps(drawn: list[Floats]) -> Floats:
    return np.asarray(1.0 - np.minimum(np.concatenate(drawn, axis=1), 1.0).mean(axis=1))


def estimate_mean(
    scores: Rows, rng: np.random.Generator, num_replicates: int = NUM_REPLICATES
) -> Estimate:
    """Return the mean over tasks of the mean over runs, with its interval.

    Of paired differences it is the paired difference: pairs are resampled whole.
    """
    rows = as_rows(scores)
    ends = _interval(rows, _means, rng, num_replicates)
    return Estimate(mean_score(rows), *ends, _count(rows))


def _means(drawn: list[Floats]) -> Floats:
    return np.asarray(np.mean([part.mean(axis=1) for part in drawn], axis=0))


def estimate_worst_quarter(
    scores: Rows, rng: np.random.Generator, num_replicates: int = NUM_REPLICATES
) -> Estimate:
    """Return the mean of the worst quarter of each task's runs, with its interval."""
    rows = as_rows(scores)
    ends = _interval(rows, _worst_quarters, rng, num_replicates)
    return Estimate(worst_quarter(rows), *ends, _count(rows))


def _worst_quarters(drawn: list[Floats]) -> Floats:
    parts = [np.sort(part)[:, : -(-part.shape[1] // 4)].mean(axis=1) for part in drawn]
    return np.asarray(np.mean(parts, axis=0))


def estimate_half_reached(
    steps: Rows,
    rng: np.random.Generator,
    num_replicates: int = NUM_REPLICATES,
) -> Estimate:
    """Return by when half of all runs had reached a level; value and ends may be infinite.

    Args:
        steps: one row a task of each run's steps, infinite where it never did.
        rng: source of the resampling.
        num_replicates: R.
    """
    rows = [np.asarray(row, dtype=np.float64) for row in steps]
    if not rows or any(len(row) == 0 or np.isnan(row).any() for row in rows):
        raise ValueError("Steps come as one row a task, none of them empty or NaN.")
    ends = _interval(rows, _halves, rng, num_replicates)
    value = float(half_reached(np.concatenate(rows)))
    return Estimate(value, *ends, _count(rows))


def _halves(drawn: list[Floats]) -> Floats:
    return half_reached(np.concatenate(drawn, axis=1), axis=1)


def estimate_improvement(
    scores: Rows,
    others: Rows,
    rng: np.random.Generator,
    num_replicates: int = NUM_REPLICATES,
) -> Estimate:
    """Return P(X > Y) with its interval; the runs of X and of Y are resampled independently.

    A replicate says how often each run was drawn, w_x and w_y, so that its share on a task is
    w_x C w_y / (N_x N_y), with C who beats whom: no pair of runs is ever compared twice.
    """
    rows, other_rows = as_rows(scores), as_rows(others)
    value = probability_of_improvement(rows, other_rows)
    replicates = np.zeros(num_replicates)
    for x, y in zip(rows, other_rows, strict=True):
        counts_x, counts_y = (_counts(len(z), rng, num_replicates) for z in (x, y))
        won = np.einsum("ri,ri->r", counts_x @ comparison(x, y), counts_y)
        replicates += won / (len(x) * len(y))
    low, high = percentiles(replicates / len(rows))
    return Estimate(value, float(low), float(high), _count(rows))


def estimate_profile(
    scores: Rows,
    thresholds: npt.ArrayLike,
    rng: np.random.Generator,
    num_replicates: int = NUM_REPLICATES,
) -> tuple[Floats, Floats, Floats]:
    """Return the performance profile and the ends of its pointwise intervals, (T,) each."""
    rows = as_rows(scores)
    taus = np.asarray(thresholds, dtype=np.float64)
    shares = np.zeros((num_replicates, len(taus)))
    for row in rows:
        above = (row[:, None] > taus).astype(np.float64)
        shares += _counts(len(row), rng, num_replicates) @ above
    low, high = percentiles(shares / _count(rows))
    return performance_profile(rows, taus), low, high


def estimate_iqm_curve(
    curves: Sequence[Floats],
    rng: np.random.Generator,
    num_replicates: int,
    weights: npt.ArrayLike,
) -> tuple[Floats, Floats, Floats, Estimate]:
    """Return the IQM at each place of a grid, the ends of its intervals, and the area under it.

    A replicate draws whole curves, so the area's interval is of the same runs as the curve's.

    Args:
        curves: one (N, P) array a task, each run's score on a grid that all share.
        rng: source of the resampling.
        num_replicates: R.
        weights: (P,) of the places in the area; they sum to 1.
    """
    rows = as_rows(curves)
    area = np.asarray(weights, dtype=np.float64)
    found = [
        trimmed_mean(np.concatenate(drawn, axis=1), axis=1)
        for drawn in resample(rows, rng, num_replicates)
    ]
    replicates = np.concatenate(found)
    value = trimmed_mean(np.concatenate(rows), axis=0)
    low, high = percentiles(replicates)
    ends = percentiles(replicates @ area)
    under = Estimate(float(value @ area), float(ends[0]), float(ends[1]), _count(rows))
    return value, low, high, under


def _counts(number: int, rng: np.random.Generator, num_replicates: int) -> Floats:
    """Return (R, N): how often each of N runs is drawn, N draws a replicate."""
    drawn = rng.integers(number, size=(num_replicates, number))
    # A block of numbers for each replicate, so that one count serves all.
    drawn += number * np.arange(num_replicates)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=num_replicates * number)
    return counts.reshape(num_replicates, number).astype(np.float64)
