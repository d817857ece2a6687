"""A reward function: plain Python that names what it wants to see of a turn."""

from __future__ import annotations

import functools
import itertools
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

from chat_envs.reward.coroutine import gather, run_coroutine
from chat_envs.reward.failure import (
    FAILURES,
    NotCalledError,
    as_components,
    as_failure,
    as_reward,
    call_within,
    error_text,
    shown,
)
from chat_envs.reward.request import RewardRequest, groups_of
from chat_envs.reward.signature import (
    argument_names,
    component_name,
    is_coroutine_function,
)
from chat_envs.reward.wire import ALL_FIELDS, Traits

__all__ = ["Result", "RewardFunction", "construct", "reward_function"]

Result = float | tuple[float, ...] | Exception
"""A request's value, the values of a vector reward in the order of its names, or the error."""


class RewardFunction:
    """A function of a turn, with its own name and the options that its author set.

    Attributes:
        function: The author's function, or an object with `score(batch)`.
        name: The component's name in `info["reward_components"]`.
        names: The names of its parts, where it returns a mapping of several; else None.
        is_batched: Whether it is called once for all replies of a step.
        needs_groups: Whether it is called once for all replies to the same prompt.
        policy_options: The options of an entry that the author set, such as `on_error`.
    """

    num_kills = 0

    def __init__(
        self,
        function: Any,
        *,
        name: str | None = None,
        batched: bool = False,
        group: bool = False,
        names: Sequence[str] | None = None,
        policy_options: Mapping[str, Any] | None = None,
    ) -> None:
        if isinstance(function, type):
            raise TypeError(
                f"reward {function.__qualname__} is a class; pass an instance of it, or name the "
                "class in a mapping, with its kwargs"
            )
        self.function = function
        self.policy_options = dict(policy_options or {})
        self._is_scoring_object = hasattr(function, "score")
        if self._is_scoring_object:
            group = group or getattr(function, "needs_groups", False) is True
            names = getattr(function, "names", None) if names is None else names
        self.needs_groups = group
        self.is_batched = batched or group or self._is_scoring_object
        self.name = name or component_name(function)
        self.names = None if names is None else _as_names(names, self.name)
        self._call = function.score if self._is_scoring_object else function
        self._is_async = is_coroutine_function(self._call)
        self._arguments = (
            () if self._is_scoring_object else argument_names(function, self.name)
        )
        if not self._is_scoring_object:
            functools.update_wrapper(self, function, updated=())

    @classmethod
    def of(cls, target: Any, name: str | None = None) -> RewardFunction:
        """Return `target` as a reward function, under `name` if one is given."""
        if isinstance(target, RewardFunction):
            if name is None or name == target.name:
                return target
            return cls(
                target.function,
                name=name,
                batched=target.is_batched,
                group=target.needs_groups,
                names=target.names,
                policy_options=target.policy_options,
            )
        if not callable(target) and not callable(getattr(target, "score", None)):
            raise TypeError(
                f"reward {shown(target)} of type {type(target).__name__} is neither None, an id, "
                "'package.module:name', a function, an object with score(batch), nor a mapping "
                "of those to weights"
            )
        return cls(target, name=name)

    @property
    def traits(self) -> Traits:
        """Return what another process must know of it."""
        return Traits(
            name=self.name,
            names=self.names,
            fields=ALL_FIELDS if self._is_scoring_object else self._arguments,
            needs_groups=self.needs_groups,
            is_streamed=not (self.is_batched or self._is_async),
            options=self.policy_options,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the author's function returns, so that it stays usable and testable."""
        return self._call(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> RewardFunction:
        # gym.make deep-copies keywords; a copy of a reward model's weights would be waste.
        return self

    def attempt(
        self,
        requests: Sequence[RewardRequest],
        timeout_s: float | None,
        *,
        patience: int | None = None,
        is_killable: bool = False,
    ) -> list[Result]:
        """Return one value a request, or the error in its place: one attempt, no policy.

        Args:
            requests: The replies to score, at least one.
            timeout_s: Time limit of one call of the function, in seconds.
            patience: How many calls in a row may fail before the rest is not called.
            is_killable: Whether this process is ended from outside if the function blocks. Then
                only coroutines are limited here.
        """
        if self.needs_groups:
            results: list[Result] = [0.0] * len(requests)
            for group in groups_of(requests):
                members = [requests[index] for index in group]
                found = self._attempt_batch(members, timeout_s, is_killable)
                for index, result in zip(group, found):
                    results[index] = result
            return results
        if self.is_batched:
            return self._attempt_batch(requests, timeout_s, is_killable)
        if self._is_async:
            calls = [functools.partial(self._score_later, r) for r in requests]
            return gather(calls, timeout_s, is_killable)
        limit_s = None if is_killable else timeout_s
        return self._attempt_each(requests, limit_s, patience)

    def _attempt_each(
        self,
        requests: Sequence[RewardRequest],
        timeout_s: float | None,
        patience: int | None,
    ) -> list[Result]:
        results: list[Result] = []
        num_failures = 0  # in a row
        for request in requests:
            result: Result
            if num_failures == patience:
                results.append(
                    NotCalledError(
                        f"was not called: it failed {patience} times in a row"
                    )
                )
                continue
            try:
                call = functools.partial(self._score_one, request)
                result = call_within(call, timeout_s)
            except FAILURES as error:  # the policy decides, in chat_envs.reward
                result = as_failure(error)
            num_failures = num_failures + 1 if isinstance(result, Exception) else 0
            results.append(result)
        return results

    def _score_one(self, request: RewardRequest) -> Result:
        """Call the function, and read what it returned: a tensor may raise only then."""
        return self._read(self._call(**self._keywords(request)))

    async def _score_later(self, request: RewardRequest) -> Result:
        return self._read(await self._call(**self._keywords(request)))

    def _keywords(self, request: RewardRequest) -> dict[str, Any]:
        return {name: getattr(request, name) for name in self._arguments}

    def _read(self, value: Any) -> Result:
        names = self.names
        return as_reward(value) if names is None else as_components(value, names)

    def _attempt_batch(
        self,
        requests: Sequence[RewardRequest],
        timeout_s: float | None,
        is_killable: bool,
    ) -> list[Result]:
        if self._is_scoring_object:
            call = functools.partial(self._call, list(requests))
        else:
            keywords = {
                name: [getattr(request, name) for request in requests]
                for name in self._arguments
            }
            call = functools.partial(self._call, **keywords)

        def read(values: Any) -> list[Result]:
            return [self._read(value) for value in _as_list(values, len(requests))]

        async def finish() -> list[Result]:
            return read(await call())

        try:
            # Read within the limit too: a generator does its work only then.
            if self._is_async:
                return run_coroutine(finish(), timeout_s, is_killable)
            limit_s = None if is_killable else timeout_s
            return call_within(lambda: read(call()), limit_s)
        except FAILURES as error:  # the policy decides, in chat_envs.reward
            return [as_failure(error)] * len(requests)


@overload
def reward_function(function: Callable[..., Any]) -> RewardFunction: ...


@overload
def reward_function(
    *,
    batched: bool = False,
    group: bool = False,
    names: Sequence[str] | None = None,
    name: str | None = None,
    on_error: str | float | None = None,
    timeout_s: float | None = None,
    retries: int | None = None,
    when: str | None = None,
    isolation: str | None = None,
) -> Callable[[Callable[..., Any]], RewardFunction]: ...


def reward_function(
    function: Callable[..., Any] | None = None,
    *,
    batched: bool = False,
    group: bool = False,
    names: Sequence[str] | None = None,
    name: str | None = None,
    on_error: str | float | None = None,
    timeout_s: float | None = None,
    retries: int | None = None,
    when: str | None = None,
    isolation: str | None = None,
) -> Any:
    """Decorate a plain function, with or without options, as a reward.

    The function names what it wants: any of `prompt, messages, reply, reply_ids, turn, terminated,
    task, info`, or `**everything` for all of them. It may be `async def`.

    Args:
        function: The function itself, where the decorator is used without parentheses.
        batched: Every argument is a list with one item a reply; n floats are returned.
        group: The same, called once for all replies of a step to one prompt.
        names: It returns a mapping of these names to numbers, each a component of its own.
        name: The component's name; the function's own name by default.
        on_error: Failure policy, `"raise"`, `"retry"`, `"mask"` or a number; the
            environment's where it is not given, and a mapping's option beats it, as all below.
        timeout_s: Time limit of a call in seconds.
        retries: Attempts after the first.
        when: `"turn"`, or `"end"` for the last turn of an episode alone.
        isolation: `"inline"`, or `"process"` for a process of its own.

    >>> @reward_function(batched=True, on_error="mask")
    ... def polite(reply: list[str]) -> list[float]:
    ...     return [float("please" in text) for text in reply]
    >>> polite(["please"]), polite.name
    ([1.0], 'polite')
    """
    options = {
        "on_error": on_error,
        "timeout_s": timeout_s,
        "retries": retries,
        "when": when,
        "isolation": isolation,
    }
    given = {key: value for key, value in options.items() if value is not None}

    def decorate(author_function: Callable[..., Any]) -> RewardFunction:
        return RewardFunction(
            author_function,
            name=name,
            batched=batched,
            group=group,
            names=names,
            policy_options=given,
        )

    return decorate if function is None else decorate(function)


def construct(target: Any, kwargs: Mapping[str, Any] | None, label: str) -> Any:
    """Return the reward that `target` is, or makes: a class or, given `kwargs`, a function.

    Raises:
        TypeError: If it cannot be called so, or makes no reward.
    """
    if kwargs is None and not isinstance(target, type):
        return target
    if isinstance(target, RewardFunction) or not callable(target):
        raise TypeError(
            f"reward {label!r} takes no kwargs: they are for a class, or for a function that "
            "returns the reward"
        )
    try:
        made = target(**(kwargs or {}))
    except TypeError as error:
        raise TypeError(
            f"reward {label!r} cannot be made from kwargs={dict(kwargs or {})}: "
            f"{error_text(error)}"
        ) from error
    if not callable(made) and not hasattr(made, "score"):
        is_number = isinstance(made, numbers.Real)
        raise TypeError(
            f"reward {label!r}, called with its kwargs, returned {shown(made)}, not a reward"
            + (
                ": kwargs are for a class, or for a function that returns the reward"
                if is_number
                else ""
            )
        )
    return made


def _as_names(names: Any, owner: str) -> tuple[str, ...]:
    """Return the declared names of a vector reward's parts."""
    is_list = isinstance(names, (list, tuple))
    if not is_list or not names or not all(isinstance(n, str) and n for n in names):
        raise TypeError(
            f"names of reward {owner!r} must be a list of names, not {shown(names)}"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"names of reward {owner!r} repeat one: {shown(names)}")
    return tuple(names)


def _as_list(values: Any, num_requests: int) -> list[Any]:
    """Return the values of a batched call as a list of the right length."""
    is_no_sequence = isinstance(values, (str, bytes, Mapping, set, frozenset))
    is_array = hasattr(values, "tolist")  # of any library, on any device
    is_scalar = is_array and getattr(values, "ndim", None) == 0
    if is_no_sequence or is_scalar or not (is_array or hasattr(values, "__iter__")):
        raise TypeError(
            f"returned {type(values).__name__}, expected {num_requests} numbers, one a reply, in "
            "the order of the replies"
        )
    if hasattr(values, "__len__"):  # else it may never end
        num_values = len(values)  # before it is copied: it may be huge
        if num_values == num_requests:
            found = list(values.tolist() if is_array else values)
            num_values = len(found)
    else:
        found = list(itertools.islice(values, num_requests + 1))
        num_values = len(found)
    if num_values != num_requests:
        raise ValueError(
            f"returned {num_values} values for {num_requests} replies; "
            "return one number a reply, in their order"
        )
    return found
