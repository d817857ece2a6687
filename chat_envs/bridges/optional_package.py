"""Packages that a bridge leads to: reached by name when they are first needed."""

from __future__ import annotations

import difflib
import importlib
from typing import Any, Iterable

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
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
            raise  # it is here, and lacks something of its own
        raise ImportError(
            f"This needs the package {name!r}: pip install 'chat-envs[{extra}]'"
        ) from error


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a question that names the nearest of a package's many names.

    >>> nearest("leg_count", ["chain_sum", "leg_counting"])
    " Did you mean 'leg_counting'?"
    """
    return "".join(
        f" Did you mean {other!r}?"
        for other in difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
    )
