"""Coroutines of a reward from synchronous code, each under its time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from chat_envs.reward.failure import FAILURES, as_failure, call_in_thread

__all__ = ["gather", "run_coroutine"]

# What the outer time limit allows a coroutine beyond its own limit, to be cancelled in good order.
_CANCEL_GRACE_S = 0.5

_T = TypeVar("_T")


def run_coroutine(
    coroutine: Coroutine[Any, Any, _T], timeout_s: float | None, is_killable: bool
) -> _T:
    """Return a coroutine's result from synchronous code, whether or not a loop is running.

    Args:
        coroutine: What to run.
        timeout_s: Its time limit in seconds.
        is_killable: Whether somebody ends this process if the coroutine blocks its loop: then it
            runs in this thread, and its loop's time limit is the only one here.
    """

    async def limited() -> _T:
        async with asyncio.timeout(timeout_s):
            return await coroutine

    def work() -> _T:
        return asyncio.run(limited())

    if timeout_s is not None and not is_killable:
        # The loop's own limit comes first; the thread's catches code that never awaits.
        return call_in_thread(work, timeout_s + _CANCEL_GRACE_S)
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # none is running: the usual case
        return work()
    return call_in_thread(work, None)  # notebooks run a loop, and loops do not nest


def gather(
    calls: Sequence[Callable[[], Awaitable[_T]]],
    timeout_s: float | None,
    is_killable: bool,
) -> list[_T | Exception]:
    """Return what the calls return, all run at once, or their errors: judges are slow."""
    late = TimeoutError(f"gave no answer within {timeout_s or 0:g} s")
    results: list[_T | Exception] = [late for _ in calls]

    async def one(index: int, call: Callable[[], Awaitable[_T]]) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                results[index] = await call()
        except TimeoutError as error:
            results[index] = error if str(error) else late
        except FAILURES as error:  # the policy decides, in chat_envs.reward
            if isinstance(error, asyncio.CancelledError) and _is_being_cancelled():
                raise
            results[index] = as_failure(error)

    async def every() -> None:
        await asyncio.gather(*(one(i, call) for i, call in enumerate(calls)))

    try:
        run_coroutine(every(), timeout_s, is_killable)
    except TimeoutError:
        # Blocked without awaiting: those that finished still count.
        return list(results)
    return results


def _is_being_cancelled() -> bool:
    """Whether somebody asked the running task to stop: then a cancellation is no failure."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
