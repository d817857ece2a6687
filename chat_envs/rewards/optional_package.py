"""Packages that single rewards need: reached by name when such a reward is first used."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

__all__ = ["load_module", "package_folder"]


def load_module(name: str, *, reward: str, extra: str) -> Any:
    """Return the module `name` of an optional package.

    Raises:
        ImportError: if it is not installed; says how to install it.

    >>> load_module("no_such_package", reward="similarity", extra="similarity")
    Traceback (most recent call last):
    ImportError: The reward 'similarity' needs a package: pip install 'chat-envs[similarity]'
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not error.name or not f"{name}.".startswith(f"{error.name}."):
            raise  # it is here, and lacks something of its own
        raise _missing(reward, extra) from error


def package_folder(name: str, *, reward: str, extra: str) -> Path:
    """Return where a package lies whose files are read and whose code is not run.

    Raises:
        ImportError: if it is not installed; says how to install it.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(reward, extra)
    return Path(spec.submodule_search_locations[0])


def _missing(reward: str, extra: str) -> ImportError:
    return ImportError(
        f"The reward {reward!r} needs a package: pip install 'chat-envs[{extra}]'"
    )
