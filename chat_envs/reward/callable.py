"""A reward function: plain Python that names what it wants to see of a turn."""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
from dataclasses import dataclass, field, fields
from typing import Any, Callable, Coroutine, Mapping, Sequence, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from chat_envs.message import Message
from chat_envs.reward.failure import as_reward, call_in_thread, call_within
from chat_envs.spelling import nearest

__all__ = ["RewardFunction", "RewardRequest", "reward_function"]

# What the outer time limit allows a coroutine beyond its own limit, to be cancelled in good order.
_CANCEL_GRACE_S = 0.5
# A judge whose own tasks were cancelled has failed like any other, though it is no `Exception`.
_FAILURES = (Exception, asyncio.CancelledError)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RewardRequest:
    """Everything that a reward may depend on, for one reply of one dialogue.

    Attributes:
        prompt: The messages before the reply.
        messages: All messages after the turn: prompt, reply, and what followed.
        reply: The agent's reply as text.
        reply_ids: Its token ids as written, int64.
        turn: Which turn this is; the first is 1.
        terminated: Whether the task ended with this turn.
        task: The task's own reward; None where the environment leaves it to a reward function.
        task_components: The parts of `task` by name.
        info: What is known of the turn: `success`, `termination_reason`, `metrics`.
    """

    prompt: tuple[Message, ...]
    messages: tuple[Message, ...]
    reply: str
    reply_ids: NDArray[np.int64]
    turn: int
    terminated: bool
    task: float | None
    task_components: Mapping[str, float] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)


# What a function may name, and what it gets for it.
_ARGUMENTS = tuple(f.name for f in fields(RewardRequest) if f.name != "task_components")


