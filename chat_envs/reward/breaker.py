"""When a reward function that keeps failing is left alone, and when a run is given up."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from chat_envs.reward.failure import NotCalledError, RewardError, shown

__all__ = ["CircuitBreaker", "ErrorRateLimit"]

_MAX_DOUBLINGS = 6
_WINDOW = 1000
_LEAST_SEEN = 100


class CircuitBreaker:
    """Refuses requests after many consecutive failures, for a number of requests that doubles.

    It counts requests, not seconds, so that a run is the same each time. After `after` failed
    requests in a row the next `after` are refused; then one is tried. If that fails too, twice as
    many are refused, up to 64 times `after`.

    Args:
        after: How many failed requests in a row; None for never.

    >>> breaker = CircuitBreaker(2)
    >>> breaker.note([True, True])
    >>> breaker.refuse(5), breaker.is_on_trial
    (2, True)
    >>> breaker.note([False])
    >>> breaker.refuse(5), breaker.is_on_trial
    (0, False)
    """

    def __init__(self, after: int | None) -> None:
        self._after = after
        self._num_consecutive = 0
        self._num_doublings = 0
        self._num_remaining = 0
        self.is_on_trial = False

    @property
    def patience(self) -> int | None:
        """Return how many more failures in a row are borne, at least one; None for all."""
        if self._after is None:
            return None
        return max(1, self._after - self._num_consecutive)

    def refuse(self, num_requests: int) -> int:
        """Return how many of the next requests are refused, and count them."""
        refused = min(self._num_remaining, num_requests)
        self._num_remaining -= refused
        return refused

    def note(self, failed: Sequence[bool]) -> None:
        """Take note of which of the requests that were tried failed, in their order."""
        if self._after is None:
            return
        for has_failed in failed:
            self._num_consecutive = self._num_consecutive + 1 if has_failed else 0
        if not all(failed):
            self._num_doublings, self.is_on_trial = 0, False
        if self._num_consecutive >= self._after:
            if self.is_on_trial:
                self._num_doublings = min(self._num_doublings + 1, _MAX_DOUBLINGS)
            self.is_on_trial = True
            self._num_remaining = self._after * 2**self._num_doublings

    @property
    def reason(self) -> NotCalledError:
        """Return the error of a request that is refused."""
        return NotCalledError(
            f"was not called: its last {self._num_consecutive} requests failed"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain JSON."""
        return {
            "num_consecutive": self._num_consecutive,
            "num_doublings": self._num_doublings,
            "num_remaining": self._num_remaining,
            "is_on_trial": self.is_on_trial,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: If it is none.
        """
        counts = [
            _as_count(state, "num_consecutive"),
            _as_count(state, "num_doublings"),
            _as_count(state, "num_remaining"),
        ]
        if not isinstance(state.get("is_on_trial"), bool) or counts[1] > _MAX_DOUBLINGS:
            raise ValueError(f"{shown(dict(state))} is no state of a circuit breaker")
        self._num_consecutive, self._num_doublings, self._num_remaining = counts
        self.is_on_trial = state["is_on_trial"]


class ErrorRateLimit:
    """Gives up where too many of the last 1,000 requests failed, once 100 were seen.

    Args:
        limit: The highest error rate that is borne, in [0, 1].
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._recent: deque[bool] = deque(maxlen=_WINDOW)

    def note(self, failed: Sequence[bool], name: str) -> None:
        """Take note of which requests failed.

        Raises:
            RewardError: If too many did.
        """
        self._recent.extend(failed)
        rate = sum(self._recent) / max(1, len(self._recent))
        if len(self._recent) >= _LEAST_SEEN and rate > self._limit:
            raise RewardError(
                f"reward {name!r} failed for {rate:.1%} of the last {len(self._recent)} replies, "
                f"more than max_error_rate={self._limit:g}"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain JSON."""
        return {"recent": "".join("x" if failed else "." for failed in self._recent)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: If it is none.
        """
        recent = state.get("recent")
        if not isinstance(recent, str) or set(recent) - {"x", "."}:
            raise ValueError(f"{shown(dict(state))} is no state of an error rate")
        self._recent = deque((mark == "x" for mark in recent), maxlen=_WINDOW)


def _as_count(state: Mapping[str, Any], key: str) -> int:
    count = state.get(key)
    if type(count) is not int or count < 0:
        raise ValueError(f"{key} must be a count, got {shown(count)}")
    return count
