"""The runner: jobs in processes of their own, side by side, each with a time limit.

A job is finished when its cell is written; whatever kills the runner, it goes on from there. A job
that raises, hangs or is killed has a cell that says so, and the others go on. Several runners may
share a folder: each job is locked while somebody works on it.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agents.tracking import plain_json
from benchmarks.bench_plan import difference_of
from benchmarks.cell import Cell
from benchmarks.job import Job
from benchmarks.job_lock import JobLock
from benchmarks.job_run import failed_cell
from benchmarks.nursery import Child, Nursery, NurseryError
from benchmarks.result_folder import CELLS, cell_path, read_cell, write_cell
from chat_envs import anchors

__all__ = ["Ended", "Running", "Watcher", "run_jobs"]

WORK = "jobs"  # beside the cells: locks, and the logs of jobs that are not done
_POLL_SECONDS = 0.1
_LOG_TAIL = 1_500  # characters of a log that a cell keeps
_MAX_LOG = 8_000_000  # bytes; of one that grows further the end is kept
_OTHER = (
    "of other settings"  # what another runner made, which is not what was asked for
)


@dataclass(frozen=True)
class Ended:
    """A job that is over.

    Attributes:
        job: it.
        status: of its cell; `of other settings` where another runner made another one of that
            name.
        seconds: of the wall clock; None where another runner did it.
    """

    job: Job
    status: str
    seconds: float | None


@dataclass(frozen=True)
class Running:
    """A job at work, with a seat that it keeps to its end."""

    job: Job
    seat: int
    began: float
    process: Child
    lock: JobLock
    log: Path

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self.began

    def last_words(self, number: int = 200) -> str:
        """Return the end of its log."""
        with self.log.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - number, 0))
            return file.read().decode("utf-8", "replace").strip()

    def cut_log(self) -> None:
        """Leave the end of a log that has grown too long: an agent may print without end."""
        if self.log.stat().st_size > _MAX_LOG:
            tail = self.last_words(_LOG_TAIL)
            os.truncate(self.log, 0)
            with self.log.open("ab") as file:
                file.write(f"[... too long ...]\n{tail}\n".encode())


class Watcher(Protocol):
    """Who is told how it goes."""

    def ended(self, ended: Ended) -> None:
        """A job is over."""

    def show(self, running: Sequence[Running], waiting: Sequence[Job]) -> None:
        """Called many times a second with how it stands."""


def run_jobs(
    folder: Path,
    jobs: Sequence[Job],
    *,
    num_seats: int,
    timeout_s: float,
    watcher: Watcher,
    devices: Sequence[str] = (),
) -> Counter[str]:
    """Carry out jobs; return how many ended with which status.

    Args:
        folder: of the results.
        jobs: what is to be done; those that another runner does meanwhile are waited for.
        num_seats: jobs at a time.
        timeout_s: seconds of the wall clock after which a job is killed.
        watcher: told how it goes.
        devices: CUDA devices, of which the seats take turns to see one each; none hides nothing.

    Raises:
        KeyboardInterrupt: passed on, once all processes are ended.
    """
    work = _Work(folder, jobs, num_seats, timeout_s, watcher, devices)
    try:
        while work.waiting or work.running:
            work.reap()
            work.fill()
            watcher.show(list(work.running.values()), list(work.waiting))
            time.sleep(_POLL_SECONDS)
    finally:
        work.end_all()
    return work.counts


class _Work:
    """The state of `run_jobs`."""

    def __init__(
        self,
        folder: Path,
        jobs: Sequence[Job],
        num_seats: int,
        timeout_s: float,
        watcher: Watcher,
        devices: Sequence[str],
    ) -> None:
        self.folder, self.timeout_s, self.watcher = folder, timeout_s, watcher
        self.devices = devices
        self.waiting: deque[Job] = deque(jobs)
        self.running: dict[int, Running] = {}
        self.seats = range(num_seats)
        self.counts: Counter[str] = Counter()
        self.nurseries: dict[int, Nursery] = {}

    def fill(self) -> None:
        """Give every free seat a job that nobody else works on."""
        for _ in range(len(self.waiting)):
            free = [seat for seat in self.seats if seat not in self.running]
            if not free:
                return
            job = self.waiting.popleft()
            lock = JobLock.acquire(_work_path(self.folder, job, ".lock"))
            if lock is None:
                self.waiting.append(job)  # another runner has it; look again later
            elif isinstance(cell := read_cell(self.folder, *job.key), Cell):
                lock.release()  # another runner has done it
                version = anchors.version(job.env)
                status = _OTHER if difference_of(cell, job, version) else cell.status
                self._end(Ended(job, status, None))
            else:
                self.running[free[0]] = self._start(job, free[0], lock)

    def _start(self, job: Job, seat: int, lock: JobLock) -> Running:
        log = _work_path(self.folder, job, ".log")
        log.unlink(missing_ok=True)
        record = plain_json(job.as_dict())
        with log.open("ab") as output:  # appending, so that it can be cut
            descriptors = output.fileno(), lock.descriptor
            try:
                nursery = self._nursery(seat, is_new=bool(self.devices))
                process = nursery.start(self.folder, record, descriptors)
            except NurseryError:
                # Somebody has killed it; the system for want of memory, say.
                nursery = self._nursery(seat, is_new=True)
                process = nursery.start(self.folder, record, descriptors)
        return Running(job, seat, time.monotonic(), process, lock, log)

    def _nursery(self, seat: int, *, is_new: bool) -> Nursery:
        """Return what the jobs of a seat are copies of: one for all, unless they have GPUs."""
        place = seat if self.devices else 0
        if is_new and place in self.nurseries:
            self.nurseries.pop(place).close()
        if place not in self.nurseries:
            self.nurseries[place] = Nursery(_environment(self.devices, seat))
        return self.nurseries[place]

    def reap(self) -> None:
        """See to the jobs that have ended, or should have."""
        for running in list(self.running.values()):
            running.cut_log()
            code = running.process.poll()
            if code is None and running.seconds > self.timeout_s:
                self._settle(
                    running,
                    "killed",
                    f"it was not done after {self.timeout_s:g} seconds",
                )
            elif code is not None:
                how = "failed" if code >= 0 else "killed"
                self._settle(running, how, _describe_exit(code))

    def _settle(self, running: Running, status: str, error: str) -> None:
        """Note the end of a job; if its process wrote no cell, write one that says why."""
        running.process.end()  # and what it has left behind
        job = running.job
        cell = read_cell(self.folder, *job.key)
        if not isinstance(cell, Cell):
            tail = running.last_words(_LOG_TAIL)
            told = f"{error}; its last words:\n{tail}" if tail else error
            cell = failed_cell(job, status, told, running.seconds)
            write_cell(self.folder, cell)
        if cell.status == "done":
            running.log.unlink(missing_ok=True)
        self._let_go(running)
        self._end(Ended(job, cell.status, running.seconds))

    def end_all(self) -> None:
        """Kill what still runs; it will be done again."""
        for running in list(self.running.values()):
            running.process.end()
            self._let_go(running)
        for nursery in self.nurseries.values():
            nursery.close()

    def _let_go(self, running: Running) -> None:
        running.lock.release()
        del self.running[running.seat]
        _remove_empty(running.log.parent, self.folder)

    def _end(self, ended: Ended) -> None:
        self.counts[ended.status] += 1
        self.watcher.ended(ended)


def _work_path(folder: Path, job: Job, suffix: str) -> Path:
    """Return where the lock or the log of a job is, in folders that mirror those of the cells."""
    path = cell_path(folder, *job.key).relative_to(folder / CELLS)
    return folder / WORK / path.with_name(path.stem + suffix)


def _remove_empty(directory: Path, top: Path) -> None:
    while directory != top:
        try:
            directory.rmdir()
        except OSError:  # something is in it, or another runner was faster
            return
        directory = directory.parent


def _environment(devices: Sequence[str], seat: int) -> Mapping[str, str]:
    """Return the environment of a job: one thread, and the order of sets fixed."""
    settings: dict[str, Any] = {
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if devices:
        settings["CUDA_VISIBLE_DEVICES"] = devices[seat % len(devices)]
    return os.environ | settings


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code} and left no result"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    memory = "; the system may have run out of memory" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{memory}"
