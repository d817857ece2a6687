"""`python -m benchmarks.job_process`: copies itself for each job that its runner asks for.

The other end of `benchmarks.nursery`. Standard input is a socket, on which a request is eight bytes
(the length of what follows), with three descriptors, and a line of JSON; a copy that begins is told
by its number, one that ends by its number and its exit code. The third descriptor is a pipe that
the runner keeps open: when it ends, the runner is dead, and so is the job, with all that it
started.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

import torch

from agents.commands.terminal import TerminalObserver
from benchmarks.job import Job
from benchmarks.job_run import run_job
from benchmarks.result_folder import write_cell

__all__ = ["main"]

_POLL_SECONDS = 0.05
_SIZE = 8  # bytes


def main() -> None:
    """Copy this process for each job, until the runner is gone."""
    runner = socket.socket(fileno=os.dup(0))
    _connect(os.open(os.devnull, os.O_RDONLY), 0)
    children: set[int] = set()
    while True:
        if select.select([runner], [], [], _POLL_SECONDS if children else None)[0]:
            request, descriptors = _receive(runner)
            pid = os.fork()
            if pid == 0:
                runner.close()
                _become(request, descriptors)
            os.setpgid(pid, pid)  # as the copy does itself: whoever comes first
            for descriptor in descriptors:
                os.close(descriptor)
            children.add(pid)
            runner.sendall(b"%d\n" % pid)
        for pid in list(children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                children.remove(pid)
                code = os.waitstatus_to_exitcode(status)
                runner.sendall(b"%d %d\n" % (pid, code))


def _receive(runner: socket.socket) -> tuple[dict[str, Any], list[int]]:
    size, descriptors, _, _ = socket.recv_fds(runner, _SIZE, 3)
    if not size:
        sys.exit()  # there is no runner any more
    text = _read(runner, int.from_bytes(size + _read(runner, _SIZE - len(size)), "big"))
    request: dict[str, Any] = json.loads(text)
    return request, descriptors


def _read(runner: socket.socket, number: int) -> bytes:
    text = b""
    while len(text) < number:
        piece = runner.recv(number - len(text))
        if not piece:
            sys.exit("The runner has ended in the middle of a word.")
        text += piece
    return text


def _become(request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Carry out a job, in the copy; end it without what the original would do at its end."""
    code = 1
    try:
        os.setpgid(0, 0)
        log, _, life = descriptors
        _connect(log, 1)
        os.dup2(1, 2)
        threading.Thread(target=_die_with, args=(life,), daemon=True).start()
        # Last, so that no folder of the user's stands in front of ours: it is looked at for agents.
        sys.path.append(os.getcwd())
        torch.set_num_threads(1)
        job = Job.from_dict(request["job"])
        write_cell(Path(request["folder"]), run_job(job, TerminalObserver()))
        code = 0
    except BaseException:  # noqa: B036
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _connect(descriptor: int, place: int) -> None:
    """Put an open file in the place of another."""
    os.dup2(descriptor, place)
    os.close(descriptor)


def _die_with(descriptor: int) -> None:
    """Wait until the runner is gone, then end this process and its children."""
    while os.read(descriptor, 1):
        pass
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
