"""`chat-envs report` on whole folders and on bad ones: what is wrong is named, never averaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.commands.report import run
from benchmarks.result_folder import Plan, cell_path, write_cell, write_plan
from chat_envs.anchors import Anchors, SplitAnchors
from tests.benchmarks.synthetic_results import cell

TASK = "own/Task-v0"
FILES = ("report.html", "report.md", "results.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return three seeds of two agents: ppo scores .6, grpo .4."""
    for agent, score in (("ppo", 0.6), ("grpo", 0.4)):
        for seed in range(3):
            write_cell(tmp_path, cell(agent, seed=seed, score=score))
    return tmp_path


def report(folder: Path, *argv: str) -> dict[str, Any]:
    """Make the report; return results.json."""
    assert run([str(folder), *argv]) == 0
    record: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return record


def texts(folder: Path) -> list[str]:
    return [(folder / name).read_text() for name in FILES[:2]]


def damage(folder: Path, agent: str, seed: int, text: str | None = None) -> None:
    path = cell_path(folder, agent, TASK, seed)
    if text is None:
        path.unlink()
    else:
        path.write_text(text)


def test_three_files_are_made_and_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report(folder)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == [str(folder / name) for name in FILES]
    assert lines[0] == "grpo  IQM 0.400 [0.400, 0.400]  (3 of 3 runs done)"
    assert lines[1] == "ppo   IQM 0.600 [0.600, 0.600]  (3 of 3 runs done)"
    for agent, score in (("ppo", 0.6), ("grpo", 0.4)):
        for name in ("iqm", "optimality_gap", "probability_of_improvement"):
            value = found["agents"][agent][name]
            assert set(value) >= {"value", "low", "high", "n"}
        assert found["agents"][agent]["iqm"]["value"] == pytest.approx(score)


