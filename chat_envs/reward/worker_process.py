"""One process that scores replies: started, fed, listened to within limits, and killed."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chat_envs.reward.failure import shorten, shown
from chat_envs.reward.wire import ProtocolError, Traits, read_traits

__all__ = [
    "StartError",
    "WorkerDiedError",
    "WorkerError",
    "WorkerProcess",
    "session_members",
]

_START_S = 120.0
_TICK_S = 0.05  # how often a call that takes its time is looked at
_INSPECTION_S = (
    1.0  # how often the processes of a worker that answers at once are counted
)
_MAX_LINE = 2**20
_CHUNK = 2**16
_DEATH_S = 1.0  # what a process may take to end once it must


class WorkerError(RuntimeError):
    """A worker gave no answer: what it did instead is the message."""


class WorkerDiedError(WorkerError):
    """A worker ended by itself, by the system, or for what it had grown to."""


class WorkerLateError(WorkerError):
    """A worker passed its time limit."""

    kind = "TimeoutError"


class StartError(WorkerError):
    """A worker could not make its reward."""


class WorkerProcess:
    """A running worker, leader of its own session and process group.

    Args:
        spec_line: What it is told first.
        max_processes: How many processes it may be, with its children.
    """

    traits: Traits

    def __init__(self, spec_line: bytes, max_processes: int) -> None:
        self._max_processes = max_processes
        self._process = subprocess.Popen(
            # -P: the folder that the run was started in must not hide modules.
            [sys.executable, "-P", "-m", "chat_envs.reward.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": _search_path()},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input = self._process.stdin
        self._output = self._process.stdout
        for pipe in (self._input, self._output):
            os.set_blocking(pipe.fileno(), False)
        self._writable, self._readable = select.poll(), select.poll()
        self._writable.register(self._input, select.POLLOUT)
        self._readable.register(self._output, select.POLLIN)
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._inspected = time.monotonic()
        self._spec_line = spec_line

    def wait_until_ready(self) -> None:
        """Wait until the reward is made.

        Raises:
            StartError: If it is not.
        """
        try:
            self.send(self._spec_line, _START_S)
            answer = json.loads(self.read_line(_START_S))
            if not isinstance(answer, dict) or "failed" not in answer:
                self.traits = read_traits(answer["ready"])
                return
            kind, text = (shorten(str(part), 400) for part in answer["failed"])
        except WorkerError as error:
            raise StartError(f"could not be started: {error}") from error
        except (KeyError, TypeError, ValueError, ProtocolError) as error:
            raise StartError(f"could not be started: {shown(str(error))}") from error
        raise StartError(f"could not be made in its process: {kind}: {text}")

    def send(self, data: bytes, timeout_s: float) -> None:
        """Write a line.

        Raises:
            WorkerError: If the worker does not take it.
        """
        view = memoryview(data)
        deadline = time.monotonic() + timeout_s
        self._inspect_if_due()
        while view:
            try:
                view = view[os.write(self._input.fileno(), view) :]
            except BlockingIOError:
                if not self._writable.poll(_TICK_S * 1000):
                    self._look(deadline, timeout_s)
            except BrokenPipeError as error:
                raise self._obituary() from error

    def read_line(self, timeout_s: float) -> bytes:
        """Return the next line that the worker writes.

        Raises:
            WorkerError: If it writes none in time, dies, or breaks a limit.
        """
        if self._lines:
            return self._lines.popleft()
        deadline = time.monotonic() + timeout_s
        while not self._lines:
            tick_s = max(0.0, min(_TICK_S, deadline - time.monotonic()))
            if not self._readable.poll(tick_s * 1000):
                self._look(deadline, timeout_s)
                continue
            chunk = os.read(self._output.fileno(), _CHUNK)
            if not chunk:
                raise self._obituary()
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self._lines.extend(lines)
            if len(self._rest) > _MAX_LINE:
                raise WorkerError("its process wrote a line without end")
        return self._lines.popleft()

    def _look(self, deadline: float, timeout_s: float) -> None:
        """Raise if the worker is dead, is late, or has too many children."""
        if self._is_dead() and not self._readable.poll(0):
            raise self._obituary()
        self._inspect()
        if time.monotonic() >= deadline:
            raise WorkerLateError(
                f"gave no answer within {timeout_s:g} s; its process was killed"
            )

    def _inspect_if_due(self) -> None:
        if time.monotonic() - self._inspected > _INSPECTION_S:
            self._inspect()

    def _inspect(self) -> None:
        self._inspected = time.monotonic()
        num_processes = len(session_members(self._process.pid))
        if num_processes > self._max_processes:
            # An earlier reply may have started them: whoever is to blame is heard again.
            raise WorkerDiedError(
                f"had {num_processes} processes, more than max_processes="
                f"{self._max_processes}; they were killed"
            )

    def _end(self) -> Any:
        """Return how the worker ended, without reaping it: its group keeps its number."""
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        return os.waitid(os.P_PID, self._process.pid, flags)

    def _is_dead(self) -> bool:
        try:
            return self._end() is not None
        except ChildProcessError:  # somebody else reaped it
            return True

    def _obituary(self) -> WorkerError:
        """Return what a worker died of that has closed its pipe, or is dead."""
        deadline = time.monotonic() + _DEATH_S
        try:
            while (ended := self._end()) is None and time.monotonic() < deadline:
                time.sleep(0.001)
        except ChildProcessError:
            ended = None
        if ended is None:
            return WorkerDiedError("its process closed its pipe")
        if ended.si_code == os.CLD_EXITED:
            return WorkerDiedError(
                f"its process ended with exit code {ended.si_status}"
            )
        if ended.si_status == signal.SIGXCPU:
            return WorkerError("its process used more CPU time than cpu_s allows")
        return WorkerDiedError(
            f"its process died of {signal.Signals(ended.si_status).name}"
        )

    def kill(self) -> None:
        """End the worker and all that it started, and leave nothing behind."""
        pid = self._process.pid
        # It is not reaped yet, so the number is still that of its group and session.
        for _ in range(2):  # one may have been forking
            _send_kill(os.killpg, pid)
        deadline = time.monotonic() + _DEATH_S
        while members := session_members(pid):
            for member in members:  # with those that left the group
                _send_kill(os.kill, member)
            if time.monotonic() > deadline:
                break
            time.sleep(0.001)
        self._process.wait()
        self._input.close()
        self._output.close()

    def forget(self) -> None:
        """Let go of a worker that is another process's child."""
        self._process.returncode = 0  # nobody's here to wait for
        self._input.close()
        self._output.close()


def session_members(session: int) -> set[int]:
    """Return the ids of a session's living processes; none where the system does not tell."""
    members = set()
    for name in os.listdir("/proc") if Path("/proc").is_dir() else ():
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                # After the command's name, which may hold anything: state, parent, group, session.
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if len(fields) > 3 and int(fields[3]) == session and fields[0] not in b"ZX":
            members.add(int(name))
    return members


def _search_path() -> str:
    """Return where this process finds modules, for another one."""
    return os.pathsep.join(str(path) or os.getcwd() for path in sys.path)


def _send_kill(kill: Callable[[int, int], None], number: int) -> None:
    try:
        kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return  # it is gone
