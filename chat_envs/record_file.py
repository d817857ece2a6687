"""Files of records: JSON lines, or a directory that `datasets` saved; broken ones are named.

Prompts, preference pairs, dialogues of one's own and recorded episodes are all read through here,
so that a broken line is named by its file and number everywhere, and stops the reading or is
skipped as its reader was told to.
"""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chat_envs.message import Message, Role

__all__ = [
    "ON_BROKEN",
    "as_messages",
    "as_object",
    "read_lines",
    "read_records",
    "report_broken",
]

ON_BROKEN = ("stop", "skip")
"""What a broken record does: raise, or be left out with a warning in the log."""

_LOGGER = logging.getLogger(__name__)


def read_records(
    path: str | Path, split: str, fields: Sequence[str]
) -> tuple[Iterator[tuple[str, Any]], bool]:
    """Return where each record stands ("file:line") with the record as it lies there.

    Args:
        path: a file of JSON lines, UTF-8, or a directory that `datasets` saved.
        split: which one of a directory's; without a split "test", all is "train".
        fields: columns of a directory that are read, all if empty; a file's lines come whole.

    Returns:
        The records, for `as_object`, and whether `path` was divided into "train" and "test"
        already. Empty lines are left out.

    Raises:
        FileNotFoundError: if there is nothing at `path`.
        ImportError: if a directory is given and `datasets` is not installed.
        ValueError: if a directory has no such split or field.
    """
    place = Path(path)
    if place.is_dir():
        return _dataset_rows(str(path), split, fields)
    if not place.exists():
        raise FileNotFoundError(
            f"There is no {str(path)!r}; give a file of JSON lines or a directory that `datasets` "
            "saved."
        )
    return read_lines(path), False


def read_lines(path: str | Path) -> Iterator[tuple[str, bytes]]:
    """Yield where each line of a file stands ("file:line"), and the line; empty ones are left out.

    A line ends with a line feed alone: a text in it may hold any other end of a line.
    """
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                yield f"{path}:{number}", line


def report_broken(source: str, problem: str, on_broken: str) -> None:
    """Raise, or log, that what stands at `source` is no record of the kind that was asked for.

    Raises:
        ValueError: if `on_broken` is "stop".
    """
    if on_broken == "stop":
        raise ValueError(
            f"{source}: {problem} Mend it, or pass on_broken='skip' to leave such lines out."
        )
    _LOGGER.warning("%s: %s It is skipped.", source, problem)


def as_object(row: Any) -> dict[str, Any]:
    """Return a record as an object, or raise a `ValueError` that says what is wrong.

    Args:
        row: a line, as bytes or text, or the object that it was read as.
    """
    value = row
    if isinstance(row, (bytes, str)):
        try:
            value = json.loads(row if isinstance(row, str) else row.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise ValueError("the line is not UTF-8.") from error
        except RecursionError as error:
            raise ValueError("the line is nested too deeply.") from error
        except ValueError as error:
            raise ValueError(f"the line is not JSON ({error}).") from error
    if not isinstance(value, dict):
        raise ValueError(f"the line is no JSON object but {value!r:.60}.")
    return value


def as_messages(value: Any, what: str) -> tuple[Message, ...]:
    """Return a list of `{"role", "content"}` objects as messages.

    Args:
        value: the list.
        what: the name of what it is, for errors: "the prompt".

    Raises:
        ValueError: if it is none, or is empty; the message says what is wrong.
    """
    if not isinstance(value, list) or not value:
        raise ValueError(
            f"{what} is {value!r:.60}, expected a text or a list of messages."
        )
    return tuple(map(_as_message, value))


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


def _dataset_rows(
    path: str, split: str, fields: Sequence[str]
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
    missing = [field for field in fields if field not in table.column_names]
    if missing:
        raise ValueError(
            f"{path} has the columns {table.column_names}, not {missing[0]!r}; name the right one."
        )
    rows = table.select_columns(list(fields)) if fields else table
    return ((f"{path}:{n}", row) for n, row in enumerate(rows, 1)), is_divided
