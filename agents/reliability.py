"""How often is a preference model right, and does it know? Accuracy and calibration of pairs.

A Bradley-Terry model says of a pair that its better reply wins with P = sigmoid(r_c - r_r). Its
confidence in whichever reply it prefers is max(P, 1 - P), in [1/2, 1]; it is calibrated where, of
the pairs in which it is so confident, that share is right (Guo et al. 2017, arXiv:1706.04599).

Shape legend: N pairs, M bins of confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.evaluation import Interval, bootstrap_interval, wilson_interval

__all__ = ["Bin", "Reliability", "measure_reliability"]

NUM_BINS = 10
NUM_REPLICATES = 2_000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bin:
    """The pairs of one range of confidence.

    Attributes:
        low: least confidence.
        high: greatest confidence.
        num_pairs: how many pairs there are.
        confidence: their mean confidence; None of no pairs.
        accuracy: the share that the model is right about; None of no pairs.
    """

    low: float
    high: float
    num_pairs: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Reliability:
    """What a preference model is worth on pairs that it was not trained on.

    Attributes:
        num_pairs: N.
        num_ties: pairs whose replies it scores alike; they count as wrong.
        accuracy: share of pairs of which it prefers the better reply (Wilson 1927).
        loss: mean -log P(the better reply wins), in nats; log 2 is a coin's.
        calibration_error: the expected calibration error, sum over bins of n / N times
            |accuracy - confidence|. Its interval is the percentile bootstrap over pairs.
        overconfidence: mean of confidence less accuracy, likewise; above 0 is too sure.
        bins: the M bins, the least confident first.
    """

    num_pairs: int
    num_ties: int
    accuracy: Interval
    loss: float
    calibration_error: Interval
    overconfidence: Interval
    bins: tuple[Bin, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "num_pairs": self.num_pairs,
            "num_ties": self.num_ties,
            "accuracy": self.accuracy.as_dict(),
            "loss": self.loss,
            "calibration_error": self.calibration_error.as_dict(),
            "overconfidence": self.overconfidence.as_dict(),
            "bins": [vars(part) for part in self.bins],
        }


def measure_reliability(margins: npt.ArrayLike, *, seed: int = 0) -> Reliability:
    """Return accuracy and calibration.

    Args:
        margins: (N,) r_c - r_r of each pair, in nats, not divided by anything; N at least 2.
        seed: of the bootstrap.

    Raises:
        ValueError: fewer than 2 pairs, or a margin that is not finite.

    >>> found = measure_reliability([2.0, 1.0, -0.5, 3.0])
    >>> found.accuracy.mean, found.num_ties
    (0.75, 0)
    """
    margin_N = np.asarray(margins, dtype=np.float64)
    if margin_N.ndim != 1 or len(margin_N) < 2 or not np.isfinite(margin_N).all():
        raise ValueError(
            f"Expected at least 2 finite margins in one row, got {margin_N!r:.200}."
        )
    is_right_N = (margin_N > 0).astype(np.float64)
    confidence_N = 1.0 / (1.0 + np.exp(-np.abs(margin_N)))
    edges = np.linspace(0.5, 1.0, NUM_BINS + 1)
    bin_N = np.clip(np.digitize(confidence_N, edges) - 1, 0, NUM_BINS - 1)
    gap_N = confidence_N - is_right_N
    rng = np.random.default_rng(seed)
    return Reliability(
        num_pairs=len(margin_N),
        num_ties=int((margin_N == 0).sum()),
        accuracy=wilson_interval(int(is_right_N.sum()), len(margin_N)),
        loss=float(np.logaddexp(0.0, -margin_N).mean()),
        calibration_error=_error_interval(gap_N, bin_N, rng),
        overconfidence=bootstrap_interval(gap_N, rng),
        bins=tuple(
            _describe_bin(edges, number, confidence_N, is_right_N, bin_N)
            for number in range(NUM_BINS)
        ),
    )


def _error_interval(
    gap_N: Floats, bin_N: npt.NDArray[np.int64], rng: np.random.Generator
) -> Interval:
    gap_NM = gap_N[:, None] * (bin_N[:, None] == np.arange(NUM_BINS))
    error = float(np.abs(gap_NM.mean(0)).sum())
    resampled = np.empty(NUM_REPLICATES)
    for replicate in range(NUM_REPLICATES):
        counts_N = np.bincount(
            rng.integers(len(gap_N), size=len(gap_N)), minlength=len(gap_N)
        )
        resampled[replicate] = np.abs(counts_N @ gap_NM).sum() / len(gap_N)
    low, high = np.quantile(resampled, [0.025, 0.975])
    # A resample is noisier than the sample, so it may lie above it altogether.
    return Interval(error, float(min(low, error)), float(max(high, error)))


def _describe_bin(
    edges: Floats,
    number: int,
    confidence_N: Floats,
    is_right_N: Floats,
    bin_N: npt.NDArray[np.int64],
) -> Bin:
    mine = bin_N == number
    has_pairs = bool(mine.any())
    return Bin(
        low=float(edges[number]),
        high=float(edges[number + 1]),
        num_pairs=int(mine.sum()),
        confidence=float(confidence_N[mine].mean()) if has_pairs else None,
        accuracy=float(is_right_N[mine].mean()) if has_pairs else None,
    )
