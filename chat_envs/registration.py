"""Which environments there are: id, entry points, keywords, tier and tags.

Registering names a class as a string, so that importing the suite imports no environment.
"""

from __future__ import annotations

import difflib
import importlib
import warnings
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Mapping

import gymnasium

from chat_envs.core import ChatEnv
from chat_envs.suite import FAMILIES

__all__ = ["Registration", "find", "register", "registrations"]

_PLUGIN_GROUP = "chat_envs.envs"
_TIERS = ("easy", "default", "hard")


@dataclass(frozen=True, kw_only=True)
class Registration:
    """One registered id.

    Attributes:
        id: Gymnasium's id, `namespace/Name[-tier]-vN`.
        entry_point: "module:Class"; the module exports `make_vector` too.
        kwargs: JSON-able keywords of the class.
        tier: "easy", "default" or "hard".
        tags: what it probes or where it belongs, e.g. "application", "game", "diagnostic".
        summary: one line for `chat-envs list`.
    """

    id: str
    entry_point: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    tier: str = "default"
    tags: tuple[str, ...] = ()
    summary: str = ""

    def __post_init__(self) -> None:
        if self.tier not in _TIERS:
            raise ValueError(f"tier must be one of {_TIERS}, got {self.tier!r}.")

    def load(self) -> type[ChatEnv]:
        """Return the environment's class."""
        module, _, name = self.entry_point.partition(":")
        env_class: type[ChatEnv] = getattr(importlib.import_module(module), name)
        return env_class


_registrations: dict[str, Registration] = {}


def register(
    id: str,
    entry_point: str,
    *,
    kwargs: Mapping[str, Any] | None = None,
    tier: str = "default",
    tags: tuple[str, ...] = (),
    summary: str = "",
) -> None:
    """Make an environment known to `gymnasium.make` and `gymnasium.make_vec`.

    Args:
        id: `namespace/Name[-tier]-vN`.
        entry_point: "module:Class" of a `ChatEnv`. The module must also have
            `make_vector = chat_envs.vector_entry_point(Class)`.
        kwargs: keywords of the class; JSON-able, so that the spec is.
        tier: "easy", "default" or "hard".
        tags: free words to select by.
        summary: one line.

    Raises:
        ValueError: if the entry point is no "module:Class", the tier is unknown, or the id is
            taken by another.
        gymnasium.error.Error: if the id is malformed.
    """
    module, colon, name = entry_point.partition(":")
    if not (module and colon and name):
        raise ValueError(f"entry_point must be 'module:Class', got {entry_point!r}.")
    registration = Registration(
        id=id,
        entry_point=entry_point,
        kwargs=dict(kwargs or {}),
        tier=tier,
        tags=tuple(tags),
        summary=summary,
    )
    known = _registrations.get(id)
    if known is not None and known != registration:
        raise ValueError(
            f"{id!r} is registered already, for {known.entry_point!r}; take another name, or a "
            "new version if the environment changed."
        )
    if id not in gymnasium.registry:
        gymnasium.register(
            id,
            entry_point=entry_point,
            vector_entry_point=f"{module}:make_vector",
            kwargs=dict(registration.kwargs),
        )
    elif (owner := gymnasium.registry[id].entry_point) != entry_point:
        raise ValueError(
            f"{id!r} is registered with Gymnasium already, for {owner!r}; take another name."
        )
    _registrations[id] = registration


def registrations(tag: str | None = None) -> list[Registration]:
    """Return all registrations, only those with `tag` if given, in the order of the table."""
    return [r for r in _registrations.values() if tag is None or tag in r.tags]


def find(id: str) -> Registration:
    """Return the registration of `id`; the namespace `chat_envs/` may be left out.

    Raises:
        ValueError: if there is none, naming the nearest.
    """
    for name in (id, f"chat_envs/{id}"):
        if name in _registrations:
            return _registrations[name]
    short = {name.partition("/")[2].lower(): name for name in _registrations}
    near = difflib.get_close_matches(
        id.rpartition("/")[2].lower(), short, n=1, cutoff=0.0
    )
    hint = f" Did you mean {short[near[0]]!r}?" if near else ""
    raise ValueError(
        f"There is no environment {id!r}.{hint} `chat-envs list` shows all."
    )


def register_builtin() -> None:
    """Register the suite's own environments and those of installed plugins."""
    for family in FAMILIES:
        for tier, summary in family.summaries.items():
            register(
                family.id(tier),
                family.entry_point,
                kwargs=family.kwargs(tier),
                tier=tier,
                tags=family.tags,
                summary=summary,
            )
    for plugin in metadata.entry_points(group=_PLUGIN_GROUP):
        try:
            plugin.load()()
        except (
            Exception
        ) as error:  # a broken plugin must not take the suite down with it
            warnings.warn(
                f"The environments of the plugin {plugin.name!r} ({plugin.value}) are missing: "
                f"{type(error).__name__}: {error}",
                stacklevel=2,
            )
