"""One process a job: a lock that lives as long as the process that carries the job out.

The runner takes it and hands it to the process; the system releases it when both have let go,
however they end. So two runners can share a folder, and a job whose runner was killed is free.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

__all__ = ["JobLock"]


class JobLock:
    """An exclusive lock that is held (see `acquire`).

    Attributes:
        path: of the file; it is there while the lock is held.
        descriptor: to be inherited by the process that works.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor

    @classmethod
    def acquire(cls, path: Path) -> JobLock | None:
        """Return the lock; None where somebody holds it."""
        while True:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:
                continue  # another runner has removed the empty folder in between
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            if _is_of(descriptor, path):
                return cls(path, descriptor)
            # Whoever held it has removed the file in between: this one is nobody's.
            os.close(descriptor)

    def release(self) -> None:
        """Remove the file and let go; nobody that has inherited it may still work."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def _is_of(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
