"""Two agents side by side: the difference run by run, paired by task and seed.

Pairing takes out what two runs of one seed share (the start model, the order of the goals), so a
difference is seen that the two intervals by themselves would hide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.analysis import shown
from benchmarks.cell import FINAL, Cell, Evaluation
from benchmarks.head_to_head import HeadToHead, head_to_head, win_shares
from benchmarks.result_folder import Plan, Problem, Results, is_about
from benchmarks.run_table import RowsError, RunTable, settle
from benchmarks.score import Floats, check_runs
from benchmarks.score_bootstrap import (
    NUM_REPLICATES,
    Estimate,
    estimate_improvement,
    estimate_mean,
    generator,
)

__all__ = ["compare_agents", "join_results"]

Pair = tuple[Cell, Cell]
Sides = tuple[Floats, Floats]  # (N,) scores of either agent


def join_results(
    one: Results, agent: str, other: Results, other_agent: str, labels: tuple[str, str]
) -> Results:
    """Return the runs of two agents, maybe of two folders, as the runs of one.

    Args:
        one: where the first agent is.
        agent: its name there.
        other: where the second is; may be the same folder.
        other_agent: its name there.
        labels: what they are called in what is returned; they must differ.
    """
    cells: list[Cell] = []
    problems: list[Problem] = []
    for results, name, label in (
        (one, agent, labels[0]),
        (other, other_agent, labels[1]),
    ):
        cells += [replace(c, agent=label) for c in results.cells if c.agent == name]
        problems += [p for p in results.problems if is_about(p, name)]
    plan = Plan(labels, tuple(sorted({cell.env for cell in cells})), ())
    return Results(one.path, tuple(cells), tuple(dict.fromkeys(problems)), plan)


def compare_agents(
    results: Results,
    first: str,
    second: str,
    *,
    tasks: Sequence[str] | None = None,
    seed: int = 0,
    num_replicates: int = NUM_REPLICATES,
) -> dict[str, Any]:
    """Return the first agent's score minus the second's, per task and overall, with intervals.

    Runs without a partner are left out and named. Overall, every task weighs the same.

    Args:
        results: that have both agents.
        first: an agent.
        second: another one.
        tasks: only these; None takes those that both ran.
        seed: of the bootstrap.
        num_replicates: of the bootstrap.

    Raises:
        RowsError: no run of the first has a partner.
    """
    table = settle(results, tasks)
    pairs: dict[str, list[Pair]] = {}
    unpaired: list[str] = []
    for task in table.tasks:
        if found := _pairs(table, first, second, task, unpaired):
            pairs[task] = found
    if not pairs:
        left_out = "; ".join(f"{p.place}: {p.text}" for p in table.excluded[:3])
        raise RowsError(
            f"no run of {first} has a partner of {second} with the same task and seed"
            + (f" ({left_out})" if left_out else "")
        )
    n = sum(map(len, pairs.values()))
    draw = (seed, num_replicates)
    scores = {task: _scores(table, mine) for task, mine in pairs.items()}
    return {
        "first": first,
        "second": second,
        "overall": shown(lambda: _mean_difference(scores, *draw), n),
        "probability_of_improvement": shown(lambda: _improvement(scores, *draw), n),
        "tasks": {
            task: _describe(task, mine, scores[task], *draw)
            for task, mine in pairs.items()
        },
        "unpaired": unpaired,
        "problems": [p.as_dict() for p in (*results.problems, *table.excluded)],
        "notes": list(table.notes),
    }


def _mean_difference(
    scores: Mapping[str, Sides], seed: int, num_replicates: int
) -> Estimate:
    rows = [first - second for first, second in scores.values()]
    check_runs(rows)
    return estimate_mean(rows, generator(seed, "compare", *scores), num_replicates)


def _improvement(
    scores: Mapping[str, Sides], seed: int, num_replicates: int
) -> Estimate:
    first, second = ([sides[i] for sides in scores.values()] for i in (0, 1))
    check_runs(first)
    rng = generator(seed, "compare improvement", *scores)
    return estimate_improvement(first, second, rng, num_replicates)


def _describe(
    task: str, pairs: Sequence[Pair], scores: Sides, seed: int, num_replicates: int
) -> dict[str, Any]:
    def difference() -> Estimate:
        return _mean_difference({task: scores}, seed, num_replicates)

    return {
        "difference": shown(difference, len(pairs)),
        "first": float(scores[0].mean()),
        "second": float(scores[1].mean()),
        "num_failed": [sum(pair[i].status != "done" for pair in pairs) for i in (0, 1)],
        "head_to_head": _head_to_head(pairs, seed, task),
    }


def _scores(table: RunTable, pairs: Sequence[Pair]) -> Sides:
    """Return (N,) the scores of either agent's runs."""
    # A settled cell has anchors, and one that is done a known return: none is None.
    scores = np.array([[table.score(cell) for cell in pair] for pair in pairs], float)
    return scores[:, 0], scores[:, 1]


def _pairs(
    table: RunTable, first: str, second: str, task: str, unpaired: list[str]
) -> list[Pair]:
    """Return the runs of one seed of both agents; what has no partner goes to `unpaired`."""
    mine, others = (
        {cell.seed: cell for cell in table.of(agent, task)} for agent in (first, second)
    )
    for agent, here, there in ((first, mine, others), (second, others, mine)):
        unpaired += [
            f"{agent} {task} {seed}" for seed in sorted(here.keys() - there.keys())
        ]
    return [(mine[s], others[s]) for s in sorted(mine.keys() & others.keys())]


def _head_to_head(pairs: Sequence[Pair], seed: int, task: str) -> dict[str, Any] | None:
    """Return who wins on the same goals, of the runs that are done; None where none compare."""
    done = [
        (a.evaluations[FINAL], b.evaluations[FINAL])
        for a, b in pairs
        if a.status == b.status == "done"
    ]
    goals = _common_goals([side for pair in done for side in pair])
    if len(goals) < 2:
        return None
    sides = [
        np.stack([_by_goal(pair[i], pair[i].returns, goals) for pair in done])
        for i in (0, 1)
    ]
    gap = None
    if all(side.reply_tokens for pair in done for side in pair):
        lengths = [
            np.stack([_by_goal(pair[i], pair[i].reply_tokens, goals) for pair in done])
            for i in (0, 1)
        ]
        gap = lengths[0].mean(axis=0) - lengths[1].mean(axis=0)
        gap = gap if np.isfinite(gap).all() else None
    found: HeadToHead = head_to_head(
        win_shares(sides[0], sides[1]), generator(seed, "head to head", task), gap
    )
    return found.as_dict()


def _common_goals(evaluations: Sequence[Evaluation]) -> list[int]:
    """Return the episode seeds of which every evaluation knows every return."""
    if not evaluations:
        return []
    known = [
        set(e.seeds) - {s for s, r in zip(e.seeds, e.returns, strict=True) if r is None}
        for e in evaluations
    ]
    return sorted(set.intersection(*known))


def _by_goal(
    evaluation: Evaluation, values: Sequence[float | None], goals: Sequence[int]
) -> Floats:
    """Return (G,) the mean value on each goal; NaN where it is unknown."""
    index: dict[int, list[float]] = {goal: [] for goal in goals}
    for goal, value in zip(evaluation.seeds, values, strict=True):
        if goal in index:
            index[goal].append(np.nan if value is None else value)
    return np.array([np.mean(index[goal]) for goal in goals])
