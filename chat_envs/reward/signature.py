"""What a function's signature and name say about it as a reward."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

from chat_envs.reward.request import FIELDS
from chat_envs.spelling import nearest

__all__ = ["argument_names", "component_name", "is_coroutine_function", "snake_case"]

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def argument_names(function: Callable[..., Any], name: str) -> tuple[str, ...]:
    """Return which fields of a request the function takes, from its signature.

    Raises:
        TypeError: If it asks for what no turn has, or has no signature.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError as error:
        raise TypeError(
            f"reward {name!r} has no signature that Python can read; wrap it in a def"
        ) from error
    wanted = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            return FIELDS
        if parameter.kind is parameter.VAR_POSITIONAL:
            continue
        if parameter.name in FIELDS and parameter.kind is not parameter.POSITIONAL_ONLY:
            wanted.append(parameter.name)
        elif parameter.default is parameter.empty:
            raise TypeError(
                f"reward {name!r} asks for {parameter.name!r}, which no turn has."
                f"{nearest(parameter.name, FIELDS)} A reward function may name any of "
                f"{', '.join(FIELDS)}"
            )
    return tuple(wanted)


def component_name(function: Any) -> str:
    """Return the name that a component gets where its author gave none.

    A function's is its own; an object's is its `name`, or its class's in snake_case.
    """
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    name = getattr(inner, "__name__", None) or getattr(inner, "name", None)
    if not isinstance(name, str) or not name:
        name = snake_case(type(inner).__name__)
    return "reward" if name == "<lambda>" else name


def snake_case(name: str) -> str:
    """Return a class's name as a component's.

    >>> snake_case("RewardModel"), snake_case("NGramReward"), snake_case("HTTPJudge")
    ('reward_model', 'n_gram_reward', 'http_judge')
    """
    return _WORD_START.sub("_", name).lower()


def is_coroutine_function(function: Any) -> bool:
    """Return whether calling `function` gives a coroutine."""
    if inspect.isroutine(function) or isinstance(function, functools.partial):
        return inspect.iscoroutinefunction(function)
    return inspect.iscoroutinefunction(type(function).__call__)
