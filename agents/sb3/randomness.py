"""Stable-Baselines3 draws from the global generators; here they are lent to it and given back."""

from __future__ import annotations

import contextlib
from typing import Iterator

import torch

from chat_envs.bridges.borrowed_randomness import BorrowedRandomness

__all__ = ["lent_randomness"]


@contextlib.contextmanager
def lent_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Return a block in which the generators of Python, NumPy and torch begin from `seed`.

    Outside of it they are as if nothing had been drawn.

    Args:
        seed: at least 0.
        device: whose generator of torch is lent beside the CPU's.

    >>> with lent_randomness(3, torch.device("cpu")):
    ...     one = torch.rand(())
    >>> with lent_randomness(3, torch.device("cpu")):
    ...     bool(one == torch.rand(()))
    True
    """
    cuda = [device] if device.type == "cuda" else []
    with BorrowedRandomness(seed).installed(), torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        yield
