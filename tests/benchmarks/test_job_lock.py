"""The lock of a job: one holder, and free again however its holders end."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.job_lock import JobLock, _is_of

HOLD = "import sys; print('ready', flush=True); sys.stdin.read()"


def test_a_held_lock_is_refused_and_a_released_one_is_free(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "0.lock"
    lock = JobLock.acquire(path)
    assert lock is not None and path.exists()
    assert JobLock.acquire(path) is None
    lock.release()
    assert not path.exists()
    again = JobLock.acquire(path)
    assert again is not None
    again.release()


def test_a_file_that_was_removed_in_between_locks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "0.lock"
    old = JobLock.acquire(path)
    assert old is not None
    path.unlink()
    new = JobLock.acquire(path)
    assert new is not None, "the old file is nobody's"
    assert JobLock.acquire(path) is None
    os.close(old.descriptor)
    assert JobLock.acquire(path) is None, "the new one is still held"
    new.release()


def test_a_lock_that_is_won_on_a_removed_file_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "0.lock"
    flock, removed = fcntl.flock, []

    def slow_flock(descriptor: int, operation: int) -> None:
        if not removed:  # whoever held it removes the file just before we win
            removed.append(descriptor)
            path.unlink()
            assert not _is_of(descriptor, path)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", slow_flock)
    lock = JobLock.acquire(path)
    assert lock is not None and removed and path.exists()
    assert _is_of(lock.descriptor, path)
    assert JobLock.acquire(path) is None
    lock.release()


def test_a_lock_lives_as_long_as_the_process_that_inherited_it(tmp_path: Path) -> None:
    path = tmp_path / "0.lock"
    lock = JobLock.acquire(path)
    assert lock is not None
    worker = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[lock.descriptor],
    )
    assert worker.stdin is not None and worker.stdout is not None
    with worker.stdin, worker.stdout:
        assert worker.stdout.readline() == b"ready\n"
        os.close(lock.descriptor)  # as if the runner had died
        assert JobLock.acquire(path) is None
        worker.kill()
        worker.wait()
    freed = JobLock.acquire(path)
    assert freed is not None, "a killed worker holds nothing"
    freed.release()


def test_a_folder_that_another_runner_removes_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deep" / "0.lock"
    open_file, removed = os.open, []

    def slow_open(file: Path, flags: int, mode: int = 0o777) -> int:
        if not removed:  # it was empty, and another runner tidies up
            removed.append(file)
            path.parent.rmdir()
        return open_file(file, flags, mode)

    monkeypatch.setattr(os, "open", slow_open)
    lock = JobLock.acquire(path)
    assert lock is not None and removed and path.exists()
    lock.release()
