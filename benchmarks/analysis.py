"""All figures of a results folder, as one plain record: `results.json`, which the pages show.

A statistic that cannot be shown (too few runs, a task without a score) is there all the same, with
null for its value and the reason as `why`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.analysis_curve import analyse_curves, over_optimisation
from benchmarks.cell import FINAL, Cell
from benchmarks.cell_summary import (
    mean_language,
    mean_pass_hat_k,
    mean_starts,
    spending,
    spending_warnings,
)
from benchmarks.result_folder import Results
from benchmarks.run_table import FAILED_SCORE, RowsError, RunTable, settle, tags_of
from benchmarks.score import MIN_RUNS, Floats, TooFewRunsError, check_runs
from benchmarks.score_bootstrap import (
    NUM_REPLICATES,
    Estimate,
    estimate_gap,
    estimate_improvement,
    estimate_iqm,
    estimate_mean,
    estimate_profile,
    estimate_worst_quarter,
    generator,
)
from benchmarks.weakness import find_weaknesses

__all__ = ["analyse", "shown"]

VERSION = 1
_THRESHOLDS = np.round(np.linspace(-0.25, 1.25, 61), 4)


def shown(compute: Callable[[], Estimate], num_runs: int) -> dict[str, Any]:
    """Return an estimate as JSON; where it is refused, null and the reason."""
    try:
        return compute().as_dict()
    except (RowsError, TooFewRunsError) as error:
        nothing = {"value": None, "low": None, "high": None}
        return {**nothing, "n": num_runs, "why": str(error)}


def analyse(
    results: Results,
    *,
    tasks: Sequence[str] | None = None,
    seed: int = 0,
    num_replicates: int = NUM_REPLICATES,
) -> dict[str, Any]:
    """Return every figure of the report.

    Args:
        results: of a folder.
        tasks: aggregate these alone; None takes all.
        seed: of the bootstrap; the same results and seed give the same figures.
        num_replicates: of the bootstrap.

    Raises:
        RowsError: a task is named that nobody ran.
    """
    table = settle(results, tasks)
    agents = [a for a in results.agents if not _is_of_others(a, results)]
    work = _Analysis(table, agents, seed, num_replicates)
    return {
        "version": VERSION,
        "protocol": _protocol(table, agents, seed, num_replicates),
        "agents": {agent: work.agent(agent) for agent in agents},
        "tasks": {task: work.task(task) for task in table.tasks},
        "probability_matrix": work.matrix(),
        "profile": work.profile(),
        "curves": analyse_curves(table, agents, seed),
        "over_optimisation": over_optimisation(table, agents),
        "weaknesses": find_weaknesses(table, agents, seed, num_replicates),
        "controls": work.controls(),
        "scripts": _scripts(table),
        "failed": [_failure(c) for c in _all(table) if c.status != "done"],
        "problems": [p.as_dict() for p in (*results.problems, *table.excluded)],
        "notes": list(table.notes),
    }


class _Analysis:
    """What all parts share: the table, the agents, and a generator for each statistic."""

    def __init__(
        self, table: RunTable, agents: Sequence[str], seed: int, num_replicates: int
    ) -> None:
        self.table, self.agents = table, agents
        self.seed, self.num_replicates = seed, num_replicates

    def _draw(self, *purpose: str) -> tuple[np.random.Generator, int]:
        return generator(self.seed, *purpose), self.num_replicates

    def _rows(self, agent: str, name: str = FINAL) -> list[Floats]:
        rows = self.table.rows(agent, self.table.tasks, name)
        check_runs(rows)
        return rows

    def _gaps(self, agent: str) -> list[Floats]:
        """Return one row a task of the score on training goals minus that on held-out ones."""
        rows = []
        for task in self.table.tasks:
            pairs = [
                (cell.score("final_train"), cell.score())
                for cell in self.table.of(agent, task)
                if cell.status == "done"
            ]
            rows.append(
                np.array([a - b for a, b in pairs if a is not None and b is not None])
            )
        if not rows or not all(map(len, rows)):
            raise RowsError("no score on training goals")
        check_runs(rows)
        return rows

    def agent(self, agent: str) -> dict[str, Any]:
        """Return the aggregates of one agent."""
        cells = [c for task in self.table.tasks for c in self.table.of(agent, task)]
        return {
            "num_runs": len(cells),
            "num_done": sum(cell.status == "done" for cell in cells),
            "num_failed": sum(cell.status != "done" for cell in cells),
            **{
                name: shown(compute, len(cells))
                for name, compute in self._statistics(agent).items()
            },
            "pass_hat_k": mean_pass_hat_k(cells),
            "language": {
                when: mean_language(cells, when) for when in ("final", "start")
            },
            "diagnostics": self._diagnostics(agent),
            "warnings": self._warnings(agent, cells),
        }

    def _statistics(self, agent: str) -> dict[str, Callable[[], Estimate]]:
        def of(
            name: str,
            estimate: Callable[..., Estimate],
            *rows: Callable[[], list[Floats]],
        ) -> Callable[[], Estimate]:
            return lambda: estimate(
                *(read() for read in rows), *self._draw(name, agent)
            )

        def final() -> list[Floats]:
            return self._rows(agent)

        def start() -> list[Floats]:
            return self.table.rows(agent, self.table.tasks, "start")

        def gains() -> list[Floats]:
            self._rows(agent)  # refuses what the final scores are refused for
            return self.table.gains(agent, self.table.tasks)

        return {
            "iqm": of("iqm", estimate_iqm, final),
            "optimality_gap": of("gap", estimate_gap, final),
            "probability_of_improvement": of(
                "improvement", estimate_improvement, final, start
            ),
            "mean": of("mean", estimate_mean, final),
            "gain_over_start": of("gain", estimate_mean, gains),
            "worst_quarter": of("worst", estimate_worst_quarter, final),
            "start_iqm": of("start", estimate_iqm, start),
            "greedy_iqm": of(
                "greedy", estimate_iqm, lambda: self._rows(agent, "final_greedy")
            ),
            "generalisation_gap": of(
                "generalisation", estimate_mean, lambda: self._gaps(agent)
            ),
        }

    def _warnings(self, agent: str, cells: Sequence[Cell]) -> list[str]:
        found = []
        try:
            found.append(check_runs(self.table.rows(agent, self.table.tasks)))
        except (RowsError, TooFewRunsError, ValueError) as error:
            found.append(f"no aggregate: {error}")
        for task in self.table.tasks:
            mine = self.table.of(agent, task)
            if mine and all(cell.status != "done" for cell in mine):
                found.append(f"all {len(mine)} runs on {task} failed")
        if num_failed := sum(cell.status != "done" for cell in cells):
            found.append(
                f"{num_failed} of {len(cells)} runs failed and count as its worst there, at "
                f"most {FAILED_SCORE:g}"
            )
        by_task = [self.table.of(agent, task) for task in self.table.tasks]
        found += spending_warnings(by_task)
        return [text for text in found if text]

    def _diagnostics(self, agent: str) -> dict[str, float]:
        found = {}
        for task in self.table.tasks:
            scores = self.table.scores(agent, task)
            if "diagnostic" in tags_of(task) and len(scores):
                found[task] = float(np.clip(scores, 0.0, 1.0).mean())
        return found

    def task(self, task: str) -> dict[str, Any]:
        """Return what every agent scored on a task, and what the start models did."""
        cells = [cell for agent in self.agents for cell in self.table.of(agent, task)]
        return {
            "tags": list(tags_of(task)),
            "starts": mean_starts(cells),
            "agents": {agent: self._entry(agent, task) for agent in self.agents},
        }

    def _entry(self, agent: str, task: str) -> dict[str, Any]:
        cells = self.table.of(agent, task)

        def estimate() -> Estimate:
            rows = self.table.rows(agent, [task])
            check_runs(rows)
            return estimate_mean(rows, *self._draw("task", agent, task))

        return {
            "score": shown(estimate, len(cells)),
            "spent": spending(cells),
            "num_failed": sum(cell.status != "done" for cell in cells),
            "runs": [
                {
                    "seed": cell.seed,
                    "status": cell.status,
                    "score": cell.score() if cell.status == "done" else None,
                    "greedy": cell.score("final_greedy"),
                    "start": cell.score("start"),
                    "command": cell.command,
                }
                for cell in cells
            ],
        }

    def matrix(self) -> dict[str, dict[str, Any]]:
        """Return P(X > Y) of each agent X (a row) against each other agent Y."""
        found: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        for i, x in enumerate(self.agents):
            for y in self.agents[i + 1 :]:

                def estimate(x: str = x, y: str = y) -> Estimate:
                    rows = self._rows(x), self._rows(y)
                    return estimate_improvement(*rows, *self._draw("matrix", x, y))

                n = [len(self.table.of(a, t)) for a in (x, y) for t in self.table.tasks]
                won = shown(estimate, sum(n))
                found[x][y], found[y][x] = won, _reversed(won)
        return found

    def profile(self) -> dict[str, Any]:
        """Return the performance profiles of the agents that have one."""
        found = {}
        for agent in self.agents:
            try:
                rows = self._rows(agent)
            except (RowsError, TooFewRunsError):
                continue  # the agent's warnings say why
            drawn = self._draw("profile", agent)
            parts = estimate_profile(rows, _THRESHOLDS, *drawn)
            names = ("value", "low", "high")
            found[agent] = {
                k: np.round(v, 6).tolist() for k, v in zip(names, parts, strict=True)
            }
        return {"thresholds": _THRESHOLDS.tolist(), "agents": found}

    def controls(self) -> list[dict[str, Any]]:
        """Return the rise of each negative control over its start: over all tasks, then by task.

        Of forty intervals of 95% one lies above 0 by chance: what must not rise is the mean over
        all tasks.
        """
        gains: dict[str, dict[str, list[float]]] = {}
        for cell in self.table.others:
            if cell.kind == "control":
                mine = gains.setdefault(cell.agent, {}).setdefault(cell.env, [])
                final, start = cell.score(), cell.score("start")
                if final is not None and start is not None:
                    mine.append(final - start)
        found = []
        for agent, by_task in sorted(gains.items()):
            for env in (None, *sorted(by_task)):
                rows = [by_task[env]] if env else list(by_task.values())
                gain = self._rise(agent, env or "", [np.array(row) for row in rows])
                rises = gain["low"] is not None and gain["low"] > 0
                found.append({"agent": agent, "env": env, "gain": gain, "rises": rises})
        return found

    def _rise(self, agent: str, env: str, rows: list[Floats]) -> dict[str, Any]:
        def estimate() -> Estimate:
            if min(map(len, rows)) < MIN_RUNS:
                raise TooFewRunsError(f"{min(map(len, rows))} runs with scores")
            return estimate_mean(rows, *self._draw("control", agent, env))

        return shown(estimate, sum(map(len, rows)))


def _reversed(won: Mapping[str, Any]) -> dict[str, Any]:
    """Return P(Y > X) = 1 - P(X > Y)."""
    if won["value"] is None:
        return dict(won)
    return {
        "value": 1.0 - won["value"],
        "low": 1.0 - won["high"],
        "high": 1.0 - won["low"],
        "n": won["n"],
    }


def _is_of_others(agent: str, results: Results) -> bool:
    """Whether an agent has cells, and none of them as a learner."""
    kinds = {cell.kind for cell in results.cells if cell.agent == agent}
    return bool(kinds) and "learner" not in kinds


def _all(table: RunTable) -> list[Cell]:
    learners = [
        cell
        for by_task in table.cells.values()
        for by_seed in by_task.values()
        for cell in by_seed.values()
    ]
    return [*learners, *table.others]


def _failure(cell: Cell) -> dict[str, Any]:
    names = ("agent", "env", "seed", "kind", "status", "error", "command")
    return {name: getattr(cell, name) for name in names}


def _scripts(table: RunTable) -> list[dict[str, Any]]:
    """Return what scripts score, by task and the best first: hostile repliers among them."""
    groups: dict[tuple[str, str], list[float]] = {}
    for cell in table.others:
        score = cell.score()
        if cell.kind == "script" and cell.status == "done" and score is not None:
            groups.setdefault((cell.env, cell.agent), []).append(score)
    rows = [
        {"env": env, "agent": agent, "score": math.fsum(s) / len(s), "n": len(s)}
        for (env, agent), s in groups.items()
    ]
    return sorted(rows, key=lambda row: (row["env"], -row["score"], row["agent"]))


def _protocol(
    table: RunTable, agents: Sequence[str], seed: int, num_replicates: int
) -> dict[str, Any]:
    cells = _all(table)
    finals = [c.evaluations[FINAL] for c in cells if FINAL in c.evaluations]
    budgets = {(value, name) for cell in cells for name, value in cell.budget.items()}
    return {
        "agents": list(agents),
        "tasks": list(table.tasks),
        "seeds": sorted({c.seed for c in cells if c.kind == "learner"}),
        "num_cells": len(cells),
        "budgets": [f"{value:,.12g} {name}" for value, name in sorted(budgets)],
        "episodes": sorted({len(final.returns) for final in finals}),
        "splits": sorted({final.split for final in finals}),
        "anchors": {
            cell.env: cell.anchors.version for cell in cells if cell.anchors is not None
        },
        "commits": sorted({str(c.provenance.get("commit")) for c in cells}),
        "machines": sorted({str(c.provenance.get("machine")) for c in cells}),
        "failed_score": FAILED_SCORE,
        "bootstrap": {
            "kind": "stratified percentile, runs within tasks",
            "interval": 0.95,
            "replicates": num_replicates,
            "seed": seed,
        },
    }
