"""The processes that train together, and how this one joins them."""

from __future__ import annotations

import os

import torch
from torch.distributed import HashStore  # type: ignore[attr-defined]

__all__ = ["agree", "barrier", "join", "local_rank", "num_processes", "rank"]

# What torchrun and the deepspeed launcher set beside WORLD_SIZE.
_LAUNCHED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def num_processes() -> int:
    """Return how many processes train together; 1 without a launcher."""
    if torch.distributed.is_initialized():
        return torch.distributed.get_world_size()
    return _number("WORLD_SIZE", 1)


def rank() -> int:
    """Return which of them this is, from 0; the first one writes files and reports."""
    if torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    return _number("RANK", 0) if num_processes() > 1 else 0


def local_rank() -> int:
    """Return which process of this machine this is, and so which device is its own."""
    return _number("LOCAL_RANK", 0) if num_processes() > 1 else 0


def join(backend: str) -> None:
    """Join the group of all launched processes, or one of this process alone.

    Alone it takes no launcher, no address and no port.

    Args:
        backend: of torch.distributed, "gloo" or "nccl".

    Raises:
        ValueError: WORLD_SIZE promises several processes and the launcher's other variables are
            not there; they are named.
    """
    if torch.distributed.is_initialized():
        return
    if num_processes() == 1:
        torch.distributed.init_process_group(
            backend=backend, store=HashStore(), rank=0, world_size=1
        )
        return
    missing = [name for name in _LAUNCHED if name not in os.environ]
    if missing:
        raise ValueError(
            f"WORLD_SIZE is {num_processes()} but {', '.join(missing)} are not set. Start with "
            "torchrun --nproc-per-node N (or the deepspeed launcher), which sets them all, or "
            "unset WORLD_SIZE to train in one process."
        )
    torch.distributed.init_process_group(backend=backend, init_method="env://")


def barrier() -> None:
    """Wait until every process is here; nothing where there is one."""
    if torch.distributed.is_initialized() and num_processes() > 1:
        torch.distributed.barrier()


def agree(error: Exception | None) -> None:
    """Raise `error`, or say that another process had one: nobody goes on alone.

    A process that raised while the others waited in a collective would leave them waiting.

    Raises:
        Exception: `error` itself.
        RuntimeError: another process had an error; its own traceback says which.
    """
    num_failed = 0 if error is None else 1
    if torch.distributed.is_initialized() and num_processes() > 1:
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        count = torch.tensor(num_failed, device=device)
        torch.distributed.all_reduce(count)
        num_failed = int(count)
    if error is not None:
        raise error
    if num_failed:
        raise RuntimeError(
            f"{num_failed} of {num_processes()} processes failed; theirs is the traceback to "
            "read. Nothing was changed here."
        )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise ValueError(
            f"The environment variable {name} is {text!r}, expected a number; a launcher "
            "(torchrun, deepspeed) sets it."
        )
    return int(text)
