"""One writer: a second is refused by name, and a dead one holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agents.tracking import RunError, hold_lock

# No import of ours: the holder is any process, and it starts at once.
HOLDER = """
import fcntl, os, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(os.getpid(), file=file, flush=True)
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_writer_is_refused_and_told_who_is_first(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "lock"):
        with pytest.raises(RunError, match=f"in use: process {os.getpid()} holds"):
            with hold_lock(tmp_path / "lock"):
                pass


def test_a_lock_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        with hold_lock(tmp_path / "lock"):
            assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_lock_is_released_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        with hold_lock(tmp_path / "lock"):
            raise KeyError
    with hold_lock(tmp_path / "lock"):
        pass


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"process {holder.pid} holds"):
            with hold_lock(path):
                pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with hold_lock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_one_who_waits_gets_the_lock_in_the_end(tmp_path: Path) -> None:
    order = []

    def wait() -> None:
        with hold_lock(tmp_path / "lock", is_waiting=True):
            order.append("waiter")

    with hold_lock(tmp_path / "lock"):
        thread = threading.Thread(target=wait)
        thread.start()
        order.append("holder")
    thread.join(timeout=30)
    assert order == ["holder", "waiter"]
