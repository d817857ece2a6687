"""Prompts of one's own: a file of JSON lines, or a directory that `datasets` saved.

A line is an object whose field "prompt" is a text or, as trainers of dialogue write it, a list of
messages `{"role": ..., "content": ...}` of which the last is the user's. A line that is anything
else is broken: it stops the reading or is skipped, and is named by its file and number either way.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chat_envs.message import Message, Role, user
from chat_envs.record_file import (
    ON_BROKEN,
    as_messages,
    as_object,
    read_records,
    report_broken,
)

__all__ = ["Prompt", "read_prompts"]

_HELD_OUT = 10  # the last of every ten prompts is of the test split


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the agent reads before its reply.

    Attributes:
        messages: the dialogue so far; the last one is the user's.
        source: where it stands, "file:line".
    """

    messages: tuple[Message, ...]
    source: str


def read_prompts(
    path: str, split: str, *, field: str = "prompt", on_broken: str = "stop"
) -> tuple[Prompt, ...]:
    """Return the prompts of one split, in their order.

    A directory with splits named "train" and "test" has its own; anything else is divided: the
    last of every ten prompts is of the test split. Fewer than ten are of both.

    Args:
        path: a file of JSON lines, UTF-8, or a directory that `datasets` saved.
        split: "train" or "test".
        field: name of the field that holds the prompt.
        on_broken: "stop" or "skip".

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        ImportError: if a directory is given and `datasets` is not installed.
        ValueError: if a line is broken and `on_broken` is "stop", or there is no prompt.
    """
    if on_broken not in ON_BROKEN:
        raise ValueError(f"on_broken must be one of {ON_BROKEN}, got {on_broken!r}.")
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(
            f"There are no prompts at {path!r}; give a file of JSON lines or a directory that "
            "`datasets` saved."
        )
    state = place.stat()
    return _read(
        str(place), (state.st_mtime_ns, state.st_size), split, field, on_broken
    )


@functools.lru_cache(8)  # the environments of a vector read one file once
def _read(
    path: str, state: tuple[int, int], split: str, field: str, on_broken: str
) -> tuple[Prompt, ...]:
    """Return the prompts; `state` changes when the file does."""
    rows, is_divided = read_records(path, split, [field])
    prompts = []
    for source, row in rows:
        try:
            prompts.append(Prompt(_as_messages(row, field), source))
        except (ValueError, RecursionError) as error:
            report_broken(source, str(error), on_broken)
    if not prompts:
        raise ValueError(f"{path} has no prompts.")
    if is_divided or len(prompts) < _HELD_OUT:
        return tuple(prompts)
    is_test = split == "test"
    return tuple(
        prompt
        for number, prompt in enumerate(prompts, 1)
        if (number % _HELD_OUT == 0) == is_test
    )


def _as_messages(row: Any, field: str) -> tuple[Message, ...]:
    """Return the messages of a line or row, or raise a `ValueError` that says what is wrong."""
    value = as_object(row)
    if field not in value:
        raise ValueError(f"the object has no field {field!r}, only {sorted(value)}.")
    prompt = value[field]
    if isinstance(prompt, str):
        if not prompt.strip():
            raise ValueError("the prompt is empty.")
        return (user(prompt),)
    messages = as_messages(prompt, "the prompt")
    if messages[-1].role is not Role.USER:
        raise ValueError("the last message of the prompt is not the user's.")
    return messages
