"""docs/benchmarking.md: what it shows is what there is."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.contestant import read_contestants
from benchmarks.job import plan_jobs
from benchmarks.job_run import run_job
from benchmarks.suite import read_suite
from benchmarks.suite_table import SUITES
from tests.benchmarks.small_bench import write_suite

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "benchmarking.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of a module with the agent of the page."""
    (source,) = blocks("python")
    (tmp_path / "table_of_the_page.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "table_of_the_page"
    sys.modules.pop("table_of_the_page", None)


def test_the_table_of_suites_is_that_of_the_suites() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    shown = {name: (summary, tasks) for name, summary, tasks in rows if name in SUITES}
    assert shown == {
        name: (
            suite["summary"],
            ", ".join(
                task.env.removeprefix("chat_envs/") for task in read_suite(name).tasks
            ),
        )
        for name, suite in SUITES.items()
    }


def test_the_suite_of_the_page_can_be_read(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    suite = read_suite(write_suite(tmp_path, text))
    assert [task.budget for task in suite.tasks] == [12_000, 20_000]
    jobs = plan_jobs(suite, read_contestants(suite.variants), [0])
    assert len(jobs) == 12
    rates = {job.settings["learning_rate"] for job in jobs if job.base == "ppo"}
    assert rates == {1e-4, 3e-4, 1e-3}


def test_the_agents_of_the_page_can_be_run() -> None:
    shown = re.findall(r"--agents '?([^\s']+)", PAGE)
    assert len(shown) == 3
    names = [name for text in shown for name in text.split(",")]
    assert len(read_contestants(names)) > len(names)  # hostile stands for many


def test_the_agent_of_the_page_learns(tmp_path: Path, module: str) -> None:
    suite = read_suite("diagnostics")
    (job,) = plan_jobs(
        suite,
        read_contestants([f"{module}:TableAgent@explore=0.5"]),
        [0],
        envs=["KeywordBandit-v0"],
    )
    cell = run_job(job)
    assert cell.status == "done", cell.error
    score = cell.score()
    assert score is not None and score > 0.9


def test_the_page_is_linked() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert "(benchmarking.md)" in index
