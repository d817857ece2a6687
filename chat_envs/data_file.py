"""The JSON files that ship with the suite, in `chat_envs/data`."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any, Mapping

__all__ = ["load_json"]


@functools.cache
def load_json(name: str) -> Mapping[str, Any]:
    """Return what the data file `name` holds: one object for all who ask, so nobody changes it.

    Ask by a name that is written out: `chat_envs.fingerprint` reads it in the source.

    >>> load_json("objects.json")["licence"]
    'Apache-2.0'
    """
    path = resources.files("chat_envs").joinpath("data", name)
    data: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data
