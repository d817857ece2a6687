"""What each of several processes runs in `test_process_group`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from agents.engine import process_group
from agents.experience.tally import Tally


def outcome(act: Callable[[], None]) -> str:
    """Return the type and the text of what `act` raises."""
    try:
        act()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def run(out: Path) -> None:
    """Report what this process gets from what all of them give."""
    report: dict[str, Any] = {"early": process_group.place()}
    process_group.join("gloo")
    rank, size = process_group.place()
    report["place"] = rank, size
    messages = {
        "of different lengths": b"\x00\xff\x00" if rank else bytes(range(200)) * 40,
        "one empty": b"" if rank else b"not empty\x00",
        "all empty": b"",
    }
    report["gathered"] = {
        name: [part.hex() for part in process_group.gather(message)]
        for name, message in messages.items()
    }
    tensor = torch.tensor([[0.1, 2.0], [float(rank), torch.nan if rank else 0.0]])
    process_group.add_up(tensor)
    report["sum"] = tensor.tolist()
    report["same"] = [
        process_group.is_same("one text"),
        process_group.is_same(f"text {rank}"),
        process_group.is_same("a" * (rank + 1)),
        process_group.is_same(""),
    ]
    failure = FileNotFoundError("mine") if rank == 1 else None
    report["agreed"] = outcome(lambda: process_group.agree(failure))
    report["both"] = outcome(lambda: process_group.agree(ValueError(str(rank))))
    report["none"] = outcome(lambda: process_group.agree(None))
    report["tally"] = tally_of(rank).over_processes().result()
    # Whoever passes the barrier finds what the others wrote before it.
    (out / f"here{rank}").touch()
    process_group.barrier()
    report["seen"] = sorted(path.name for path in out.glob("here*"))
    (out / f"rank{rank}.json").write_text(json.dumps(report))


def tally_of(rank: int) -> Tally:
    """Return what this process has measured; some of it nobody else has."""
    tally = Tally()
    values = torch.full((rank + 1,), 10.0 * rank)
    tally.add("mean", values, torch.ones_like(values).bool())
    tally.add_max("largest", torch.tensor([3.0 - rank]), torch.tensor([True]))
    tally.add_total("total", 1 + rank)
    tally.add_total(f"only {rank}", 5)
    return tally
