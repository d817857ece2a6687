"""What is checked: something that makes the environment afresh, as often as a check needs it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Callable

import gymnasium

from chat_envs.core import ChatEnv
from chat_envs.registration import find

__all__ = ["Subject", "make_subject", "require"]


@dataclass(frozen=True, slots=True)
class Subject:
    """An environment under test.

    Attributes:
        name: Its id or class name, for messages.
        make: Makes a fresh, unwrapped environment from further keywords.
        env_id: Its registered id, or None.
        num_episodes: How many episodes a statistical check plays.
    """

    name: str
    make: Callable[..., ChatEnv]
    env_id: str | None
    num_episodes: int


def require(condition: bool, message: str) -> None:
    """Raise an `AssertionError` with `message` unless the clause holds."""
    if not condition:
        raise AssertionError(message)


def make_subject(target: Any, num_episodes: int) -> Subject:
    """Return the subject that `target` means.

    Args:
        target: A registered id; a `ChatEnv` class or another callable that makes one; or an
            environment from `gymnasium.make`, which is made again from its spec.
        num_episodes: Episodes of a statistical check, at least 2.
    """
    if num_episodes < 2:
        raise ValueError(f"num_episodes must be at least 2, got {num_episodes}")
    if isinstance(target, str):
        registration = find(target)
        make = functools.partial(registration.load(), **registration.kwargs)
        return Subject(registration.id, make, registration.id, num_episodes)
    if isinstance(target, gymnasium.Env):
        spec = target.spec
        if spec is None:
            raise TypeError(
                f"this {type(target.unwrapped).__name__} was not made by gymnasium.make, so no "
                "second one can be made; pass its class, its id or a function that makes it"
            )
        kwargs = {k: v for k, v in spec.kwargs.items() if k != "render_mode"}
        make = functools.partial(find(spec.id).load(), **kwargs)
        return Subject(spec.id, make, spec.id, num_episodes)
    if not callable(target):
        raise TypeError(
            f"cannot check {target!r} of type {type(target).__name__}; pass an id, a ChatEnv "
            "class, a function that makes one, or an environment from gymnasium.make"
        )
    name = str(getattr(target, "__name__", type(target).__name__))
    return Subject(name, target, None, num_episodes)
