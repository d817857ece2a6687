"""Rewards by name: a registered id, an installed plugin, or `"package.module:name"`."""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from chat_envs.reward.builtin import BUILTIN
from chat_envs.spelling import nearest

__all__ = [
    "OWN_REWARD_IDS",
    "PROXY",
    "importable_path",
    "register_reward",
    "registered_rewards",
    "resolve_reward",
]

_GROUP = "chat_envs.rewards"
OWN_REWARD_IDS = ("task", "gold")
"""What names the environment's own reward: that which is meant, beside what is easy to measure."""

PROXY = "proxy:"
"""What a name begins with that stands for one of the environment's `proxies`."""

_TARGETS: dict[str, Any] = {}


def register_reward(name: str, target: Any) -> None:
    """Make `target` available as `reward=name`.

    Args:
        name: The id. `"task"` and `"gold"` are taken: they are the environment's own reward.
        target: A function, an object with `score(batch)`, or `"package.module:name"`, which is
            imported when it is first used.

    Raises:
        ValueError: If the id is taken by another target, or by a built-in reward, or is not
            usable as an id.
    """
    if not name or name in OWN_REWARD_IDS or ":" in name:
        raise ValueError(
            f"{name!r} cannot be a reward id: an id is not empty, has no ':' (which marks "
            "'package.module:name'), and is neither 'task' nor 'gold' (the environment's own "
            "reward)"
        )
    taken = _TARGETS.get(name, BUILTIN.get(name, target))
    if taken is not target and taken != target:
        raise ValueError(
            f"reward id {name!r} already stands for {taken!r}; choose another id"
        )
    _TARGETS[name] = target


def registered_rewards() -> list[str]:
    """Return every known id, sorted: `gold`, `task`, built-in and registered ones, plugins."""
    return sorted({*OWN_REWARD_IDS, *BUILTIN, *_TARGETS, *_plugins()})


def resolve_reward(name: str) -> Any:
    """Return the object that the id or `"package.module:name"` stands for.

    Raises:
        ValueError: If nothing has that name; the message names the nearest right one.
    """
    if name in _TARGETS:
        target = _TARGETS[name]
        return _import_target(target) if isinstance(target, str) else target
    if ":" in name:
        return _import_target(name)
    if name in BUILTIN:
        return _import_target(BUILTIN[name])
    plugins = _plugins()
    if name in plugins:
        return plugins[name].load()
    raise ValueError(
        f"no reward is called {name!r}.{nearest(name, registered_rewards())} Register it with "
        "chat_envs.reward.register_reward, or name a function as 'package.module:name'"
    )


def importable_path(target: Any) -> str:
    """Return the `"package.module:name"` under which another process finds `target`.

    Args:
        target: A name as `resolve_reward` takes it, or what a module has under a name.

    Raises:
        TypeError: If no module has it under a name: a lambda, a closure, an instance, or anything
            that is defined in the program that was started, which others cannot import.
    """
    if isinstance(target, str) and ":" not in target:
        target = _known(target)
    path = target if isinstance(target, str) else _path_of(target)
    if path and not path.startswith("__main__:") and "<" not in path:
        try:
            found = _import_target(path)
        except ValueError:
            if isinstance(target, str):
                raise
            found = None
        if isinstance(target, str) or found is target or _wraps(found, target):
            return path
    raise TypeError(
        f"reward {target!r} cannot be found by another process, which isolation='process' needs: "
        "put it in a module of its own (no lambda, no closure, no instance, not the script that "
        "is run) and name it as 'package.module:name'"
    )


def _known(name: str) -> Any:
    """Return what an id stands for, a path where it is one, without importing anything."""
    target = _TARGETS.get(name, BUILTIN.get(name))
    if target is None:
        plugin = _plugins().get(name)
        return f"{plugin.module}:{plugin.attr}" if plugin else resolve_reward(name)
    return target


def _path_of(target: Any) -> str:
    """Return where `target` says that it is from, "" where it does not."""
    module = getattr(target, "__module__", None)
    name = getattr(target, "__qualname__", None)
    return f"{module}:{name}" if module and name else ""


def _wraps(found: Any, target: Any) -> bool:
    """Whether the decorated function that a module has is `target`, undecorated."""
    return found is not None and getattr(found, "function", None) is target


def _plugins() -> dict[str, EntryPoint]:
    """Return the entry points that installed packages declare for rewards."""
    return {point.name: point for point in entry_points(group=_GROUP)}


def _import_target(path: str) -> Any:
    """Return the object at `"package.module:name"`; `name` may have dots."""
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise ValueError(f"{path!r} must have the form 'package.module:name'")
    try:
        target: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # An import that fails inside the reward's own module is the author's bug: show that.
        if not error.name or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(
            f"reward {path!r}: no module named {error.name!r}; is it installed, or its folder "
            "on sys.path?"
        ) from error
    for part in attribute.split("."):
        if not hasattr(target, part):
            raise ValueError(
                f"reward {path!r}: {module_name} has no {attribute!r}."
                f"{nearest(part, [n for n in dir(target) if not n.startswith('_')])}"
            )
        target = getattr(target, part)
    return target
