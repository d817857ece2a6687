"""An id that exists for the length of a block."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator

import gymnasium

from chat_envs import registration

__all__ = ["registered"]


@contextmanager
def registered(
    id: str = "toy/SayIt-v0",
    entry_point: str = "tests.chat_envs.toy:SayIt",
    **kwargs: Any,
) -> Iterator[str]:
    """Register an id, and take it away again, so that no other test meets it."""
    registration.register(id, entry_point, kwargs=kwargs)
    try:
        yield id
    finally:
        del gymnasium.registry[id]
        del registration._registrations[id]
