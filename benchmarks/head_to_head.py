"""Two agents on the same goals: the share of goals won, and what is left of it at equal length.

A goal is an episode seed: both agents met the same user with the same wish. Runs on one goal are
not independent, so goals are the clusters that the bootstrap resamples.

Shape legend: G goals, R replicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.score import Floats
from benchmarks.score_bootstrap import Estimate, percentiles

__all__ = ["HeadToHead", "head_to_head", "win_shares"]

_NUM_REPLICATES = 2_000
_PRIOR = 0.01  # of the fit: keeps it finite where one side wins every goal
_NUM_STEPS = 25


@dataclass(frozen=True)
class HeadToHead:
    """Who wins on the same goals; 1/2 is a draw.

    Attributes:
        win_rate: mean over goals of the share won, `n` goals.
        length_controlled: the same at equal lengths of reply; None where lengths are unknown.
    """

    win_rate: Estimate
    length_controlled: Estimate | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "win_rate": self.win_rate.as_dict(),
            "length_controlled": (
                None
                if self.length_controlled is None
                else self.length_controlled.as_dict()
            ),
        }


def win_shares(returns: npt.ArrayLike, others: npt.ArrayLike) -> Floats:
    """Return (G,) the share of pairs of runs that the first agent wins on each goal, ties 1/2.

    Args:
        returns: (N_x, G) of the first agent's runs.
        others: (N_y, G) of the second's, on the same goals.

    >>> win_shares([[1.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]).tolist()
    [0.75, 0.5]
    """
    x, y = (np.asarray(z, dtype=np.float64) for z in (returns, others))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            f"Returns come as one row a run over the same goals, got {x.shape} and {y.shape}."
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("A return is not finite: leave its goal out.")
    above = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
    return np.asarray(above.mean(axis=(0, 1)), dtype=np.float64)


def head_to_head(
    shares: npt.ArrayLike,
    rng: np.random.Generator,
    length_gap: npt.ArrayLike | None = None,
    num_replicates: int = _NUM_REPLICATES,
) -> HeadToHead:
    """Return the win rate over goals, plain and at equal length, with intervals.

    Length control follows Dubois et al. 2024 (arXiv:2404.04475): a logistic regression of the share
    won on tanh(length gap / its standard deviation), read at a gap of 0.

    Args:
        shares: (G,) what `win_shares` returns; at least 2 goals.
        rng: source of the resampling.
        length_gap: (G,) tokens a reply of the first agent minus the second's; None if unknown.
        num_replicates: R.
    """
    won = np.asarray(shares, dtype=np.float64)
    if won.ndim != 1 or len(won) < 2 or ((won < 0) | (won > 1)).any():
        raise ValueError(f"Expected shares in [0, 1] of at least 2 goals, got {won}.")
    number = len(won)
    counts = rng.multinomial(number, np.full(number, 1 / number), num_replicates)
    weights = counts.astype(np.float64)
    low, high = percentiles(weights @ won / number)
    plain = Estimate(float(won.mean()), float(low), float(high), number)
    if length_gap is None:
        return HeadToHead(plain, None)
    gap = np.asarray(length_gap, dtype=np.float64)
    if gap.shape != won.shape or not np.isfinite(gap).all():
        raise ValueError("length_gap needs one finite number a goal.")
    spread = gap.std()
    feature = np.tanh(gap / spread) if spread > 0 else np.zeros(number)
    value = _at_equal_length(won, feature, np.ones((1, number)))[0]
    low, high = percentiles(_at_equal_length(won, feature, weights))
    return HeadToHead(plain, Estimate(float(value), float(low), float(high), number))


def _at_equal_length(won: Floats, feature: Floats, weights: Floats) -> Floats:
    """Return (R,) fitted win rates at feature 0, by Newton's method, one fit a row of weights."""
    b0, b1 = np.zeros(len(weights)), np.zeros(len(weights))
    for _ in range(_NUM_STEPS):
        rate = 1.0 / (1.0 + np.exp(-(b0[:, None] + b1[:, None] * feature)))
        error = weights * (won - rate)
        bend = weights * rate * (1.0 - rate)
        g0 = error.sum(axis=1) - _PRIOR * b0
        g1 = error @ feature - _PRIOR * b1
        h00 = bend.sum(axis=1) + _PRIOR
        h01 = bend @ feature
        h11 = bend @ feature**2 + _PRIOR
        determinant = h00 * h11 - h01**2
        b0 = np.clip(b0 + (h11 * g0 - h01 * g1) / determinant, -30.0, 30.0)
        b1 = np.clip(b1 + (h00 * g1 - h01 * g0) / determinant, -30.0, 30.0)
    return np.asarray(1.0 / (1.0 + np.exp(-b0)), dtype=np.float64)
