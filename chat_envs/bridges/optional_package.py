"""Packages that a bridge leads to: reached by name when they are first needed."""

from __future__ import annotations

import difflib
from typing import Any, Iterable

from chat_envs.optional_package import load_module

__all__ = ["load_package", "nearest"]


def load_package(name: str, *, extra: str) -> Any:
    """Return the package `name`.

    Args:
        name: what is imported; a submodule will do.
        extra: the extra of chat-envs that installs it.

    Raises:
        ImportError: if it is not installed; says how to install it.

    >>> load_package("no_such_package", extra="trl")
    Traceback (most recent call last):
    ImportError: This needs the package 'no_such_package': pip install 'chat-envs[trl]'
    """
    return load_module(name, need=f"This needs the package {name!r}", extra=extra)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a question that names the nearest of a package's many names.

    >>> nearest("leg_count", ["chain_sum", "leg_counting"])
    " Did you mean 'leg_counting'?"
    """
    return "".join(
        f" Did you mean {other!r}?"
        for other in difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
    )
