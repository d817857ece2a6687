from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import threading
import time
from typing import Any, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.reward import RewardFunction, make_scorer, reward_function
from tests.chat_envs.request import make_request, make_requests

FIELDS = (
    "prompt",
    "messages",
    "reply",
    "reply_ids",
    "turn",
    "terminated",
    "task",
    "info",
)


def attempt(function: Any, *replies: str, timeout_s: float | None = None) -> list[Any]:
    return RewardFunction.of(function).attempt(make_requests(*replies), timeout_s)


@given(st.lists(st.sampled_from(FIELDS), unique=True))
def test_a_function_gets_the_fields_that_it_names_and_no_other(
    names: list[str],
) -> None:
    seen: dict[str, Any] = {}

    def function(**given: Any) -> float:
        seen.update(given)
        return 1.0

    parameters = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in names]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    request = make_request()
    RewardFunction(function).attempt([request], None)
    assert sorted(seen) == sorted(names)
    assert all(seen[name] is getattr(request, name) for name in names)


def test_keywords_stand_for_every_field() -> None:
    seen: dict[str, Any] = {}

    def greedy(**everything: Any) -> float:
        seen.update(everything)
        return 0.0

    assert attempt(greedy, "a") == [0.0]
    assert tuple(sorted(seen)) == tuple(sorted(FIELDS))


def test_a_batched_function_gets_lists() -> None:
    @reward_function(batched=True)
    def check(reply: list[str], turn: list[int], task: list[float]) -> list[float]:
        assert (reply, turn, task) == (["a", "b"], [1, 2], [1.0, 1.0])
        return [0.0, 1.0]

    assert attempt(check, "a", "b") == [0.0, 1.0]


def test_defaults_are_left_alone() -> None:
    def scaled(reply: str, scale: float = 3.0) -> float:
        return scale * len(reply)

    assert attempt(scaled, "ab") == [6.0]
    assert attempt(functools.partial(scaled, scale=5.0), "ab") == [10.0]
    assert RewardFunction(functools.partial(scaled, scale=5.0)).name == "scaled"


def test_an_unknown_argument_names_the_nearest() -> None:
    def typo(replay: str) -> float:
        return 0.0

    with pytest.raises(TypeError, match="asks for 'replay'.*Did you mean 'reply'"):
        make_scorer(typo)


def test_a_positional_only_argument_cannot_be_filled() -> None:
    def old(reply: str, /) -> float:
        return 0.0

    with pytest.raises(TypeError, match="'old' asks for 'reply'"):
        make_scorer(old)


def test_an_object_that_is_called_is_a_function() -> None:
    class Judge:
        def __call__(self, reply: str) -> float:
            return 2.0

    class AsyncJudge:
        async def __call__(self, reply: str) -> float:
            return 3.0

    assert attempt(Judge(), "a") == [2.0]
    assert attempt(AsyncJudge(), "a") == [3.0]
    assert RewardFunction(Judge()).name == "judge"


def test_a_decorated_function_stays_callable_and_documented() -> None:
    @reward_function(name="short_name")
    def concise(reply: str) -> float:
        """Return minus the length."""
        return -float(len(reply))

    assert concise("abc") == -3.0
    assert (concise.name, concise.__doc__) == ("short_name", "Return minus the length.")


def test_the_decorator_works_with_and_without_parentheses() -> None:
    assert reward_function(len_of).name == reward_function()(len_of).name == "len_of"


def len_of(reply: str) -> int:
    return len(reply)


def test_a_lambda_is_called_reward() -> None:
    assert RewardFunction(lambda reply: 1).name == "reward"


@pytest.mark.parametrize(
    "values",
    [
        [1, 2],
        (1.0, 2.0),
        np.array([1.0, 2.0], np.float32),
        np.array([1, 2]),
        [np.float32(1.0), np.array(2.0)],
        {1.0: "a", 2.0: "b"}.keys(),
    ],
)
def test_a_batch_may_come_as_any_sequence_of_numbers(values: Any) -> None:
    @reward_function(batched=True)
    def give(reply: list[str]) -> Any:
        return values

    assert attempt(give, "a", "b") == [1.0, 2.0]


@pytest.mark.parametrize("values", [None, 1.0, "12", b"12", {"a": 1.0, "b": 2.0}])
def test_a_batch_that_is_no_sequence_of_numbers_fails_whole(values: Any) -> None:
    @reward_function(batched=True)
    def give(reply: list[str]) -> Any:
        return values

    results = attempt(give, "a", "b")
    assert [type(r) for r in results] == [TypeError, TypeError]
    assert "expected 2 numbers" in str(results[0])


# Coroutines ---------------------------------------------------------------------------------


def test_coroutines_of_one_step_run_concurrently() -> None:
    running: list[int] = [0]
    most: list[int] = [0]

    async def judge(reply: str) -> float:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0.01)
        running[0] -= 1
        return float(len(reply))

    assert attempt(judge, "a", "bb", "ccc") == [1.0, 2.0, 3.0]
    assert most[0] == 3


def test_a_batched_coroutine_works() -> None:
    @reward_function(batched=True)
    async def judge(reply: list[str]) -> list[float]:
        await asyncio.sleep(0)
        return [float(len(text)) for text in reply]

    assert attempt(judge, "a", "bb") == [1.0, 2.0]
    assert attempt(judge, "a", "bb", timeout_s=5.0) == [1.0, 2.0]


