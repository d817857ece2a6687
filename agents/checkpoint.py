"""Checkpoints: written aside, synced and renamed, so that a whole one survives any kill.

`checkpoints/step_N/` holds the files of the language model, `state.json` and `manifest.json`, which
names every file with its size and SHA-256. A file is opened by a reader only after its first bytes
and its checksum were found right: nothing that is not safetensors or JSON is ever parsed.

An update of the run happens in this order, and a kill between any two steps leaves the newest whole
checkpoint in place:

    old remains are cleared -> files written aside -> each synced -> manifest -> directory synced
    -> renamed to step_N -> parent synced -> older checkpoints removed
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.engine import process_group

__all__ = [
    "Checkpoint",
    "DamagedFileError",
    "checksum",
    "newest_checkpoint",
    "read_checkpoint",
    "read_json",
    "save_checkpoint",
    "sync",
    "write_json",
]

FORMAT = 1
MANIFEST = "manifest.json"
STATE = "state.json"
_STEP = re.compile(r"step_(0|[1-9]\d*)")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.(?:json|safetensors)")
# Hidden names: `newest_checkpoint` never looks at them, the next save removes them.
_ASIDE, _REMOVED = ".writing", ".removed"
_BLOCK = 1 << 20
_MAX_JSON_BYTES = 16 << 20
_PICKLE = b"\x80"  # begins every pickle since protocol 2

Step = Callable[[str], None]  # told what a save has just done; tests kill there


class DamagedFileError(ValueError):
    """A file of a run is not whole, or of a kind that is never read; the message names it."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose every byte is the one that was written.

    Attributes:
        directory: holds the files of `LanguageModel.save`.
        step: updates that had been made.
        state: what was passed to `save_checkpoint`.
    """

    directory: Path
    step: int
    state: Mapping[str, Any]


def save_checkpoint(
    root: Path,
    step: int,
    write: Callable[[Path], object],
    state: Mapping[str, Any],
    *,
    num_kept: int = 2,
    at: Step = lambda point: None,
) -> Path:
    """Write `root/step_N` and return it; the caller is the only writer of `root`.

    Of several processes that train together all call this, and the first one writes; the others
    take part in `write` (weights may be sharded) and wait until the checkpoint is there.

    Args:
        root: directory of a run's checkpoints; created where it is missing.
        step: N, at least 0. A checkpoint of the same step is replaced.
        write: writes its files (`.safetensors`, `.json`) into the directory that it is given.
        state: JSON-able.
        num_kept: newest checkpoints that stay, this one among them; at least 1. Later ones are
            of a future that a resumed run has left, and go.
        at: called after each thing done, with its name.

    Raises:
        ValueError: a number out of range, or `write` left something that is never read.
    """
    if step < 0 or num_kept < 1:
        raise ValueError(
            f"step must be at least 0 and num_kept at least 1, got {step} and {num_kept}."
        )
    aside, target = root / _ASIDE, root / f"step_{step}"
    if process_group.rank() > 0:
        write(aside)
        process_group.barrier()
        return target
    root.mkdir(parents=True, exist_ok=True)
    _clear(root)
    at("cleared")
    _fill(aside, step, write, state, at)
    if target.exists():  # damaged, or the same numbers once more
        target.rename(root / f"{_REMOVED}_{step}")
        at("old one moved")
    aside.rename(target)
    at("renamed")
    sync(root)
    at("published")
    _prune(root, step, num_kept)
    at("pruned")
    process_group.barrier()
    return target


def _fill(
    aside: Path,
    step: int,
    write: Callable[[Path], object],
    state: Mapping[str, Any],
    at: Step,
) -> None:
    """Write all files of a checkpoint, the manifest last, and wait until the disk has them."""
    aside.mkdir()
    write(aside)
    at("model written")
    write_json(aside / STATE, state)
    at("state written")
    files = {}
    for path in sorted(aside.iterdir()):
        _check_name(path)
        sync(path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": checksum(path)}
        at(f"{path.name} synced")
    write_json(aside / MANIFEST, {"format": FORMAT, "step": step, "files": files})
    at("manifest written")
    sync(aside)


def newest_checkpoint(root: Path) -> tuple[Checkpoint | None, tuple[str, ...]]:
    """Return the newest whole checkpoint below `root`, and why each newer one was skipped."""
    skipped: list[str] = []
    for _, directory in sorted(_steps(root).items(), reverse=True):
        try:
            return read_checkpoint(directory), tuple(skipped)
        except DamagedFileError as error:
            skipped.append(str(error))
    return None, tuple(skipped)


def read_checkpoint(directory: Path) -> Checkpoint:
    """Return the checkpoint in `directory` after checking every file against the manifest.

    Raises:
        DamagedFileError: a file is missing, changed, or neither safetensors nor JSON.
    """
    path = directory / MANIFEST
    manifest = read_json(path)
    if manifest.get("format") != FORMAT:
        raise DamagedFileError(
            f"{path} has format {manifest.get('format')!r}; this version reads {FORMAT}."
        )
    files, step = manifest.get("files"), manifest.get("step")
    if not isinstance(files, dict) or STATE not in files or not isinstance(step, int):
        raise DamagedFileError(f"{path} does not list the files of a checkpoint.")
    if directory.name != f"step_{step}":
        raise DamagedFileError(f"{path} is of step {step}, not of {directory.name}.")
    for name, entry in files.items():
        _check_file(directory / name, entry, path)
    return Checkpoint(directory, step, read_json(directory / STATE))


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, which is not parsed unless it begins like one.

    Raises:
        DamagedFileError: it is missing or no JSON object; the message names it.
    """
    if not path.is_file():
        raise DamagedFileError(f"{path} is missing.")
    _check_head(path)
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise DamagedFileError(
            f"{path} is {path.stat().st_size} bytes: too long for JSON."
        )
    try:
        record = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError too
        raise DamagedFileError(
            f"{path} is damaged: it is not JSON ({error})."
        ) from error
    if not isinstance(record, dict):
        raise DamagedFileError(f"{path} holds a {type(record).__name__}, no object.")
    return record


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON object and sync it; NaN and infinity, which JSON lacks, are refused."""
    text = json.dumps(record, indent=2, sort_keys=True, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    sync(path)


def sync(path: Path) -> None:
    """Return when the file's content, or the directory's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _steps(root: Path) -> dict[int, Path]:
    """Return the checkpoint directories by step, whole or not."""
    if not root.is_dir():
        return {}
    matches = ((_STEP.fullmatch(path.name), path) for path in root.iterdir())
    return {int(match[1]): path for match, path in matches if match and path.is_dir()}


