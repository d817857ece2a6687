"""Processes for jobs, each a copy of one that has imported everything already.

To import torch and transformers takes seconds, more than a short job itself. So a process that does
nothing else imports them once and is copied (`fork`) for each job: it has one thread and has never
asked for a GPU, so a copy is as good as new. Where jobs have GPUs each begins from nothing all the
same, since a driver need not survive being copied.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Child", "Nursery", "NurseryError"]

_LAST_WORDS = 1_500  # bytes


class NurseryError(RuntimeError):
    """The process that is to be copied has ended; the message has its last words."""


class Nursery:
    """A process that copies itself for each job: `benchmarks.job_process`.

    Args:
        environment: of it and of all its copies.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._begun: deque[int] = deque()
        self._codes: dict[int, int] = {}
        self._heard = b""
        self._socket, theirs = socket.socketpair()
        self._output = tempfile.TemporaryFile()
        with theirs:
            self._process = subprocess.Popen(
                # -P: the user's folder may have a `benchmarks` of its own.
                [sys.executable, "-P", "-m", "benchmarks.job_process"],
                stdin=theirs.fileno(),
                stdout=self._output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def start(
        self, folder: Path, job: Mapping[str, Any], descriptors: tuple[int, int]
    ) -> Child:
        """Start a job; wait until it has a process.

        Args:
            folder: of the results.
            job: as plain JSON.
            descriptors: of the file that its output goes to, and of one that it keeps open while
                it lives.

        Raises:
            NurseryError: there is nothing to copy any more.
        """
        life, ours = os.pipe()
        request = json.dumps({"folder": str(folder), "job": job}).encode("ascii")
        try:
            size = len(request).to_bytes(8, "big")
            socket.send_fds(self._socket, [size], [*descriptors, life])
            self._socket.sendall(request)
            while not self._begun:
                self._listen(0)
        except BaseException as error:
            os.close(ours)  # which ends the copy, if there is one
            if isinstance(error, OSError):
                raise NurseryError(self._told()) from error
            raise
        finally:
            os.close(life)
        return Child(self, self._begun.popleft(), ours)

    def code_of(self, pid: int, *, is_waiting: bool = False) -> int | None:
        """Return the exit code of a copy; None while it runs, unless its end is waited for.

        If this process itself has ended, nobody can say what becomes of a copy: it is killed.
        """
        try:
            while pid not in self._codes:
                self._listen(0 if is_waiting else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            _kill_group(pid)
            self._codes[pid] = -signal.SIGKILL
        return self._codes[pid]

    def close(self) -> None:
        """End it; its copies live on until the runner lets go of them."""
        self._socket.close()
        self._process.wait()
        self._output.close()

    def _listen(self, flags: int) -> None:
        """Take in what it tells: a line for each copy that begins, and one for each that ends."""
        heard = self._socket.recv(65_536, flags)
        if not heard:
            raise ConnectionResetError("it has ended")
        *lines, self._heard = (self._heard + heard).split(b"\n")
        for line in lines:
            pid, _, code = line.partition(b" ")
            if code:
                self._codes[int(pid)] = int(code)
            else:
                self._begun.append(int(pid))

    def _told(self) -> str:
        self._socket.close()  # if it lives after all, that ends it
        code = self._process.wait()
        self._output.seek(max(self._output.seek(0, os.SEEK_END) - _LAST_WORDS, 0))
        words = self._output.read().decode("utf-8", "replace").strip()
        return (
            f"The process that jobs are copies of has ended with exit code {code}; its last words:"
            f"\n{words}"
        )


class Child:
    """The process of a job.

    Attributes:
        pid: of it and of its group.
    """

    def __init__(self, nursery: Nursery, pid: int, life: int) -> None:
        self.pid = pid
        self._nursery, self._life = nursery, life

    def poll(self) -> int | None:
        """Return the exit code, minus the signal if one ended it; None while it runs."""
        return self._nursery.code_of(self.pid)

    def end(self) -> None:
        """Kill it and all that it has started, and wait for its end."""
        _kill_group(self.pid)
        self._nursery.code_of(self.pid, is_waiting=True)
        os.close(self._life)


def _kill_group(pid: int) -> None:
    """Kill a process and all that it has started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # the whole group has ended
