"""What each agent is bad at: the tasks on which it is surely below the best, by the data alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.run_table import RunTable
from benchmarks.score import MIN_RUNS
from benchmarks.score_bootstrap import estimate_mean, generator

__all__ = ["find_weaknesses"]


def find_weaknesses(
    table: RunTable, agents: Sequence[str], seed: int, num_replicates: int
) -> dict[str, dict[str, Any]]:
    """Return for each agent the tasks on which the best agent there is above it.

    The best of a task is who has the highest mean score. The difference is of runs of one seed,
    which began alike; a task counts if the 95% interval of its mean lies above 0. With many tasks
    one in forty counts by chance alone; and who was picked as the best was lucky too.

    Args:
        table: the comparable cells.
        agents: whom to look at.
        seed: of the bootstrap.
        num_replicates: of the bootstrap.

    Returns:
        Agent -> `tasks`, records of `task`, `best` (an agent), `score`, `best_score` and `behind`
        (an estimate), the furthest behind first; `num_compared`, of how many tasks; and
        `num_best`, on how many it is the best itself.
    """
    found: dict[str, dict[str, Any]] = {
        agent: {"tasks": [], "num_compared": 0, "num_best": 0} for agent in agents
    }
    for task in table.tasks:
        scores = {agent: _by_seed(table, agent, task) for agent in agents}
        scores = {a: runs for a, runs in scores.items() if len(runs) >= MIN_RUNS}
        if len(scores) < 2:
            continue
        means = {a: float(np.mean(list(runs.values()))) for a, runs in scores.items()}
        best = min(means, key=lambda agent: (-means[agent], agent))
        found[best]["num_compared"] += 1
        found[best]["num_best"] += 1
        for agent in scores:
            common = sorted(scores[agent].keys() & scores[best].keys())
            if agent == best or len(common) < MIN_RUNS:
                continue
            found[agent]["num_compared"] += 1
            row = np.array([scores[best][s] - scores[agent][s] for s in common])
            rng = generator(seed, "weakness", agent, task)
            behind = estimate_mean([row], rng, num_replicates)
            if behind.low > 0:
                found[agent]["tasks"].append(
                    {
                        "task": task,
                        "best": best,
                        "score": means[agent],
                        "best_score": means[best],
                        "behind": behind.as_dict(),
                    }
                )
    for record in found.values():
        record["tasks"].sort(key=lambda row: (-row["behind"]["value"], row["task"]))
    return found


def _by_seed(table: RunTable, agent: str, task: str) -> dict[int, float]:
    """Return the score of each run that has one, failed ones included."""
    scored = {cell.seed: table.score(cell) for cell in table.of(agent, task)}
    return {seed: score for seed, score in scored.items() if score is not None}
