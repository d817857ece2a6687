"""Rewards by name: a registered id, an installed plugin, or `"package.module:name"`."""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from chat_envs.spelling import nearest

__all__ = [
    "OWN_REWARD_IDS",
    "PROXY",
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
        ValueError: If the id is taken by another target or is not usable as an id.
    """
    if not name or name in OWN_REWARD_IDS or ":" in name:
        raise ValueError(
            f"{name!r} cannot be a reward id: an id is not empty, has no ':' (which marks "
            "'package.module:name'), and is neither 'task' nor 'gold' (the environment's own "
            "reward)"
        )
    if name in _TARGETS and _TARGETS[name] is not target and _TARGETS[name] != target:
        raise ValueError(
            f"reward id {name!r} already stands for {_TARGETS[name]!r}; choose another id"
        )
    _TARGETS[name] = target


def registered_rewards() -> list[str]:
    """Return every known id, sorted: `gold`, `task`, registered ones and installed plugins."""
    return sorted({*OWN_REWARD_IDS, *_TARGETS, *_plugins()})


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
    plugins = _plugins()
    if name in plugins:
        return plugins[name].load()
    raise ValueError(
        f"no reward is called {name!r}.{nearest(name, registered_rewards())} Register it with "
        "chat_envs.reward.register_reward, or name a function as 'package.module:name'"
    )


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