def test_the_report_can_be_made_elsewhere_and_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "elsewhere"
    assert run([str(folder), "--out", str(out)]) == 0
    first = [(out / name).read_bytes() for name in FILES]
    assert run([str(folder), "--out", str(out)]) == 0
    assert [(out / name).read_bytes() for name in FILES] == first
    assert run([str(folder), "--out", str(out), "--json"]) == 0
    printed = capsys.readouterr().out.partition("{")
    assert json.loads("{" + printed[2])["version"] == 1


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (None, "missing"),
        ("", "torn"),
        ('{"version": 1, "agen', "torn"),
        ('{"version": 0}', "version"),
        ('{"version": 1}', "malformed"),
    ],
)
def test_a_cell_that_cannot_be_read_is_named_and_left_out(
    folder: Path, text: str | None, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(folder, "ppo", 1, text)
    found = report(folder)
    (problem,) = found["problems"]
    assert problem["kind"] == kind and "ppo" in problem["place"]
    assert f"({kind})" in capsys.readouterr().err
    assert found["agents"]["ppo"]["num_runs"] == 2
    # Two runs are too few for an interval: null and the reason, not a mean of two.
    assert found["agents"]["ppo"]["iqm"]["value"] is None
    assert "2 runs" in found["agents"]["ppo"]["iqm"]["why"]
    assert found["agents"]["grpo"]["iqm"]["value"] == pytest.approx(0.4)
    for shown in texts(folder):
        assert kind in shown


def test_a_misfiled_and_a_stray_file_are_named(folder: Path) -> None:
    path = cell_path(folder, "ppo", TASK, 2)
    path.rename(path.with_name("7.json"))
    (folder / "cells" / "notes.txt").write_text("remember the milk")
    kinds = sorted(p["kind"] for p in report(folder)["problems"])
    assert kinds == ["misfiled", "missing", "stray"]


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    for agent in ("ppo", "grpo"):
        write_cell(tmp_path, cell(agent))
    found = report(tmp_path)
    for agent in ("ppo", "grpo"):
        iqm = found["agents"][agent]["iqm"]
        assert iqm["value"] is None and "1 run of a task" in iqm["why"]
        entry = found["tasks"][TASK]["agents"][agent]
        assert entry["score"]["value"] is None
        assert [run["score"] for run in entry["runs"]] == pytest.approx([0.5])
    assert found["weaknesses"]["ppo"]["num_compared"] == 0
    assert all("1 run of a task" in text for text in texts(tmp_path))


def test_an_agent_whose_runs_all_failed_is_there_without_a_score(folder: Path) -> None:
    for seed in range(3):
        broken = cell("gspo", seed=seed, status="failed", error="it broke <b>")
        write_cell(folder, broken)
    found = report(folder)
    gspo = found["agents"]["gspo"]
    assert gspo["num_done"] == 0 and gspo["num_failed"] == 3
    assert gspo["iqm"]["value"] is None
    assert gspo["iqm"]["why"] == "all of its 3 runs failed"
    assert len(found["failed"]) == 3
    page, markdown = texts(folder)
    assert "all 3 runs on own/Task-v0 failed" in page
    assert "it broke &lt;b&gt;" in page and "it broke &lt;b&gt;" in markdown


def test_one_failed_run_counts_as_nothing_learned(folder: Path) -> None:
    write_cell(folder, cell("ppo", seed=3, status="killed", error="too slow"))
    write_cell(folder, cell("grpo", seed=3, score=0.4))
    found = report(folder)
    task = found["tasks"][TASK]["agents"]["ppo"]
    assert task["score"]["value"] == pytest.approx((0.6 * 3 + 0.0) / 4)
    assert task["num_failed"] == 1


def test_a_folder_of_failures_alone_is_a_report_of_failures(tmp_path: Path) -> None:
    for seed in range(3):
        write_cell(tmp_path, cell(seed=seed, status="killed", evaluations={}))
    found = report(tmp_path)
    assert len(found["failed"]) == 3
    assert found["agents"]["ppo"]["iqm"]["value"] is None


def test_cells_of_other_anchors_are_left_out(folder: Path) -> None:
    old = Anchors("v0", SplitAnchors(9.0, 1.0, 0.5), SplitAnchors(9.0, 1.0, 0.5))
    write_cell(folder, cell("ppo", seed=1, anchors=old))
    found = report(folder)
    (problem,) = found["problems"]
    assert problem["kind"] == "anchors" and problem["place"] == f"ppo {TASK} 1"
    assert found["agents"]["ppo"]["num_runs"] == 2
    assert all("another version of the environment" in t for t in texts(folder))


def test_cells_of_another_budget_are_left_out(folder: Path) -> None:
    write_cell(folder, cell("ppo", seed=1, budget={"tokens": 10**6}))
    (problem,) = report(folder)["problems"]
    assert problem["kind"] == "budget" and "1,000,000 tokens" in problem["text"]


def test_anchors_that_were_stale_are_noted(folder: Path) -> None:
    made = {"commit": "abc", "machine": "m", "versions": {}}
    stale = made | {"environment": "v2"}
    write_cell(folder, cell("ppo", seed=1, score=0.6, provenance=stale))
    fresh = made | {"environment": "v1"}
    write_cell(folder, cell("ppo", seed=2, score=0.6, provenance=fresh))
    notes = [n for n in report(folder)["notes"] if "anchors were of another" in n]
    assert len(notes) == 1 and notes[0].startswith(f"{TASK}: 1 cells")


def test_mixed_commits_are_noted(folder: Path) -> None:
    other = {"commit": "def", "machine": "m", "versions": {}}
    write_cell(folder, cell("ppo", seed=1, score=0.6, provenance=other))
    found = report(folder)
    assert any("2 commits" in note for note in found["notes"])
    assert found["agents"]["ppo"]["iqm"]["value"] == pytest.approx(0.6)


def test_what_was_planned_and_is_not_there_is_missing(folder: Path) -> None:
    write_plan(folder, Plan(("ppo", "dapo"), (TASK,), (0, 1, 2)))
    found = report(folder)
    missing = [p["place"] for p in found["problems"] if p["kind"] == "missing"]
    assert missing == [f"dapo {TASK} {seed}" for seed in range(3)]
    assert found["agents"]["dapo"]["iqm"]["value"] is None


def test_a_torn_plan_is_named(folder: Path) -> None:
    (folder / "plan.json").write_text("{")
    (problem,) = report(folder)["problems"]
    assert (problem["place"], problem["kind"]) == ("plan.json", "torn")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "nothing", "There is no folder"),
        (lambda folder: folder, "holds no results"),
    ],
)
def test_a_folder_without_results_is_bad_input(
    tmp_path: Path, make: Any, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([str(make(tmp_path))]) == 2
    assert words in capsys.readouterr().err


def test_a_task_that_nobody_ran_is_bad_input(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([str(folder), "--tasks", "Echo-v0"]) == 2
    assert "no results of chat_envs/Echo-v0" in capsys.readouterr().err


def test_what_an_agent_is_bad_at_is_shown(folder: Path) -> None:
    found = report(folder)
    (row,) = found["weaknesses"]["grpo"]["tasks"]
    assert (row["task"], row["best"]) == (TASK, "ppo")
    page, markdown = texts(folder)
    assert "0.400, which is 0.200 [0.200, 0.200] behind ppo" in markdown
    assert 'id="weaknesses"' in page
