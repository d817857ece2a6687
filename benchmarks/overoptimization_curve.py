"""Gold against proxy as a policy leaves its start: the curves of Gao, Schulman and Hilton (2022).

With d = sqrt(KL(policy || start)), the gold reward gained over the start is fitted by

    R_bon(d) = d (a - b d)          best of n
    R_rl(d)  = d (a - b log d)      reinforcement learning

(arXiv:2210.10760, section 3.1). Both are linear in (a, b), so the fit is least squares without a
start value, and its quality is R^2 about the mean.

Shape legend: P points of a curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "BEST_OF_N",
    "Fit",
    "REINFORCEMENT",
    "fit_curve",
    "over_optimisation_index",
    "smooth",
]

Floats = npt.NDArray[np.float64]

BEST_OF_N = "best_of_n"
REINFORCEMENT = "reinforcement"
_SECOND: Mapping[str, Callable[[Floats], Floats]] = {
    BEST_OF_N: lambda d: -d * d,
    REINFORCEMENT: lambda d: -d * np.log(d),
}


@dataclass(frozen=True)
class Fit:
    """A fitted curve.

    Attributes:
        kind: `BEST_OF_N` or `REINFORCEMENT`.
        a: slope at the start (in reward a root nat).
        b: what bends it down; 0 or less where gold never turns.
        r_squared: share of the variance that it explains; below 0 it is worse than the mean.
    """

    kind: str
    a: float
    b: float
    r_squared: float

    def value(self, distance: npt.ArrayLike) -> Floats:
        """Return the curve at distances d > 0."""
        d = np.asarray(distance, dtype=np.float64)
        return self.a * d + self.b * _SECOND[self.kind](d)

    def peak(self) -> float:
        """Return the distance at which the curve turns down; infinite where it does not.

        >>> Fit(BEST_OF_N, a=1.0, b=0.25, r_squared=1.0).peak()
        2.0
        """
        if self.a <= 0 or self.b <= 0:
            return math.inf
        if self.kind == BEST_OF_N:
            return self.a / (2 * self.b)
        return math.exp(self.a / self.b - 1.0)


def fit_curve(kind: str, distance: npt.ArrayLike, gain: npt.ArrayLike) -> Fit:
    """Return the least-squares fit of a gain over the start, which is 0 at distance 0.

    Args:
        kind: `BEST_OF_N` or `REINFORCEMENT`.
        distance: (P,) distances d; those of 0 say nothing and are left out.
        gain: (P,) gold reward minus that of the start.

    Raises:
        ValueError: if fewer than three points are left, or a number is not finite.

    >>> d = np.linspace(0.1, 3.0, 30)
    >>> fit = fit_curve(REINFORCEMENT, d, d * (2.0 - 0.5 * np.log(d)))
    >>> round(fit.a, 6), round(fit.b, 6), round(fit.r_squared, 6)
    (2.0, 0.5, 1.0)
    """
    d, r = (np.asarray(x, dtype=np.float64) for x in (distance, gain))
    if d.shape != r.shape or d.ndim != 1:
        raise ValueError(f"distance {d.shape} and gain {r.shape} must be one row each.")
    if not (np.isfinite(d).all() and np.isfinite(r).all()):
        raise ValueError("A distance or a gain is not finite.")
    d, r = d[d > 0], r[d > 0]
    if len(d) < 3:
        raise ValueError(f"A fit needs 3 points away from the start, got {len(d)}.")
    columns = np.stack([d, _SECOND[kind](d)], axis=1)
    (a, b), *_ = np.linalg.lstsq(columns, r, rcond=None)
    residual = float(((columns @ [a, b] - r) ** 2).sum())
    spread = float(((r - r.mean()) ** 2).sum())
    return Fit(kind, float(a), float(b), 1.0 - residual / spread if spread else 0.0)


def over_optimisation_index(gold: Sequence[float], least_rise: float = 0.0) -> float:
    """Return which share of what was gained in gold is lost again by the end.

    (best - last) / (best - first) along the run, above 1 where the end is below the start; NaN
    where gold never rose above its start, since nothing was gained that could be lost.

    Args:
        gold: along the run, its start first.
        least_rise: a rise of no more than this is noise and counts as none.

    >>> over_optimisation_index([0.0, 1.0, 0.25]), over_optimisation_index([1.0, 0.5])
    (0.75, nan)
    """
    best = max(gold)
    is_risen = best - gold[0] > least_rise
    return (best - gold[-1]) / (best - gold[0]) if is_risen else math.nan


def smooth(values: npt.ArrayLike, width: int = 5) -> Floats:
    """Return centred means of `width` neighbours, of those that there are at the ends.

    The best of many noisy points is above the truth; a mean of a few is less so.

    >>> smooth([0.0, 3.0, 0.0], width=3).tolist()
    [1.5, 1.0, 1.5]
    """
    row = np.asarray(values, dtype=np.float64)
    kernel = np.ones(width)
    sums = np.convolve(row, kernel, mode="full")
    counts = np.convolve(np.ones(len(row)), kernel, mode="full")
    first = (width - 1) // 2
    means: Floats = (sums / counts)[first : first + len(row)]
    return means
