"""What a benchmark still has to do: which runs of a folder are over, torn, or of other settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.tracking import differences, plain_json
from benchmarks.cell import Cell
from benchmarks.job import Job
from benchmarks.job_run import anchors_of
from benchmarks.result_folder import (
    Plan,
    Problem,
    ResultsError,
    cell_path,
    read_cell,
    read_plan,
    write_plan,
)
from chat_envs import anchors

__all__ = [
    "Bench",
    "difference_of",
    "find_finished",
    "stale_anchors",
    "write_bench_plan",
]


@dataclass(frozen=True)
class Bench:
    """The jobs of a benchmark.

    Attributes:
        finished: with their cells.
        waiting: still to be done.
        remarks: what the user should know of files that are done again.
    """

    finished: tuple[tuple[Job, Cell], ...]
    waiting: tuple[Job, ...]
    remarks: tuple[str, ...]


def find_finished(
    folder: Path,
    jobs: Sequence[Job],
    *,
    is_retrying: bool = False,
    is_forcing: bool = False,
) -> Bench:
    """Return which jobs are over and which are not. A torn file is done again, and named.

    Args:
        folder: of the results; need not be there yet.
        jobs: all of them.
        is_retrying: jobs that failed, were killed or malformed are to be done again.
        is_forcing: cells of other settings or another version are to be replaced.

    Raises:
        ResultsError: there are cells of other settings or another version, and they are not to be
            replaced: nothing may be compared with them.
    """
    finished: list[tuple[Job, Cell]] = []
    waiting: list[Job] = []
    replaced: list[Job] = []
    remarks: list[str] = []
    versions: dict[str, str] = {}  # each takes a moment to compute
    for job in jobs:
        found = read_cell(folder, *job.key)
        if found is not None and job.env not in versions:
            versions[job.env] = anchors.version(job.env)
        why = _why_again(found, job, versions.get(job.env, ""), is_retrying)
        if isinstance(found, Cell) and not why:
            finished.append((job, found))
            continue
        waiting.append(job)
        if found is None:
            continue
        is_torn = isinstance(found, Problem) and found.kind in ("torn", "malformed")
        is_replaced = is_forcing or is_torn or why == _RETRIED
        place = f"{job.agent} {job.env} {job.seed}"
        if not is_replaced:
            raise ResultsError(
                f"{folder} has a run of {place} already, and it is another one: {why}. Choose "
                "another folder, or replace such runs by --force."
            )
        remarks.append(f"{place} is done again: {why}")
        if isinstance(found, Cell):
            replaced.append(job)
    # Not before all is known to be right. A runner takes a cell that is there for a finished job.
    for job in replaced:
        cell_path(folder, *job.key).unlink(missing_ok=True)
    return Bench(tuple(finished), tuple(waiting), tuple(remarks))


_RETRIED = "it was not done"


def _why_again(
    found: Cell | Problem | None, job: Job, version: str, is_retrying: bool
) -> str:
    if found is None:
        return "there is no cell"
    if isinstance(found, Problem):
        return f"{found.kind}, {found.text}"
    if why := difference_of(found, job, version):
        return why
    return _RETRIED if is_retrying and found.status != "done" else ""


def difference_of(cell: Cell, job: Job, version: str) -> str:
    """Return why a cell is not what the job would make; "" where it is.

    Args:
        cell: of the same agent, environment and seed.
        job: what is wanted.
        version: of the environment now, as `anchors.version` says it.
    """
    wanted = json.loads(json.dumps(plain_json(job.config())))
    if lines := differences(cell.config, wanted):
        return "; ".join(lines[:4])
    made_in = cell.provenance.get("environment")
    if made_in is not None and made_in != version:
        return "its environment has changed since"
    if cell.anchors != anchors_of(job):
        return "the anchors of its environment have changed since"
    return ""


def write_bench_plan(folder: Path, jobs: Sequence[Job]) -> None:
    """Write which cells the folder should have: those of before, and these.

    Scripts are not planned: they have one run a task, whatever the seeds.
    """
    before = read_plan(folder, [])
    planned = [job for job in jobs if job.kind != "script"]
    agents = {job.agent for job in planned}
    envs = {job.env for job in planned}
    seeds = {job.seed for job in planned}
    if before is not None:
        agents |= set(before.agents)
        envs |= set(before.envs)
        seeds |= set(before.seeds)
    write_plan(
        folder, Plan(tuple(sorted(agents)), tuple(sorted(envs)), tuple(sorted(seeds)))
    )


def stale_anchors(jobs: Sequence[Job]) -> list[str]:
    """Return a sentence for each environment without anchors, or with those of another version."""
    remarks = []
    for env in dict.fromkeys(job.env for job in jobs):
        try:
            stored = anchors.load(env).version
        except LookupError:
            remarks.append(f"{env} has no anchors, so its runs have no score.")
            continue
        if stored != anchors.version(env):
            remarks.append(
                f"the anchors of {env} are of another version of it; `chat-envs anchors {env}` "
                "makes them anew."
            )
    return remarks
