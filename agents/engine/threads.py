"""How many threads torch uses, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["use_threads"]


@contextmanager
def use_threads(num_threads: int | None) -> Iterator[None]:
    """Let torch use so many threads inside the block; None changes nothing.

    They are part of a run: another number adds in another order, and so gives other last bits.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if num_threads is None else num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
