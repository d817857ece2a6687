"""The runner: jobs in processes of their own, which fail, hang, are killed, and are gone on with.

Almost every job is a real process; it takes seconds to import torch, so there are few of them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.bench_plan import find_finished
from benchmarks.cell import Cell
from benchmarks.job import Job
from benchmarks.job_lock import JobLock
from benchmarks.job_run import run_job
from benchmarks.result_folder import cell_path, read_cell, read_results, write_cell
from benchmarks.runner import Ended, Running, _environment, run_jobs
from tests.benchmarks.small_bench import AGENTS, SMALL, job_of, jobs_of, write_suite

ROOT = Path(__file__).parents[2]
BANDIT = "KeywordBandit-v0"
PATIENCE = 240.0


class Log:
    """Remembers what it is told; may do something when a job is at work."""

    def __init__(self, when_running: Callable[[Running], None] | None = None) -> None:
        self.over: list[Ended] = []
        self.most = 0
        self._when_running = when_running

    def ended(self, ended: Ended) -> None:
        self.over.append(ended)

    def show(self, running: Sequence[Running], waiting: Sequence[Job]) -> None:
        self.most = max(self.most, len(running))
        for one in running:
            if self._when_running is not None:
                self._when_running(one)


def go(folder: Path, jobs: Sequence[Job], log: Log, **options: float) -> Counter[str]:
    values = {"num_seats": 2, "timeout_s": PATIENCE} | options
    return run_jobs(
        folder,
        jobs,
        num_seats=int(values["num_seats"]),
        timeout_s=values["timeout_s"],
        watcher=log,
    )


def cell(folder: Path, job: Job) -> Cell:
    found = read_cell(folder, *job.key)
    assert isinstance(found, Cell), found
    return found


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"  # a zombie is dead, and waits to be noticed


def pids_in(path: Path) -> list[int]:
    return [int(pid) for pid in path.read_text().split()]


@pytest.fixture
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "pids"
    monkeypatch.setenv("HANG_NOTE", str(path))
    monkeypatch.chdir(ROOT)
    yield path


def test_whatever_becomes_of_one_job_the_others_go_on(
    tmp_path: Path, note: Path
) -> None:
    names = ("Vanishes", "Raises", "Floats", "Idle")
    jobs = jobs_of(tmp_path, *names, envs=[BANDIT])
    log = Log()
    folder = tmp_path / "out"
    counts = go(folder, jobs, log)
    assert counts == {"failed": 2, "malformed": 1, "done": 1}
    assert log.most == 2
    vanished, raised, malformed, idle = (cell(folder, job) for job in jobs)
    assert vanished.status == raised.status == "failed"
    assert "exit code 7" in vanished.error and "going, going" in vanished.error
    assert "no idea" in raised.error
    assert malformed.status == "malformed" and idle.status == "done"
    assert {e.job.key for e in log.over} == {job.key for job in jobs}
    assert all(e.seconds is not None and e.seconds > 0 for e in log.over)
    # The logs of those that are not done are kept, and nothing else.
    left = sorted(p.parts[-3] for p in (folder / "jobs").rglob("*") if p.is_file())
    broken = ("Floats", "Raises", "Vanishes")
    assert left == [f"{AGENTS}:{name}".replace(":", "%3A") for name in broken]
    assert read_results(folder).problems == ()

    # Nothing of it is done again.
    bench = find_finished(folder, jobs)
    assert bench.waiting == () and len(bench.finished) == 4
    retried = find_finished(folder, jobs, is_retrying=True)
    assert [job.agent for job in retried.waiting] == [job.agent for job in jobs[:3]]


def test_a_hanging_job_is_killed_with_its_children(tmp_path: Path, note: Path) -> None:
    job = job_of(tmp_path, "Hangs", BANDIT)
    hung = threading.Event()

    class Deadline(float):
        """So many seconds, but not before the agent hangs."""

        def __lt__(self, other: float) -> bool:
            if note.exists():
                hung.set()
            return hung.is_set() or float.__lt__(self, other)

    counts = go(tmp_path / "out", [job], Log(), timeout_s=Deadline(PATIENCE))
    assert counts == {"killed": 1} and hung.is_set()
    found = cell(tmp_path / "out", job)
    assert found.status == "killed" and "not done after 240 seconds" in found.error
    wait_until_dead(pids_in(note))


def test_a_job_that_somebody_kills_says_so(tmp_path: Path, note: Path) -> None:
    job = job_of(tmp_path, "Idle", BANDIT)

    def kill(running: Running) -> None:
        os.kill(running.process.pid, signal.SIGKILL)

    counts = go(tmp_path / "out", [job], Log(kill))
    assert counts == {"killed": 1}
    assert "SIGKILL" in cell(tmp_path / "out", job).error


@pytest.mark.slow
def test_an_interrupted_runner_ends_its_jobs_and_notes_nothing(
    tmp_path: Path, note: Path
) -> None:
    job = job_of(tmp_path, "Hangs", BANDIT)

    def interrupt(running: Running) -> None:
        if note.exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "out", [job], Log(interrupt))
    wait_until_dead(pids_in(note))
    assert find_finished(tmp_path / "out", [job]).waiting == (job,)
    assert not list((tmp_path / "out").rglob("*.lock"))


@pytest.mark.slow
def test_a_killed_runner_takes_its_jobs_along_and_the_next_goes_on(
    tmp_path: Path, note: Path
) -> None:
    folder = tmp_path / "out"
    suite = write_suite(tmp_path, SMALL)
    command = [sys.executable, "-m", "chat_envs.command_line", "bench"]
    command += ["--suite", suite, "--env", BANDIT, "--seeds", "1", "--jobs", "1"]
    command += ["--agents", f"{AGENTS}:Idle,{AGENTS}:Hangs", "--out", str(folder)]
    runner = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert runner.stderr is not None
    with runner.stderr:
        for line in runner.stderr:
            if "1/2" in line:
                break
        wait_for(note, runner)
        runner.kill()
        runner.wait()
    pids = pids_in(note)
    idle = read_cell(folder, f"{AGENTS}:Idle", f"chat_envs/{BANDIT}", 0)
    assert isinstance(idle, Cell) and idle.status == "done"
    wait_until_dead(pids)

    # A torn file of the job that was at work is done again, the finished job is not.
    idle_job, hanging = jobs_of(tmp_path, "Idle", "Hangs", envs=[BANDIT])
    path = cell_path(folder, *hanging.key)
    path.parent.mkdir(parents=True)
    path.write_text('{"version": 1, "agen')
    bench = find_finished(folder, [idle_job, hanging])
    assert bench.waiting == (hanging,)
    (remark,) = bench.remarks
    assert "Hangs" in remark and "torn" in remark
    assert [job for job, _ in bench.finished] == [idle_job]

    def kill(running: Running) -> None:
        os.kill(running.process.pid, signal.SIGKILL)

    log = Log(kill)
    assert go(folder, bench.waiting, log) == {"killed": 1}
    assert cell(folder, hanging).status == "killed"


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a file is there; its writer is a grandchild that nobody can wait for."""
    for _ in range(int(PATIENCE * 20)):
        if path.exists():
            return
        assert process.poll() is None, "the runner has ended"
        threading.Event().wait(0.05)
    raise AssertionError(f"{path} is still not there")