def _prune(root: Path, step: int, num_kept: int) -> None:
    """Remove all but the `num_kept` newest up to `step`; never a half of a directory in view."""
    steps = _steps(root)
    kept = sorted(number for number in steps if number <= step)[-num_kept:]
    for number in sorted(steps.keys() - set(kept)):
        steps[number].rename(root / f"{_REMOVED}_{number}")
    _clear(root)


def _clear(root: Path) -> None:
    """Remove what a killed save left aside, and what was taken out of view."""
    for path in [root / _ASIDE, *root.glob(f"{_REMOVED}_*")]:
        if path.exists():
            shutil.rmtree(path)


def _check_name(path: Path) -> None:
    if path.is_symlink() or not path.is_file() or not _NAME.fullmatch(path.name):
        raise DamagedFileError(
            f"{path} does not belong into a checkpoint: it holds plain files ending in "
            ".safetensors or .json alone."
        )


def _check_file(path: Path, entry: Any, manifest: Path) -> None:
    """Raise unless the file at `path` is the one that the manifest lists."""
    if not _NAME.fullmatch(path.name) or path.parent != manifest.parent:
        raise DamagedFileError(f"{manifest} lists {str(path)!r}, which is never read.")
    if not path.is_file():
        raise DamagedFileError(f"{path} is missing.")
    _check_name(path)
    _check_head(path)
    size = path.stat().st_size
    if not isinstance(entry, dict) or size != entry.get("bytes"):
        expected = entry.get("bytes") if isinstance(entry, dict) else entry
        raise DamagedFileError(
            f"{path} is {size} bytes long, but was {expected} when written."
        )
    if checksum(path) != entry.get("sha256"):
        raise DamagedFileError(
            f"{path} is damaged: its SHA-256 is not the one written."
        )


def _check_head(path: Path) -> None:
    """Raise unless the first bytes are those of the kind that the name promises."""
    with path.open("rb") as file:
        head = file.read(9)
    if path.suffix == ".safetensors":
        # Eight bytes of header length, little-endian, then the header: a JSON object.
        header = int.from_bytes(head[:8], "little")
        is_right = head[8:] == b"{" and header <= path.stat().st_size - 8
    else:
        is_right = head[:1] == b"{"
    if not is_right:
        what = (
            "a pickle" if head.startswith(_PICKLE) else "something else, or cut short"
        )
        raise DamagedFileError(
            f"{path} is refused unread: it is not {path.suffix[1:]} but {what} (it begins with "
            f"{head.hex(' ') or 'nothing'})."
        )
