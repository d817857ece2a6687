"""What of a folder counts as done, what is done again, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.bench_plan import find_finished, stale_anchors, write_bench_plan
from benchmarks.cell import Cell
from benchmarks.job import Job
from benchmarks.job_run import run_job
from benchmarks.result_folder import (
    Plan,
    ResultsError,
    cell_path,
    read_plan,
    write_cell,
)
from tests.benchmarks.small_bench import job_of, jobs_of

ENV = "Echo-easy-v0"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Cell]:
    job = job_of(tmp_path_factory.mktemp("suite"), "expert", ENV)
    return job, run_job(job)


@pytest.fixture
def folder(made: tuple[Job, Cell], tmp_path: Path) -> Path:
    write_cell(tmp_path, made[1])
    return tmp_path


def edit(folder: Path, job: Job, **fields: object) -> Path:
    path = cell_path(folder, *job.key)
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return path


def test_a_folder_that_is_not_there_has_nothing(
    made: tuple[Job, Cell], tmp_path: Path
) -> None:
    bench = find_finished(tmp_path / "none", [made[0]])
    assert (bench.waiting, bench.finished, bench.remarks) == ((made[0],), (), ())


def test_a_cell_is_a_finished_job(made: tuple[Job, Cell], folder: Path) -> None:
    job, cell = made
    later = replace(job, seed=1)
    bench = find_finished(folder, [job, later])
    assert bench.finished == ((job, cell),)
    assert bench.waiting == (later,) and bench.remarks == ()


def test_the_command_of_a_cell_need_not_be_the_same(
    made: tuple[Job, Cell], folder: Path
) -> None:
    assert find_finished(folder, [replace(made[0], command="other")]).waiting == ()


@pytest.mark.parametrize("text", ["", "{", '{"version": 1}'])
def test_a_torn_cell_is_done_again_and_named(
    made: tuple[Job, Cell], folder: Path, text: str
) -> None:
    job = made[0]
    cell_path(folder, *job.key).write_text(text)
    bench = find_finished(folder, [job])
    assert bench.waiting == (job,)
    (remark,) = bench.remarks
    assert remark.startswith(f"expert {job.env} 0 is done again: ")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"budget": 7}, "budget is 200 there, 7 here"),
        ({"settings": {"x": 1}}, "settings"),
        ({"env_kwargs": {"reply_length": 5}}, "reply_length is 6 there, 5 here"),
    ],
)
def test_a_cell_of_other_settings_is_refused_unless_it_is_to_be_replaced(
    made: tuple[Job, Cell], folder: Path, changed: dict[str, object], words: str
) -> None:
    other = replace(made[0], **changed)  # type: ignore[arg-type]
    path = cell_path(folder, *other.key)
    with pytest.raises(ResultsError, match=words) as caught:
        find_finished(folder, [other])
    assert "--force" in str(caught.value) and path.exists()
    bench = find_finished(folder, [other], is_forcing=True)
    assert bench.waiting == (other,) and words in bench.remarks[0]
    assert not path.exists(), "a runner would take it for a finished job"


def test_a_cell_of_another_version_is_refused(
    made: tuple[Job, Cell], folder: Path
) -> None:
    job = made[0]
    path = edit(folder, job, version=0)
    with pytest.raises(ResultsError, match="written as version 0"):
        find_finished(folder, [job])
    assert find_finished(folder, [job], is_forcing=True).waiting == (job,)
    assert path.exists(), "until it is written anew"


def test_nothing_is_replaced_before_all_is_known_to_be_right(
    made: tuple[Job, Cell], folder: Path
) -> None:
    job, cell = made
    second = replace(job, seed=1)
    write_cell(folder, replace(cell, status="failed", evaluations={}))
    write_cell(folder, replace(cell, seed=1, config={**cell.config, "seed": 1}))
    edit(folder, second, version=0)
    with pytest.raises(ResultsError, match="version 0"):
        find_finished(folder, [job, second], is_retrying=True)
    assert cell_path(folder, *job.key).exists()


@pytest.mark.parametrize("status", ["failed", "killed", "malformed"])
def test_what_failed_is_done_again_on_request_alone(
    made: tuple[Job, Cell], folder: Path, status: str
) -> None:
    job, cell = made
    write_cell(folder, replace(cell, status=status, evaluations={}))
    assert find_finished(folder, [job]).waiting == ()
    bench = find_finished(folder, [job], is_retrying=True)
    assert bench.waiting == (job,)
    assert not cell_path(folder, *job.key).exists()


def test_a_finished_run_is_not_retried(made: tuple[Job, Cell], folder: Path) -> None:
    assert find_finished(folder, [made[0]], is_retrying=True).waiting == ()


def test_plans_add_up_and_scripts_are_not_planned(tmp_path: Path) -> None:
    write_bench_plan(tmp_path, jobs_of(tmp_path, "ppo", "expert", seeds=2, envs=[ENV]))
    plan = read_plan(tmp_path, [])
    assert plan == Plan(("ppo",), (f"chat_envs/{ENV}",), (0, 1))
    more = jobs_of(tmp_path, "sft", seeds=3, envs=["KeywordBandit-v0"])
    write_bench_plan(tmp_path, more)
    envs = (f"chat_envs/{ENV}", "chat_envs/KeywordBandit-v0")
    assert read_plan(tmp_path, []) == Plan(("ppo", "sft"), envs, (0, 1, 2))
    (tmp_path / "plan.json").write_text("{")
    write_bench_plan(tmp_path, more)
    assert read_plan(tmp_path, []) == Plan(("sft",), envs[1:], (0, 1, 2))


def test_anchors_of_another_version_are_named(
    made: tuple[Job, Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = made[0]
    monkeypatch.setattr("chat_envs.anchors.version", lambda env: "another")
    (remark,) = stale_anchors([job, replace(job, seed=1)])
    assert job.env in remark and "another version" in remark
    assert f"chat-envs anchors {job.env}" in remark


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"anchors": None}, "anchors of its environment have changed"),
        ({"provenance": {"environment": "older"}}, "environment has changed since"),
    ],
)
def test_a_cell_of_another_environment_is_refused_and_can_be_replaced(
    made: tuple[Job, Cell], folder: Path, changed: dict[str, object], words: str
) -> None:
    job = made[0]
    edit(folder, job, **changed)
    with pytest.raises(ResultsError, match=words):
        find_finished(folder, [job])
    assert find_finished(folder, [job], is_forcing=True).waiting == (job,)