def wait_until_dead(pids: Sequence[int]) -> None:
    for _ in range(int(PATIENCE * 20)):
        if not any(map(is_alive, pids)):
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"{pids} outlived their runner")


def test_a_job_that_another_runner_has_is_left_to_it(
    tmp_path: Path, note: Path
) -> None:
    job = job_of(tmp_path, "Idle", BANDIT)
    folder = tmp_path / "out"
    theirs = write_cell(tmp_path / "theirs", run_job(job))
    path = cell_path(folder, *job.key)
    lock = JobLock.acquire(
        folder / "jobs" / path.relative_to(folder / "cells").with_suffix(".lock")
    )
    assert lock is not None
    shown = 0

    class Patient(Log):
        def show(self, running: Sequence[Running], waiting: Sequence[Job]) -> None:
            nonlocal shown
            shown += 1
            assert not running, "it is done twice"
            if shown == 3:
                assert list(waiting) == [job]
                path.parent.mkdir(parents=True)
                shutil.copy(theirs, path)
                lock.release()

    log = Patient()
    before = len(log.over)
    assert go(folder, [job], log) == {"done": 1}
    assert before == 0 and [e.seconds for e in log.over] == [None]


def test_a_job_is_given_one_thread_and_one_device() -> None:
    assert _environment([], 3)["OMP_NUM_THREADS"] == "1"
    seen = [_environment(["4", "7"], seat)["CUDA_VISIBLE_DEVICES"] for seat in range(3)]
    assert seen == ["4", "7", "4"]


def test_what_another_runner_made_with_other_settings_does_not_count_as_done(
    tmp_path: Path,
) -> None:
    job = job_of(tmp_path, "expert", BANDIT)
    write_cell(tmp_path / "out", run_job(replace(job, budget=job.budget + 1)))
    log = Log()
    assert go(tmp_path / "out", [job], log) == {"of other settings": 1}
    assert [e.seconds for e in log.over] == [None]


def test_a_log_without_end_is_cut_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    lock = JobLock.acquire(tmp_path / "0.lock")
    assert lock is not None
    write = "import sys; [print('x' * 999) for _ in range(9_000)]; print('the end')"
    with path.open("ab") as output:
        process = subprocess.Popen([sys.executable, "-c", write], stdout=output)
    process.wait()
    running = Running(job_of(tmp_path, "expert"), 0, 0.0, process, lock, path)
    running.cut_log()
    assert path.stat().st_size < 10_000
    assert running.last_words().endswith("the end")
    before = path.read_bytes()
    running.cut_log()
    assert path.read_bytes() == before, "it is short enough"
    lock.release()
