"""What happens when a reward function fails: raise, retry, mask, or fall back to a value.

A failing reward is never a silent zero. A failure is an exception, a call that passes its time
limit, and a value that is not one finite real number (NaN, inf, None, a string, a wrong count).

A time limit is kept with a daemon thread: the call is abandoned, not killed, because Python cannot
kill a thread. A function that never returns therefore leaves one idle thread behind for each
attempt. Isolation in a separate process is another feature.
"""

from __future__ import annotations

import math
import numbers
import threading
from dataclasses import dataclass
from typing import Any, Callable, TypeVar

__all__ = [
    "FailurePolicy",
    "RewardError",
    "as_reward",
    "call_in_thread",
    "call_within",
    "shorten",
]

_ACTIONS = ("raise", "retry", "mask")
_DEFAULT_RETRIES = 2

_T = TypeVar("_T")


class RewardError(RuntimeError):
    """A reward could not be computed. The message names the function, the turn and the reply."""


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """What to do with a failing reward function.

    Attributes:
        on_error: `"raise"` stops with a `RewardError`; `"retry"` is `"raise"` after `retries` more
            attempts; `"mask"` marks the turn `reward_valid=False`, so that it is left out of
            the loss; a number is used as the reward.
        timeout_s: Time limit of one attempt in seconds, above 0; None for no limit.
        retries: Attempts after the first, at least 0, whatever `on_error` is. None means 2
            for `"retry"` and otherwise 0.
    """

    on_error: str | float = "raise"
    timeout_s: float | None = None
    retries: int | None = None

    def __post_init__(self) -> None:
        given: Any = (
            self.on_error
        )  # from a configuration: its type is not to be trusted
        if isinstance(given, str):
            if given not in _ACTIONS:
                raise ValueError(
                    f"on_error={given!r} is unknown; use one of {_ACTIONS}, "
                    "or a number that stands in for the failed reward"
                )
        elif isinstance(given, bool) or isinstance(as_reward(given), Exception):
            raise ValueError(
                f"on_error={given!r} must be one of {_ACTIONS} or a finite number"
            )
        is_limit = isinstance(self.timeout_s, numbers.Real)
        if self.timeout_s is not None and not (
            is_limit and 0 < self.timeout_s < math.inf
        ):
            raise ValueError(
                f"timeout_s={self.timeout_s!r} must be a finite number of seconds above 0, "
                "or None for no limit"
            )
        retries: Any = self.retries
        is_count = isinstance(retries, numbers.Integral)
        if retries is not None and not (is_count and retries >= 0):
            raise ValueError(f"retries={retries!r} must be an integer of at least 0")

    @property
    def num_attempts(self) -> int:
        """Return how often a call is tried before `on_error` decides."""
        if self.retries is not None:
            return 1 + self.retries
        return 1 + (_DEFAULT_RETRIES if self.on_error == "retry" else 0)

    @property
    def fallback(self) -> float | None:
        """Return the stand-in value, or None where the policy has none."""
        return None if isinstance(self.on_error, str) else float(self.on_error)


def as_reward(value: Any) -> float | Exception:
    """Return `value` as a finite float, or the error that says why it is none.

    Accepts real numbers, booleans, and anything with no dimensions and a `tolist()` or `item()`,
    such as NumPy scalars and tensors of a deep-learning library. What these do is the author's
    code: it may raise, and take its time.

    >>> as_reward(True), as_reward("1.0")
    (1.0, TypeError("returned '1.0' of type str, expected one real number"))
    """
    if not isinstance(value, numbers.Real):
        # `tolist`, not `item`: of a masked NumPy value `item` is the 0 that lies under the mask.
        unpack = getattr(value, "tolist", getattr(value, "item", None))
        if getattr(value, "ndim", None) != 0 or unpack is None:
            return TypeError(
                f"returned {shorten(repr(value))} of type {type(value).__name__}, "
                "expected one real number"
            )
        value = unpack()
        if not isinstance(value, numbers.Real):
            return TypeError(f"returned {value!r}, expected one real number")
    try:
        number = float(value)
    except OverflowError:
        return ValueError("returned an integer too large for a float")
    if not math.isfinite(number):
        return ValueError(f"returned {number}, expected a finite number")
    return number


def call_within(call: Callable[[], _T], timeout_s: float | None) -> _T:
    """Return `call()`, or raise `TimeoutError` after `timeout_s` seconds.

    Without a limit the call runs in the calling thread.
    """
    return call() if timeout_s is None else call_in_thread(call, timeout_s)


def call_in_thread(call: Callable[[], _T], timeout_s: float | None) -> _T:
    """Return `call()` from a daemon thread, or raise `TimeoutError` after `timeout_s` seconds."""
    results: list[_T] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        # Raised in the caller's thread, below.
        except BaseException as error:  # noqa: B036
            failures.append(error)

    thread = threading.Thread(target=work, name="chat-envs-reward", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if failures:
        raise failures[0]
    if not results:
        raise TimeoutError(f"gave no answer within {timeout_s:g} s")
    return results[0]


def shorten(text: str, limit: int = 80) -> str:
    """Return `text`, its middle cut out where it is longer than `limit` characters.

    >>> shorten("a" * 100, limit=20)
    'aaaaaa ... aaaaaaaaa'
    """
    if len(text) <= limit:
        return text
    head = (limit - 5) // 2 - 1
    return f"{text[:head]} ... {text[-(limit - 5 - head):]}"
