"""Optional packages: reached by name when they are first needed, and missed with an instruction."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["load_module", "missing_package"]


def load_module(name: str, *, need: str, extra: str) -> Any:
    """Return the module `name` of an optional package.

    Args:
        name: what is imported; a submodule will do.
        need: who needs it, the beginning of the error.
        extra: the extra of chat-envs that installs it.

    Raises:
        ImportError: if it is not installed; says how to install it.

    >>> load_module("no_such_package", need="This needs a package", extra="trl")
    Traceback (most recent call last):
    ImportError: This needs a package: pip install 'chat-envs[trl]'
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not error.name or not f"{name}.".startswith(f"{error.name}."):
            raise  # it is here, and lacks something of its own
        raise missing_package(need, extra) from error


def missing_package(need: str, extra: str) -> ImportError:
    """Return the error that says which extra to install."""
    return ImportError(f"{need}: pip install 'chat-envs[{extra}]'")
