"""Stable-Baselines3 draws from the global generators; here they are lent to it and given back."""

from __future__ import annotations

import contextlib
from typing import Iterator

import torch
from torch.backends import cudnn

from chat_envs.bridges.borrowed_randomness import BorrowedRandomness

__all__ = ["lent_randomness"]


@contextlib.contextmanager
def lent_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """Return a block in which the generators of Python, NumPy and torch begin from `seed`.

    Outside of it they are as if nothing had been drawn.

    Args:
        seed: at least 0.
        device: where the network is.

    >>> with lent_randomness(3, torch.device("cpu")):
    ...     one = torch.rand(())
    >>> with lent_randomness(3, torch.device("cpu")):
    ...     bool(one == torch.rand(()))
    True
    """
    # A seed is set on all devices at once, so all are lent; those not in use yet have no state.
    in_use: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    is_on_cuda = device.type == "cuda" or in_use
    devices = list(range(torch.cuda.device_count())) if is_on_cuda else []
    # Stable-Baselines3 sets these two beside the seed on CUDA.
    flags = cudnn.deterministic, cudnn.benchmark
    with BorrowedRandomness(seed).installed(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        try:
            yield
        finally:
            cudnn.deterministic, cudnn.benchmark = flags
