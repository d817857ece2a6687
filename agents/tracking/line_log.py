"""Logs of JSON lines that know where they stand, so that a resumed run can cut them back."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.checkpoint import DamagedFileError

__all__ = ["LineLog", "plain_json", "read_lines"]


class LineLog:
    """An append-only file of JSON lines that can be cut back to where it once stood.

    Args:
        path: of the file.
        mark: what `mark` returned when the state to go on from was saved; None begins afresh.

    Raises:
        DamagedFileError: the file is shorter than at the mark, or its bytes are others.
    """

    def __init__(self, path: Path, mark: Mapping[str, Any] | None = None) -> None:
        self.path = path
        size = 0 if mark is None else int(mark["bytes"])
        path.touch()
        self._file = path.open("r+b")
        kept = self._file.read(size)
        self._digest = hashlib.sha256(kept)
        if mark is not None and (
            len(kept) != size or self._digest.hexdigest() != mark["sha256"]
        ):
            self._file.close()
            raise DamagedFileError(
                f"{path} is damaged: its first {size} bytes are not those written before the "
                "checkpoint. Restore it, or begin a new run."
            )
        self._size = size
        self._file.seek(size)
        self._file.truncate()

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line; a number that JSON lacks (NaN, infinity) is written as null."""
        text = json.dumps(plain_json(record), allow_nan=False, separators=(", ", ": "))
        line = text.encode("utf-8") + b"\n"
        self._file.write(line)
        self._file.flush()
        self._digest.update(line)
        self._size += len(line)

    def mark(self) -> dict[str, Any]:
        """Put everything on the disk and return where the file stands."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return {"bytes": self._size, "sha256": self._digest.hexdigest()}

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a log; a last line that a kill cut short is left out.

    Raises:
        DamagedFileError: another line is no JSON object; the message names file and line.
    """
    if not path.is_file():
        raise DamagedFileError(f"{path} is missing.")
    lines = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            record = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise DamagedFileError(f"{path}:{number} is damaged: {error}.") from error
        if not isinstance(record, dict):
            raise DamagedFileError(f"{path}:{number} is damaged: it holds no object.")
        records.append(record)
    return records


def plain_json(value: Any) -> Any:
    """Return `value` as JSON has it: tuples as lists, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(name): plain_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
