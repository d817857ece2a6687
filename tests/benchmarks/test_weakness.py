"""What an agent is bad at, by the data: against numbers of one's own, and what is no evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.result_folder import read_results, write_cell
from benchmarks.run_table import settle
from benchmarks.weakness import find_weaknesses
from tests.benchmarks.synthetic_results import cell

A, B = "own/A-v0", "own/B-v0"


def weaknesses(
    folder: Path, scores: dict[tuple[str, str], list[float | None]]
) -> dict[str, dict[str, Any]]:
    """Return them of scores by agent and task, one a seed; None is a run that failed."""
    for (agent, env), runs in scores.items():
        for seed, score in enumerate(runs):
            status = "done" if score is not None else "failed"
            write_cell(folder, cell(agent, env, seed, score or 0.0, status=status))
    table = settle(read_results(folder))
    return find_weaknesses(table, sorted({a for a, _ in scores}), 0, 500)


def test_a_task_on_which_every_seed_is_behind_is_a_weakness(tmp_path: Path) -> None:
    found = weaknesses(
        tmp_path,
        {
            ("ppo", A): [0.9, 0.5, 0.1],
            ("grpo", A): [0.7, 0.2, 0.0],
            ("ppo", B): [0.1, 0.1, 0.1],
            ("grpo", B): [0.9, 0.9, 0.9],
        },
    )
    (row,) = found["grpo"]["tasks"]
    assert (row["task"], row["best"]) == (A, "ppo")
    assert row["score"] == pytest.approx(0.3) and row["best_score"] == pytest.approx(
        0.5
    )
    assert row["behind"]["value"] == pytest.approx(0.2)
    assert row["behind"]["low"] == pytest.approx(0.1)
    assert row["behind"]["n"] == 3
    assert [r["task"] for r in found["ppo"]["tasks"]] == [B]
    for agent in ("ppo", "grpo"):
        assert (found[agent]["num_compared"], found[agent]["num_best"]) == (2, 1)


def test_the_furthest_behind_comes_first(tmp_path: Path) -> None:
    found = weaknesses(
        tmp_path,
        {
            ("best", A): [0.5] * 3,
            ("best", B): [0.9] * 3,
            ("other", A): [0.4] * 3,
            ("other", B): [0.4] * 3,
        },
    )
    assert [row["task"] for row in found["other"]["tasks"]] == [B, A]
    assert found["best"] == {"tasks": [], "num_compared": 2, "num_best": 2}


def test_a_difference_that_changes_sign_is_no_evidence(tmp_path: Path) -> None:
    found = weaknesses(
        tmp_path, {("ppo", A): [0.9, 0.5, 0.5], ("grpo", A): [0.5, 0.6, 0.5]}
    )
    assert found["grpo"] == {"tasks": [], "num_compared": 1, "num_best": 0}


def test_a_failed_run_counts(tmp_path: Path) -> None:
    found = weaknesses(
        tmp_path, {("ppo", A): [0.5] * 4, ("grpo", A): [0.4, None, 0.4, 0.4]}
    )
    (row,) = found["grpo"]["tasks"]
    assert row["score"] == pytest.approx(0.3)


def test_too_few_runs_are_not_compared(tmp_path: Path) -> None:
    found = weaknesses(
        tmp_path, {("ppo", A): [0.9] * 3, ("grpo", A): [0.1] * 2, ("sft", A): [0.2] * 3}
    )
    assert found["grpo"] == {"tasks": [], "num_compared": 0, "num_best": 0}
    assert [row["best"] for row in found["sft"]["tasks"]] == ["ppo"]


def test_an_agent_alone_is_not_compared(tmp_path: Path) -> None:
    found = weaknesses(tmp_path, {("ppo", A): [0.9] * 3})
    assert found["ppo"] == {"tasks": [], "num_compared": 0, "num_best": 0}