def test_a_coroutine_works_inside_a_running_loop() -> None:
    async def judge(reply: str) -> float:
        await asyncio.sleep(0)
        return 4.0

    async def notebook() -> list[Any]:
        return attempt(judge, "a", "b")

    assert asyncio.run(notebook()) == [4.0, 4.0]


def test_a_failing_coroutine_does_not_disturb_the_others() -> None:
    async def judge(reply: str) -> float:
        if reply == "b":
            raise OSError("down")
        await asyncio.sleep(0.001)
        return 1.0

    first, second, third = attempt(judge, "a", "b", "c")
    assert (first, third) == (1.0, 1.0)
    assert isinstance(second, OSError)


def test_a_late_coroutine_is_cancelled_and_the_others_count() -> None:
    was_cancelled = threading.Event()

    async def judge(reply: str) -> float:
        if reply == "b":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                was_cancelled.set()
                raise
        return 1.0

    first, second = attempt(judge, "a", "b", timeout_s=0.05)
    assert first == 1.0
    assert isinstance(second, TimeoutError) and "within 0.05 s" in str(second)
    assert was_cancelled.is_set()


def test_a_coroutine_that_blocks_its_loop_is_abandoned() -> None:
    release = threading.Event()

    async def judge(reply: str) -> float:
        release.wait(30)
        return 1.0

    (result,) = attempt(judge, "a", timeout_s=0.05)
    release.set()
    assert isinstance(result, TimeoutError)


def test_a_late_function_is_abandoned() -> None:
    release = threading.Event()

    def slow(reply: str) -> float:
        release.wait(30)
        return 1.0

    start = time.monotonic()
    (result,) = attempt(slow, "a", timeout_s=0.05)
    release.set()
    assert isinstance(result, TimeoutError)
    assert time.monotonic() - start < 20  # it did not wait for the function's end


# What is returned is read by the author's code too ---------------------------------------------


class Scalar:
    """A number of no dimensions that is known only when it is asked for, as on a device."""

    ndim = 0

    def __init__(self, item: Any) -> None:
        self.item = item


def fails() -> float:
    raise RuntimeError("no data")


def test_a_value_that_cannot_be_read_is_a_failure_of_its_reply_alone() -> None:
    def judge(reply: str) -> Any:
        return Scalar(fails if reply == "b" else lambda: 1.0)

    first, second, third = attempt(judge, "a", "b", "c")
    assert (first, third) == (1.0, 1.0)
    assert isinstance(second, RuntimeError) and "no data" in str(second)


def test_the_time_limit_holds_while_a_value_is_read() -> None:
    release = threading.Event()

    def slow() -> float:
        release.wait(30)
        return 1.0

    (result,) = attempt(lambda reply: Scalar(slow), "a", timeout_s=0.05)
    release.set()
    assert isinstance(result, TimeoutError)


def test_the_time_limit_holds_for_a_batch_that_is_generated() -> None:
    release = threading.Event()

    @reward_function(batched=True)
    def slow(reply: list[str]) -> Iterator[float]:
        yield 1.0
        release.wait(30)

    results = attempt(slow, "a", "b", timeout_s=0.05)
    release.set()
    assert [type(result) for result in results] == [TimeoutError, TimeoutError]


def test_a_batch_that_never_ends_fails() -> None:
    @reward_function(batched=True)
    def endless(reply: list[str]) -> Iterator[float]:
        return itertools.repeat(1.0)

    results = attempt(endless, "a", "b")
    assert [type(result) for result in results] == [ValueError, ValueError]


def test_a_batch_of_the_wrong_length_is_not_walked_through() -> None:
    class Endless:
        def __len__(self) -> int:
            return 10**10

        def __iter__(self) -> Iterator[float]:
            raise AssertionError("walked")

    @reward_function(batched=True)
    def judge(reply: list[str]) -> Any:
        return Endless()

    results = attempt(judge, "a", "b")
    assert all("10000000000 values for 2 replies" in str(r) for r in results)


@pytest.mark.parametrize("unordered", [{1.0, 2.0}, frozenset((1.0, 2.0))])
def test_a_set_has_no_order_to_score_a_batch_by(unordered: Any) -> None:
    @reward_function(batched=True)
    def judge(reply: list[str]) -> Any:
        return unordered

    results = attempt(judge, "a", "b")
    assert [type(result) for result in results] == [TypeError, TypeError]


def test_a_cancellation_from_within_is_a_failure() -> None:
    async def judge(reply: str) -> float:
        if reply == "b":
            raise asyncio.CancelledError
        return 1.0

    @reward_function(batched=True)
    async def judges(reply: list[str]) -> list[float]:
        raise asyncio.CancelledError

    def blocking(reply: str) -> float:
        raise asyncio.CancelledError

    first, second = attempt(judge, "a", "b")
    assert first == 1.0
    assert isinstance(second, RuntimeError) and "cancelled" in str(second)
    assert [type(r) for r in attempt(judges, "a", "b")] == [RuntimeError] * 2
    assert [type(r) for r in attempt(blocking, "a")] == [RuntimeError]