class RewardFunction:
    """A function of a turn, with its own name and, where it sets them, failure options.

    Attributes:
        function: The author's function, or an object with `score(batch)`.
        name: The component's name in `info["reward_components"]`.
        is_batched: Whether it is called once for all replies of a step.
        policy_options: Those of `on_error`, `timeout_s` and `retries` that the author set.
    """

    def __init__(
        self,
        function: Any,
        *,
        name: str | None = None,
        batched: bool = False,
        policy_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.function = function
        self.policy_options = dict(policy_options or {})
        self._is_scoring_object = hasattr(function, "score")
        self.is_batched = batched or self._is_scoring_object
        self._has_own_name = name is not None
        self.name = name or _name_of(function)
        self._call = function.score if self._is_scoring_object else function
        self._is_async = _is_coroutine_function(self._call)
        self._arguments = (
            () if self._is_scoring_object else _argument_names(function, self.name)
        )
        if not self._is_scoring_object:
            functools.update_wrapper(self, function, updated=())

    @classmethod
    def of(cls, target: Any, name: str | None = None) -> RewardFunction:
        """Return `target` as a reward function; `name` applies where it has none of its own."""
        if isinstance(target, RewardFunction):
            if name is None or target._has_own_name:
                return target
            return cls(
                target.function,
                name=name,
                batched=target.is_batched,
                policy_options=target.policy_options,
            )
        if isinstance(target, type):
            raise TypeError(
                f"reward {target.__qualname__} is a class; pass an instance of it"
            )
        if not callable(target) and not callable(getattr(target, "score", None)):
            raise TypeError(
                f"reward {target!r} of type {type(target).__name__} is neither None, an id, "
                "'package.module:name', a function, an object with score(batch), nor a mapping "
                "of those to weights"
            )
        return cls(target, name=name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the author's function returns, so that it stays usable and testable."""
        return self._call(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> RewardFunction:
        # gym.make deep-copies keywords; a copy of a reward model's weights would be waste.
        return self

    def attempt(
        self, requests: Sequence[RewardRequest], timeout_s: float | None
    ) -> list[float | Exception]:
        """Return one value a request, or the error in its place: one attempt, no policy.

        Args:
            requests: The replies to score, at least one.
            timeout_s: Time limit of one call of the function, in seconds.
        """
        if self.is_batched:
            return self._attempt_batch(requests, timeout_s)
        if self._is_async:
            return self._attempt_concurrently(requests, timeout_s)
        results: list[float | Exception] = []
        for request in requests:
            call = functools.partial(self._score_one, request)
            try:
                results.append(call_within(call, timeout_s))
            except _FAILURES as error:  # the policy decides, in chat_envs.reward
                results.append(_as_failure(error))
        return results

    def _score_one(self, request: RewardRequest) -> float | Exception:
        """Call the function, and read what it returned: a tensor may raise only then."""
        keywords = {name: getattr(request, name) for name in self._arguments}
        return as_reward(self._call(**keywords))

    def _attempt_batch(
        self, requests: Sequence[RewardRequest], timeout_s: float | None
    ) -> list[float | Exception]:
        if self._is_scoring_object:
            call = functools.partial(self._call, list(requests))
        else:
            keywords = {
                name: [getattr(request, name) for request in requests]
                for name in self._arguments
            }
            call = functools.partial(self._call, **keywords)

        def read(values: Any) -> list[float | Exception]:
            return [as_reward(value) for value in _as_list(values, len(requests))]

        async def finish() -> list[float | Exception]:
            return read(await call())

        try:
            # Read within the limit too: a generator does its work only then.
            if self._is_async:
                return _run(finish(), timeout_s)
            return call_within(lambda: read(call()), timeout_s)
        except _FAILURES as error:  # the policy decides, in chat_envs.reward
            return [_as_failure(error)] * len(requests)

    def _attempt_concurrently(
        self, requests: Sequence[RewardRequest], timeout_s: float | None
    ) -> list[float | Exception]:
        """Run a coroutine function on all requests at once: judges on a network are slow."""
        late = TimeoutError(f"gave no answer within {timeout_s or 0:g} s")
        results: list[float | Exception] = [late for _ in requests]

        async def one(index: int, request: RewardRequest) -> None:
            keywords = {name: getattr(request, name) for name in self._arguments}
            try:
                async with asyncio.timeout(timeout_s):
                    results[index] = as_reward(await self._call(**keywords))
            except TimeoutError as error:
                results[index] = error if str(error) else late
            except _FAILURES as error:  # the policy decides, in chat_envs.reward
                if isinstance(error, asyncio.CancelledError) and _is_being_cancelled():
                    raise
                results[index] = _as_failure(error)

        async def every() -> None:
            await asyncio.gather(*(one(i, r) for i, r in enumerate(requests)))

        try:
            _run(every(), timeout_s)
        except (
            TimeoutError
        ):  # blocked without awaiting: those that finished still count
            return list(results)
        return results


@overload
def reward_function(function: Callable[..., Any]) -> RewardFunction: ...


@overload
def reward_function(
    *,
    batched: bool = False,
    name: str | None = None,
    on_error: str | float | None = None,
    timeout_s: float | None = None,
    retries: int | None = None,
) -> Callable[[Callable[..., Any]], RewardFunction]: ...


def reward_function(
    function: Callable[..., Any] | None = None,
    *,
    batched: bool = False,
    name: str | None = None,
    on_error: str | float | None = None,
    timeout_s: float | None = None,
    retries: int | None = None,
) -> Any:
    """Decorate a plain function, with or without options, as a reward.

    The function names what it wants: any of `prompt, messages, reply, reply_ids, turn, terminated,
    task, info`, or `**everything` for all of them. It may be `async def`.

    Args:
        function: The function itself, where the decorator is used without parentheses.
        batched: Every argument is a list with one item a reply; n floats are returned.
        name: The component's name; the function's own name by default.
        on_error: Failure policy, `"raise"`, `"retry"`, `"mask"` or a number; the
            environment's where it is not given.
        timeout_s: Time limit of a call in seconds.
        retries: Attempts after the first.

    >>> @reward_function(batched=True, on_error="mask")
    ... def polite(reply: list[str]) -> list[float]:
    ...     return [float("please" in text) for text in reply]
    >>> polite(["please"]), polite.name
    ([1.0], 'polite')
    """
    options = {"on_error": on_error, "timeout_s": timeout_s, "retries": retries}
    given = {key: value for key, value in options.items() if value is not None}

    def decorate(author_function: Callable[..., Any]) -> RewardFunction:
        return RewardFunction(
            author_function, name=name, batched=batched, policy_options=given
        )

    return decorate if function is None else decorate(function)


def _as_failure(error: BaseException) -> Exception:
    """Return `error` as one that a failure policy may decide on."""
    if isinstance(error, Exception):
        return error
    return RuntimeError(f"was cancelled from within: {type(error).__name__}")


def _is_being_cancelled() -> bool:
    """Whether somebody asked the running task to stop: then a cancellation is no failure."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _as_list(values: Any, num_requests: int) -> list[Any]:
    """Return the values of a batched call as a list of the right length."""
    if hasattr(values, "tolist"):  # arrays and tensors, on any device
        values = values.tolist()
    is_no_sequence = isinstance(values, (str, bytes, Mapping, set, frozenset))
    if is_no_sequence or not hasattr(values, "__iter__"):
        raise TypeError(
            f"returned {type(values).__name__}, expected {num_requests} numbers, one a reply, in "
            "the order of the replies"
        )
    is_sized = hasattr(values, "__len__")  # else it may never end
    found = list(values if is_sized else itertools.islice(values, num_requests + 1))
    if len(found) != num_requests:
        raise ValueError(
            f"returned {len(found)} values for {num_requests} replies; "
            "return one number a reply, in their order"
        )
    return found


def _run(coroutine: Coroutine[Any, Any, _T], timeout_s: float | None) -> _T:
    """Return a coroutine's result from synchronous code, whether or not a loop is running."""

    async def limited() -> _T:
        async with asyncio.timeout(timeout_s):
            return await coroutine

    def work() -> _T:
        return asyncio.run(limited())

    if timeout_s is not None:
        # The loop's own limit comes first; the thread's catches code that never awaits.
        return call_in_thread(work, timeout_s + _CANCEL_GRACE_S)
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # none is running: the usual case
        return work()
    return call_in_thread(work, None)  # notebooks run a loop, and loops do not nest


def _argument_names(function: Callable[..., Any], name: str) -> tuple[str, ...]:
    """Return which fields of a request the function takes, from its signature."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError as error:
        raise TypeError(
            f"reward {name!r} has no signature that Python can read; wrap it in a def"
        ) from error
    wanted = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            return _ARGUMENTS
        if parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if (
            parameter.name in _ARGUMENTS
            and parameter.kind is not parameter.POSITIONAL_ONLY
        ):
            wanted.append(parameter.name)
        elif parameter.default is parameter.empty:
            raise TypeError(
                f"reward {name!r} asks for {parameter.name!r}, which no turn has."
                f"{nearest(parameter.name, _ARGUMENTS)} A reward function may name any of "
                f"{', '.join(_ARGUMENTS)}"
            )
    return tuple(wanted)


def _name_of(function: Any) -> str:
    """Return the name that a component gets where its author gave none."""
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    name = str(getattr(inner, "__name__", type(inner).__name__))
    return "reward" if name == "<lambda>" else name


def _is_coroutine_function(function: Any) -> bool:
    if inspect.isroutine(function) or isinstance(function, functools.partial):
        return inspect.iscoroutinefunction(function)
    return inspect.iscoroutinefunction(type(function).__call__)
