"""Say the arguments."""

from __future__ import annotations

from typing import Sequence

__all__ = ["fail", "run", "stop"]


def run(argv: Sequence[str]) -> int:
    """Print the arguments."""
    print(list(argv))
    return 0


def fail(argv: Sequence[str]) -> int:
    """Find something wrong."""
    return 1


def stop(argv: Sequence[str]) -> int:
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt
