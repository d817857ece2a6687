"""Ways in which a file on a disk goes bad, by accident and by malice."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path


class _Payload:
    """Unpickled, it creates a file: the proof that a pickle was read."""

    def __init__(self, proof: Path) -> None:
        self._proof = proof

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self._proof,))


def malicious_pickle(proof: Path) -> bytes:
    """Return bytes that create `proof` when they are unpickled."""
    return pickle.dumps(_Payload(proof))


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.write_bytes(bytes(data))


def remove(path: Path) -> None:
    path.unlink()


ACCIDENTS: dict[str, Callable[[Path], None]] = {
    "truncated": truncate,
    "emptied": empty,
    "flipped": flip,
    "removed": remove,
}
