"""`python -m benchmarks.job_process FOLDER`: carries out one job in a process of its own.

The job comes as a line of JSON on standard input, which the runner then keeps open: when it ends,
the runner is dead, and so is this process, with all that it started. What is written to standard
output and error is the log of the job.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

import torch

from agents.commands.terminal import TerminalObserver
from benchmarks.job import Job
from benchmarks.job_run import run_job
from benchmarks.result_folder import write_cell

__all__ = ["main"]


def main() -> None:
    """Read the job, carry it out, write its cell."""
    folder = Path(sys.argv[1])
    # A descriptor of our own, so that an agent which reads standard input takes nothing away.
    watched = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    job = Job.from_dict(json.loads(_read_line(watched)))
    threading.Thread(target=_die_with, args=(watched,), daemon=True).start()
    # Last, so that no folder of the user's stands in front of ours: it is looked at for agents.
    sys.path.append(os.getcwd())
    torch.set_num_threads(1)
    write_cell(folder, run_job(job, TerminalObserver()))


def _read_line(descriptor: int) -> str:
    text = b""
    while not text.endswith(b"\n"):
        piece = os.read(descriptor, 65_536)
        if not piece:
            sys.exit("There is no runner.")
        text += piece
    return text.decode("utf-8")


def _die_with(descriptor: int) -> None:
    """Wait until the runner is gone, then end this process and its children."""
    while os.read(descriptor, 1):
        pass
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
