"""The processes that train together, and how this one joins them."""

from __future__ import annotations

import os

import torch
from torch.distributed import HashStore  # type: ignore[attr-defined]

__all__ = [
    "OtherProcessError",
    "add_up",
    "agree",
    "barrier",
    "gather",
    "is_same",
    "join",
    "local_rank",
    "num_processes",
    "place",
    "rank",
]

# What torchrun and the deepspeed launcher set beside WORLD_SIZE.
_LAUNCHED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


class OtherProcessError(RuntimeError):
    """Another process has an error, so this one cannot go on either."""


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


def place() -> tuple[int, int]:
    """Return the rank among the processes that have joined, and how many: (0, 1) before `join`."""
    if not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


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
    if place()[1] > 1:
        torch.distributed.barrier()


def gather(message: bytes) -> list[bytes]:
    """Return the message of every process, in the order of their ranks, in every process."""
    size = place()[1]
    if size == 1:
        return [message]
    device = _device()
    lengths = [torch.zeros((), dtype=torch.int64, device=device) for _ in range(size)]
    torch.distributed.all_gather(lengths, torch.tensor(len(message), device=device))
    longest = max(int(length) for length in lengths)
    padded = bytearray(message).ljust(max(longest, 1), b"\0")
    own = torch.frombuffer(padded, dtype=torch.uint8).to(device)
    parts = [torch.empty_like(own) for _ in range(size)]
    torch.distributed.all_gather(parts, own)
    return [
        part[: int(length)].cpu().numpy().tobytes()
        for part, length in zip(parts, lengths, strict=True)
    ]


def add_up(tensor: torch.Tensor) -> None:
    """Replace `tensor` by its sum over the processes, the same bits in each of them."""
    if place()[1] > 1:
        torch.distributed.all_reduce(tensor)


def is_same(text: str) -> bool:
    """Return, in every process alike, whether all have the same text."""
    return len(set(gather(text.encode("utf-8")))) == 1


def agree(error: Exception | None) -> None:
    """Raise `error`, or say that another process had one: nobody goes on alone.

    A process that raised while the others waited in a collective would leave them waiting.

    Raises:
        Exception: `error` itself.
        OtherProcessError: another process had an error; its own message says which.
    """
    count = torch.tensor(0 if error is None else 1, device=_device())
    add_up(count)
    if error is not None:
        raise error
    if count:
        raise OtherProcessError(
            f"{int(count)} of {num_processes()} processes failed; theirs is the message to read. "
            "Nothing was changed here."
        )


def _device() -> torch.device:
    """Return where tensors must lie that processes exchange."""
    is_nccl = (
        torch.distributed.is_initialized() and torch.distributed.get_backend() == "nccl"
    )
    return torch.device("cuda", local_rank()) if is_nccl else torch.device("cpu")


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise ValueError(
            f"The environment variable {name} is {text!r}, expected a number; a launcher "
            "(torchrun, deepspeed) sets it."
        )
    return int(text)
