"""One writer: a lock that the system releases when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["RunError", "hold_lock"]


class RunError(ValueError):
    """A run directory cannot be used as was asked: in use, of another config, not there."""


@contextmanager
def hold_lock(path: Path, *, is_waiting: bool = False) -> Iterator[None]:
    """Hold an exclusive lock on a file; the system releases it when the process ends, however.

    Args:
        path: created where it is missing; holds the process id of its holder.
        is_waiting: wait for another holder instead of refusing.

    Raises:
        RunError: another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(
                descriptor, fcntl.LOCK_EX | (0 if is_waiting else fcntl.LOCK_NB)
            )
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            raise RunError(
                f"{path.parent} is in use: process {holder or 'unknown'} holds {path.name}. Wait "
                "for it, stop it, or choose another run."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
    finally:
        os.close(descriptor)
