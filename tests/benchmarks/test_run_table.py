"""Which cells are compared: failures count, and nothing of another kind is mixed in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cell import Cell
from benchmarks.result_folder import Plan, Results
from benchmarks.run_table import RowsError, RunTable, settle
from chat_envs import anchors
from tests.benchmarks.synthetic_results import OWN, cell, evaluation

TASK = "own/Task-v0"
OLD = replace(OWN, version="v0")


def results(*cells: Cell, plan: Plan | None = None) -> Results:
    return Results(Path("results"), cells, (), plan)


def table(*cells: Cell) -> RunTable:
    return settle(results(*cells))


def test_a_failed_run_counts_with_the_score_of_the_blind() -> None:
    found = table(cell(seed=0, score=0.75), cell(seed=1, status="killed"))
    assert found.scores("ppo", TASK).tolist() == [0.75, 0.0]


def test_no_agent_gains_by_failing() -> None:
    broken = cell(seed=1, status="killed")
    found = table(
        cell(seed=0, score=0.75),
        broken,
        cell(seed=2, score=-1.0),
        cell("grpo", seed=0, score=-2.0),
        cell(env="own/Other-v0", score=-3.0),
    )
    assert found.scores("ppo", TASK).tolist() == [0.75, -1.0, -1.0]
    assert found.score(broken, "final_greedy") == 0.0  # nobody has one that is lower


def test_a_failed_run_has_the_start_that_was_measured() -> None:
    found = table(cell(seed=0, status="failed", start=0.25), cell(seed=1, start=0.5))
    assert found.scores("ppo", TASK, "start").tolist() == [0.25, 0.5]
    assert found.gains("ppo", [TASK])[0].tolist() == [-0.25, 0.0]


def test_a_run_that_broke_before_its_start_was_measured_has_its_peers() -> None:
    found = table(
        cell(seed=0, status="failed", evaluations={}),
        cell(seed=1, start=0.5),
        cell(seed=2, start=0.25),
    )
    assert found.gains("ppo", [TASK])[0].tolist() == [-0.375, 0.0, 0.25]


def test_an_agent_without_one_run_that_is_done_has_no_rows() -> None:
    found = table(*(cell(seed=s, status="failed", evaluations={}) for s in range(4)))
    with pytest.raises(RowsError, match="all of its 4 runs failed"):
        found.rows("ppo", [TASK])


def test_a_task_without_a_score_is_named() -> None:
    found = table(cell(), cell("grpo", "own/Other-v0"))
    with pytest.raises(RowsError, match="no final score on own/Other-v0"):
        found.rows("ppo", found.tasks)
    with pytest.raises(RowsError, match="no final greedy score on own/Task-v0"):
        found.rows("ppo", [TASK], "final_greedy")


def test_cells_of_other_anchors_are_left_out_and_named() -> None:
    found = table(
        cell(seed=0), cell(seed=1, anchors=OLD), cell(seed=2), cell("grpo", seed=0)
    )
    assert [c.seed for c in found.of("ppo", TASK)] == [0, 2]
    (problem,) = found.excluded
    assert (problem.place, problem.kind) == ("ppo own/Task-v0 1", "anchors")
    assert "it has anchors v0, its task v1" in problem.text


def test_the_installed_anchors_win_over_the_most() -> None:
    env = "chat_envs/Echo-easy-v0"
    now = anchors.load(env)
    old = replace(now, version="older")
    cells = [cell(env=env, seed=s, anchors=old) for s in range(3)]
    found = table(*cells, cell(env=env, seed=3, anchors=now))
    assert [c.seed for c in found.of("ppo", env)] == [3]
    assert found.notes == ()
    # Where nobody has the installed ones, the older results stand together, and it is said.
    found = table(*cells)
    assert len(found.of("ppo", env)) == 3
    assert f"{env} was run with anchors older" in found.notes[0]
    assert "the environment has changed since" in found.notes[0]


def test_anchors_of_one_version_and_other_values_are_not_mixed() -> None:
    forged = replace(OWN, test=replace(OWN.test, expert=1.5))
    found = table(cell(seed=0), cell(seed=1), cell(seed=2, anchors=forged))
    assert [c.seed for c in found.of("ppo", TASK)] == [0, 1]
    assert "not their values" in found.excluded[0].text


def test_a_task_without_anchors_has_no_scores_and_says_so() -> None:
    found = table(cell(anchors=None), cell(env="own/Other-v0"))
    assert [p.kind for p in found.excluded] == ["no anchors"]
    with pytest.raises(RowsError, match=f"no final score on {TASK}"):
        found.rows("ppo", found.tasks)


def test_another_budget_is_not_compared() -> None:
    rich = {"tokens": 2_000_000}
    found = table(cell(seed=0), cell(seed=1), cell(seed=2, budget=rich))
    assert [c.seed for c in found.of("ppo", TASK)] == [0, 1]
    assert "it could spend 2,000,000 tokens, most runs of its task 1,000 tokens" in (
        found.excluded[0].text
    )


def test_other_kinds_are_kept_apart() -> None:
    found = table(cell(), cell("shuffled", kind="control"), cell("x", kind="script"))
    assert list(found.cells) == ["ppo"]
    assert [c.agent for c in found.others] == ["shuffled", "x"]


def test_mixed_commits_and_unknown_returns_are_told() -> None:
    other = {"commit": "def", "machine": "m", "versions": {}}
    odd = {"final": evaluation([1.5, None])}
    found = table(cell(seed=0), cell(seed=1, provenance=other, evaluations=odd))
    assert found.notes[1] == "The cells are of 2 commits: abc (1 cells); def (1 cells)."
    assert "seed 1: 1 of 2 returns are unknown" in found.notes[2]


def test_tasks_can_be_chosen_and_an_unknown_one_is_refused() -> None:
    mine = results(cell(), cell(env="own/Other-v0"))
    assert settle(mine, ["own/Other-v0"]).tasks == ("own/Other-v0",)
    with pytest.raises(RowsError, match="no results of own/X-v0; there are own/Other"):
        settle(mine, ["own/X-v0"])


def test_a_planned_task_that_nobody_ran_is_a_task() -> None:
    plan = Plan(("ppo",), (TASK, "own/Other-v0"), (0,))
    assert settle(results(cell(), plan=plan)).tasks == ("own/Other-v0", TASK)
