"""Processes that are copies of one: they compute the same, and none outlives who holds it."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.tracking import plain_json
from benchmarks.cell import Cell
from benchmarks.job import Job
from benchmarks.job_run import run_job
from benchmarks.nursery import Child, Nursery, NurseryError
from benchmarks.result_folder import read_cell
from benchmarks.runner import _environment
from tests.benchmarks.small_bench import job_of
from tests.benchmarks.test_runner import ROOT, Log, go, is_alive, wait_until_dead

BANDIT = "KeywordBandit-v0"
PROC = Path("/proc")
on_linux = pytest.mark.skipif(not PROC.is_dir(), reason="/proc is Linux's")


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery(_environment([], 0))
    yield made
    made.close()


def start(nursery: Nursery, folder: Path, job: Job) -> Child:
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as lock:
        descriptors = log.fileno(), lock.fileno()
        return nursery.start(folder, plain_json(job.as_dict()), descriptors)


def wait(child: Child) -> int:
    for _ in range(4_000):
        code = child.poll()
        if code is not None:
            return code
        threading.Event().wait(0.05)
    raise AssertionError(f"{child.pid} does not end")


def test_a_copy_computes_what_this_process_does(
    tmp_path: Path, nursery: Nursery
) -> None:
    job = job_of(tmp_path, "reinforce", "Echo-easy-v0")
    children = [start(nursery, tmp_path / name, job) for name in ("one", "two")]
    assert children[0].pid != children[1].pid
    assert [wait(child) for child in children] == [0, 0]
    for child in children:
        child.end()
    mine = run_job(job)
    for name in ("one", "two"):
        found = read_cell(tmp_path / name, *job.key)
        assert isinstance(found, Cell) and found.status == "done"
        assert found.evaluations == mine.evaluations
        assert found.language == mine.language
        assert found.transcripts == mine.transcripts
        assert found.curve is not None and mine.curve is not None
        assert found.curve.mean_return == mine.curve.mean_return


@on_linux
def test_what_is_copied_has_one_thread_and_little_time_is_spent_on_a_copy(
    tmp_path: Path, nursery: Nursery
) -> None:
    job = job_of(tmp_path, "expert", BANDIT)
    child = start(nursery, tmp_path / "out", job)
    assert wait(child) == 0
    child.end()
    assert len(list((PROC / str(nursery._process.pid) / "task").iterdir())) == 1
    found = read_cell(tmp_path / "out", *job.key)
    assert isinstance(found, Cell)
    ticks = (PROC / str(nursery._process.pid) / "stat").read_text().split()[13:15]
    imports = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    assert found.provenance["cpu_seconds"] < imports, "it was not imported again"


def test_a_copy_whose_original_is_killed_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "pids"
    monkeypatch.setenv("HANG_NOTE", str(note))
    monkeypatch.chdir(ROOT)
    nursery = Nursery(_environment([], 0))
    child = start(nursery, tmp_path / "out", job_of(tmp_path, "Hangs", BANDIT))
    assert child.poll() is None and is_alive(child.pid)
    nursery._process.kill()
    assert wait(child) == -signal.SIGKILL
    child.end()
    wait_until_dead([child.pid])
    with pytest.raises(NurseryError, match="has ended with exit code -9"):
        start(nursery, tmp_path / "out", job_of(tmp_path, "expert", BANDIT))
    nursery.close()


def test_an_original_that_cannot_begin_says_why(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise RuntimeError('no torch here')\n")
    environment = {**_environment([], 0), "PYTHONPATH": str(tmp_path)}
    nursery = Nursery(environment)
    with pytest.raises(NurseryError, match="exit code 1(?s:.*)no torch here"):
        start(nursery, tmp_path / "out", job_of(tmp_path, "expert", BANDIT))
    nursery.close()


def test_the_runner_goes_on_with_another_original(tmp_path: Path) -> None:
    jobs = [job_of(tmp_path, name, BANDIT) for name in ("expert", "blind", "random")]
    killed: list[int] = []

    class Killer(Log):
        def show(self, running: object, waiting: object) -> None:
            for one in running:  # type: ignore[attr-defined]
                if not killed:
                    killed.append(one.process.pid)
                    one.process._nursery._process.kill()

    counts = go(tmp_path / "out", jobs, Killer(), num_seats=1)
    assert killed and counts["done"] >= 2 and counts.total() == 3
    cells = [read_cell(tmp_path / "out", *job.key) for job in jobs]
    assert all(isinstance(cell, Cell) for cell in cells)
