"""The memory that one side of the whole step needs, in a process of its own.

python -m benchmarks.peak trl-grpo --shape 1m

Prints one line of JSON: the peak, and what was held before the first step (interpreter, libraries,
weights). On a CPU both are resident bytes of the process, on CUDA bytes of torch's allocator.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from agents.engine.local import LocalLM
from benchmarks.shape import SHAPES, Shape, build_model
from benchmarks.training import OPTIMIZER, algorithm_of, task_prompts

__all__ = ["SIDES", "measure_peak"]

SIDES = ("ours", "trl-grpo", "trl-rloo")
_NUM_STEPS = 3


def measure_peak(
    side: str,
    shape: Shape,
    *,
    device: str,
    dtype: str,
    num_threads: int,
    weights: str,
) -> dict[str, Any]:
    """Return `peak_bytes` and `before_bytes` of three steps of one side, in a child process."""
    options = {
        "shape": shape.name,
        "rows": shape.num_rows,
        "device": device,
        "dtype": dtype,
        "threads": num_threads,
        "weights": weights,
    }
    flags = [part for name, v in options.items() for part in (f"--{name}", str(v))]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peak", side, *flags],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    peak: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return peak


def _run(side: str, shape: Shape, model: torch.nn.Module, directory: Path) -> int:
    """Take the steps; return the bytes held before the first."""
    device = next(model.parameters()).device
    if side == "ours":
        algorithm = algorithm_of(LocalLM(model, name=shape.name), shape)  # type: ignore[arg-type]
        before = _held(device)
        for _ in range(_NUM_STEPS):
            algorithm.iterate()
        return before
    peer = importlib.import_module("benchmarks.trl_peer")
    trainer = peer.make_trainer(
        side,
        model,
        shape,
        task_prompts(shape, _NUM_STEPS * shape.num_rows),
        config=OPTIMIZER,
        num_steps=_NUM_STEPS,
        directory=directory,
    )
    before = _held(device)
    trainer.train()
    return before


def _held(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Not ru_maxrss: a child's begins at what its parent held when it was forked.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (kibibytes,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, flags=re.MULTILINE)
    return int(kibibytes) * 1024


def main() -> None:
    """Run one side and print its memory."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("--shape", choices=list(SHAPES), default="1m")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--weights", choices=("real", "random"), default="random")
    arguments = parser.parse_args()
    os.environ.setdefault("DS_ACCELERATOR", arguments.device)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    shape = SHAPES[arguments.shape]
    if arguments.rows:
        shape = shape.with_rows(arguments.rows)
    device = torch.device(arguments.device)
    model = build_model(
        shape,
        seed=0,
        device=device,
        dtype=getattr(torch, arguments.dtype),
        has_real_weights=arguments.weights == "real" and shape.has_weights,
    )
    with tempfile.TemporaryDirectory() as directory:
        before = _run(arguments.side, shape, model, Path(directory))
    print(json.dumps({"before_bytes": before, "peak_bytes": _peak(device)}))


if __name__ == "__main__":
    main()
