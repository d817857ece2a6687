"""What a step leaves behind: a directory, and a record of its files and of what it was made from.

The record is written when every file is on the disk, so a step that was killed has none. Whoever
reads an artefact checks it first: each file has the size and the SHA-256 that the record says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.checkpoint import DamagedFileError, checksum, read_json, sync
from agents.tracking import machinery, replace_json

__all__ = [
    "Artefact",
    "check_artefact",
    "checksums",
    "note_artefact",
    "read_artefact",
    "record_path",
]

_FORMAT = 1
# A run's lock and its events say nothing of what it is.
_PASSED_OVER = ("lock", "tensorboard")


@dataclass(frozen=True)
class Artefact:
    """The record of a step.

    Attributes:
        step: its name.
        cause: all that the artefact depends on: settings, digests of the steps before, checksums
            of files from outside.
        files: path below the directory -> `bytes` and `sha256`.
        machinery: on which it was made (see `agents.tracking.machinery`); another one may give
            other numbers, and is no reason to make it again.
        figures: what the step measured.
        seconds: that it took; of a step that was killed and went on, the last part.
    """

    step: str
    cause: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    machinery: Mapping[str, Any]
    figures: Mapping[str, Any]
    seconds: float

    @property
    def digest(self) -> str:
        """The SHA-256 of all names and checksums: another one means another artefact."""
        text = json.dumps(self.files, sort_keys=True)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()


def record_path(root: Path, step: str) -> Path:
    """Return where the record of a step lies."""
    return root / "records" / f"{step}.json"


def note_artefact(
    root: Path,
    step: str,
    cause: Mapping[str, Any],
    figures: Mapping[str, Any],
    seconds: float,
) -> Artefact:
    """Put the artefact in `root/step` on the disk, then its record, and return that."""
    files = {}
    for path in _files(root / step):
        sync(path)
        name = path.relative_to(root / step).as_posix()
        files[name] = {"bytes": path.stat().st_size, "sha256": checksum(path)}
    artefact = Artefact(step, cause, files, machinery(), figures, seconds)
    path = record_path(root, step)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_json(path, {"format": _FORMAT, **asdict(artefact)})
    return artefact


def read_artefact(root: Path, step: str) -> Artefact | None:
    """Return the record of a step, None where it has not been finished.

    Raises:
        DamagedFileError: the record is none.
    """
    path = record_path(root, step)
    if not path.exists():
        return None
    record = read_json(path)
    if record.pop("format", None) != _FORMAT or record.get("step") != step:
        raise DamagedFileError(f"{path} is no record of the step {step!r}.")
    try:
        artefact = Artefact(**record)
    except TypeError as error:
        raise DamagedFileError(f"{path} is damaged: {error}.") from error
    for name in ("cause", "files", "machinery", "figures"):
        if not isinstance(getattr(artefact, name), dict):
            raise DamagedFileError(f"{path} is damaged: {name} is no object.")
    return artefact


def check_artefact(root: Path, artefact: Artefact) -> None:
    """Make sure that the files are those that were written.

    Raises:
        DamagedFileError: one is missing, longer, shorter or changed; the message names it.
    """
    for name, entry in artefact.files.items():
        path = root / artefact.step / name
        if not path.is_file():
            raise DamagedFileError(f"{path} is missing.")
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise DamagedFileError(
                f"{path} is {size} bytes long, but was {entry['bytes']} when written."
            )
        if checksum(path) != entry["sha256"]:
            raise DamagedFileError(
                f"{path} is damaged: its SHA-256 is not the one written."
            )


def checksums(path: Path) -> dict[str, str]:
    """Return the checksum of a file, or of each below a directory; empty where there is nothing."""
    if path.is_file():
        return {path.name: checksum(path)}
    return {p.relative_to(path).as_posix(): checksum(p) for p in _files(path)}


def _files(directory: Path) -> Iterator[Path]:
    """Yield the files below a directory in order, without hidden ones."""
    for path in sorted(directory.rglob("*")):
        parts = path.relative_to(directory).parts
        is_passed_over = any(p.startswith(".") or p in _PASSED_OVER for p in parts)
        if path.is_file() and not is_passed_over:
            yield path
