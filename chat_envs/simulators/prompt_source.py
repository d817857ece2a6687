"""Prompts of one's own: a file of JSON lines, or a directory that `datasets` saved.

A line is an object whose field "prompt" is a text or, as trainers of dialogue write it, a list of
messages `{"role": ..., "content": ...}` of which the last is the user's. A line that is anything
else is broken: it stops the reading or is skipped, and is named by its file and number either way.
"""

from __future__ import annotations

import functools
import importlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator

from chat_envs.message import Message, Role, user

__all__ = ["ON_BROKEN", "Prompt", "read_prompts", "report_broken"]

ON_BROKEN = ("stop", "skip")
"""What a broken line does: raise, or be left out with a warning in the log."""

_LOGGER = logging.getLogger(__name__)
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


def report_broken(source: str, problem: str, on_broken: str) -> None:
    """Raise, or log, that what stands at `source` is no prompt.

    Raises:
        ValueError: if `on_broken` is "stop".
    """
    if on_broken == "stop":
        raise ValueError(
            f"{source}: {problem} Mend it, or pass on_broken='skip' to leave such lines out."
        )
    _LOGGER.warning("%s: %s It is skipped.", source, problem)


@functools.lru_cache(8)  # the environments of a vector read one file once
def _read(
    path: str, state: tuple[int, int], split: str, field: str, on_broken: str
) -> tuple[Prompt, ...]:
    """Return the prompts; `state` changes when the file does."""
    if Path(path).is_dir():
        rows, is_divided = _dataset_rows(path, split, field)
    else:
        rows, is_divided = _json_rows(path), False
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


def _json_rows(path: str) -> Iterator[tuple[str, bytes]]:
    """Yield where a line stands, and the line; empty ones are left out."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                yield f"{path}:{number}", line


def _dataset_rows(
    path: str, split: str, field: str
) -> tuple[Iterator[tuple[str, Any]], bool]:
    """Return the rows of a saved dataset, and whether it was divided into splits itself."""
    try:
        # By name: `datasets` is no dependency of the suite and takes seconds to import.
        datasets = importlib.import_module("datasets")
    except ImportError as error:
        raise ImportError(
            f"{path} is a directory, which `datasets` reads, and that is not installed; "
            "run `pip install datasets`, or give a file of JSON lines."
        ) from error
    table = datasets.load_from_disk(path)
    is_divided = False
    if isinstance(table, dict):
        is_divided = {"train", "test"} <= table.keys()
        name = split if is_divided else "train"
        if name not in table:
            raise ValueError(
                f"{path} has the splits {sorted(table)}; one must be called 'train'."
            )
        table = table[name]
    if field not in table.column_names:
        raise ValueError(
            f"{path} has the columns {table.column_names}, not {field!r}; name one by "
            "prompt_field."
        )
    column = table.select_columns([field])
    return ((f"{path}:{n}", row) for n, row in enumerate(column, 1)), is_divided


def _as_messages(row: Any, field: str) -> tuple[Message, ...]:
    """Return the messages of a line or row, or raise a `ValueError` that says what is wrong."""
    value = _as_object(row)
    if field not in value:
        raise ValueError(f"the object has no field {field!r}, only {sorted(value)}.")
    prompt = value[field]
    if isinstance(prompt, str):
        if not prompt.strip():
            raise ValueError("the prompt is empty.")
        return (user(prompt),)
    if not isinstance(prompt, list) or not prompt:
        raise ValueError(
            f"the prompt is {prompt!r:.60}, expected a text or a list of messages."
        )
    messages = tuple(map(_as_message, prompt))
    if messages[-1].role is not Role.USER:
        raise ValueError("the last message of the prompt is not the user's.")
    return messages


def _as_object(row: Any) -> dict[str, Any]:
    value = row
    if isinstance(row, bytes):
        try:
            value = json.loads(row.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise ValueError("the line is not UTF-8.") from error
        except RecursionError as error:
            raise ValueError("the line is nested too deeply.") from error
        except ValueError as error:
            raise ValueError(f"the line is not JSON ({error}).") from error
    if not isinstance(value, dict):
        raise ValueError(f"the line is no JSON object but {value!r:.60}.")
    return value


def _as_message(value: Any) -> Message:
    roles = [role.value for role in Role]
    if (
        not isinstance(value, dict)
        or value.get("role") not in roles
        or not isinstance(value.get("content"), str)
    ):
        raise ValueError(
            f"{value!r:.60} is no message; expected a role of {roles} and a content."
        )
    return Message(Role(value["role"]), value["content"])
