"""What happens when a reward function fails: raise, retry, mask, or fall back to a value.

A failing reward is never a silent zero. A failure is an exception, a call that passes its time
limit, and a value that is not one finite real number (NaN, inf, None, a string, a wrong count).

A time limit is kept with a daemon thread: the call is abandoned, not killed, because Python cannot
kill a thread. A function that never returns therefore leaves one thread behind for each attempt.
`isolation="process"` (`chat_envs.reward.worker_pool`) kills it.
"""

from __future__ import annotations

import asyncio
import math
import numbers
import reprlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, TypeVar

__all__ = [
    "FAILURES",
    "FailurePolicy",
    "NotCalledError",
    "RewardError",
    "as_components",
    "as_failure",
    "as_reward",
    "call_in_thread",
    "call_within",
    "error_kind",
    "error_text",
    "shorten",
    "shortened",
    "shown",
]

FAILURES = (Exception, asyncio.CancelledError)
"""What counts as a failed call: a judge whose own tasks were cancelled is no `Exception`."""

_ACTIONS = ("raise", "retry", "mask")
_DEFAULT_RETRIES = 2
_MAX_ERROR_TEXT = 400
# Walks a few items of a container, never all of it.
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 80

_T = TypeVar("_T")


class RewardError(RuntimeError):
    """A reward could not be computed. The message names the function, the turn and the reply."""


class NotCalledError(RuntimeError):
    """A reward function was not called at all, because it failed so often before."""


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
    if type(value) is float and math.isfinite(value):
        return value  # the usual case, at once
    if not isinstance(value, numbers.Real):
        # `tolist`, not `item`: of a masked NumPy value `item` is the 0 that lies under the mask.
        unpack = getattr(value, "tolist", getattr(value, "item", None))
        if getattr(value, "ndim", None) != 0 or unpack is None:
            return TypeError(
                f"returned {shown(value)} of type {type(value).__name__}, "
                "expected one real number"
            )
        value = unpack()
        if not isinstance(value, numbers.Real):
            return TypeError(f"returned {shown(value)}, expected one real number")
    try:
        number = float(value)
    except OverflowError:
        return ValueError("returned an integer too large for a float")
    if not math.isfinite(number):
        return ValueError(f"returned {number}, expected a finite number")
    return number


def as_components(value: Any, names: Sequence[str]) -> tuple[float, ...] | Exception:
    """Return a mapping's values as finite floats in the order of `names`, or why it is none.

    >>> as_components({"b": 2, "a": 1}, ("a", "b"))
    (1.0, 2.0)
    """
    if not isinstance(value, Mapping):
        return TypeError(
            f"returned {shown(value)} of type {type(value).__name__}, expected a mapping of "
            f"{', '.join(names)} to numbers"
        )
    given = set(value)
    if given != set(names):
        return ValueError(
            f"returned the names {shown(sorted(map(str, given)))}, expected {', '.join(names)}"
        )
    numbers_found = []
    for name in names:
        number = as_reward(value[name])
        if isinstance(number, Exception):
            return type(number)(f"{name}: {number}")
        numbers_found.append(number)
    return tuple(numbers_found)


def as_failure(error: BaseException) -> Exception:
    """Return `error` as one that a failure policy may decide on."""
    if isinstance(error, Exception):
        return error
    return RuntimeError(f"was cancelled from within: {type(error).__name__}")


def error_kind(error: BaseException) -> str:
    """Return the name of an error's type; that of an error from another process is told."""
    kind = getattr(error, "kind", None)
    return kind if isinstance(kind, str) else type(error).__name__


def error_text(error: BaseException) -> str:
    """Return what an error says, shortened; it is the author's code, and may fail itself."""
    try:
        return shorten(str(error), _MAX_ERROR_TEXT)
    except Exception as failure:
        return f"(its message cannot be read: {type(failure).__name__})"


def shortened(error: Exception) -> Exception:
    """Return the error, or in place of one that says far too much another that says it in short."""
    try:
        is_short = len(str(error)) <= _MAX_ERROR_TEXT
    except Exception:
        is_short = False
    if is_short:
        return error
    return RuntimeError(error_text(error)).with_traceback(error.__traceback__)


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


def shown(value: Any) -> str:
    """Return a short `repr`, whatever `value` is.

    >>> shown([0] * 10**6)
    '[0, 0, 0, 0, 0, 0, ...]'
    """
    try:
        return shorten(_REPR.repr(value))
    except Exception as error:
        return f"(a value that cannot be shown: {type(error).__name__})"
