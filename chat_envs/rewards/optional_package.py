"""Packages that single rewards need: reached by name when such a reward is first used."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from chat_envs import optional_package

__all__ = ["load_module", "package_folder"]

_NEED = "The reward {!r} needs a package"


def load_module(name: str, *, reward: str, extra: str) -> Any:
    """Return the module `name` of an optional package.

    Raises:
        ImportError: if it is not installed; says how to install it.

    >>> load_module("no_such_package", reward="similarity", extra="similarity")
    Traceback (most recent call last):
    ImportError: The reward 'similarity' needs a package: pip install 'chat-envs[similarity]'
    """
    need = _NEED.format(reward)
    return optional_package.load_module(name, need=need, extra=extra)


def package_folder(name: str, *, reward: str, extra: str) -> Path:
    """Return where a package lies whose files are read and whose code is not run.

    Raises:
        ImportError: if it is not installed; says how to install it.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise optional_package.missing_package(_NEED.format(reward), extra)
    return Path(spec.submodule_search_locations[0])
