"""A running mean and standard deviation, by which a component is brought to scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from chat_envs.reward.failure import RewardError, shown

__all__ = ["RunningMoments"]

# Below this share of the mean a spread is rounding.
_LEAST_SPREAD = 1e-9


class RunningMoments:
    """Mean and variance of all values so far (Welford, 1962), in constant memory.

    >>> moments = RunningMoments()
    >>> for value in (1.0, 3.0):
    ...     moments.add(value)
    >>> moments.mean, moments.std, round(moments.normalized(4.0), 6)
    (2.0, 1.0, 2.0)
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0  # sum of squared distances from the mean

    @property
    def std(self) -> float:
        """Return the population's standard deviation; 0 before the second value."""
        return math.sqrt(self._squares / self.count) if self.count else 0.0

    def add(self, value: float) -> None:
        """Count a value in.

        Raises:
            RewardError: If it is too large for its variance to be a float.
        """
        distance = value - self.mean
        mean = self.mean + distance / (self.count + 1)
        squares = self._squares + distance * (value - mean)
        if not math.isfinite(squares):
            raise RewardError(f"a reward of {value} is too large to be normalised")
        self.count, self.mean, self._squares = self.count + 1, mean, squares

    def normalized(self, value: float) -> float:
        """Return the value in standard deviations from the mean; 0 where there is no spread."""
        std = self.std
        has_spread = std > _LEAST_SPREAD * abs(self.mean)
        return (value - self.mean) / std if has_spread else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain JSON."""
        return {"count": self.count, "mean": self.mean, "squares": self._squares}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: If it is none.
        """
        values: list[Any] = [state.get(k) for k in ("count", "mean", "squares")]
        count, mean, squares = values
        if (
            type(count) is not int
            or type(mean) not in (int, float)
            or type(squares) not in (int, float)
            or not (math.isfinite(mean) and math.isfinite(squares))
            or min(count, squares) < 0
        ):
            raise ValueError(f"{shown(dict(state))} is no state of running moments")
        self.count, self.mean, self._squares = count, float(mean), float(squares)
