"""How the agents got where they are: scores along tokens, turns and seconds; gold against proxy.

Shape legend: N runs of a task, P places of the grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.cell import Cell
from benchmarks.overoptimization_curve import over_optimisation_index
from benchmarks.run_table import RowsError, RunTable, start_of
from benchmarks.score import (
    Floats,
    TooFewRunsError,
    area_weights,
    check_runs,
    curve_on,
    steps_to_reach,
)
from benchmarks.score_bootstrap import (
    estimate_half_reached,
    estimate_iqm_curve,
    generator,
)

__all__ = ["AXES", "TASK_AXIS", "analyse_curves", "over_optimisation", "points_of"]

AXES = ("tokens", "turns", "seconds")
TASK_AXIS = "tokens"  # of the curves of single tasks
NUM_PLACES = 31
NUM_REPLICATES = 1_000  # each replicate is a whole curve
LEVEL = 0.5  # half of what the expert scores


def points_of(table: RunTable, cell: Cell, axis: str) -> tuple[Floats, Floats] | None:
    """Return a run's steps on an axis and its normalised scores there; None if it has no curve.

    The start model's score stands at 0, if nothing else does. A run that failed is at what it
    counts as all along: it never led to a model.
    """
    if cell.status != "done":
        return np.zeros(1), np.array([table.score(cell)], float)
    if cell.curve is None:
        return None
    split = cell.curve.split
    steps, scores = [], []
    for step, value in zip(
        getattr(cell.curve, axis), cell.curve.mean_return, strict=True
    ):
        score = None if value is None else cell.normalise(value, split)
        if score is not None:
            steps.append(float(step))
            scores.append(score)
    peers = table.of(cell.agent, cell.env)
    start = start_of(cell, peers) if split == "test" else cell.score("start_train")
    if start is not None and (not steps or steps[0] > 0):
        steps.insert(0, 0.0)
        scores.insert(0, start)
    return (np.array(steps), np.array(scores)) if steps else None


def analyse_curves(table: RunTable, agents: Sequence[str], seed: int) -> dict[str, Any]:
    """Return for each axis the grid and each agent's IQM along it, area and steps to half.

    Infinite steps (never reached) are null; `num_reached` of `n` runs tells how many did. Of tokens
    the grid ends with the largest budget, whatever was spent beyond.
    """
    found: dict[str, Any] = {}
    cells = [c for a in agents for task in table.tasks for c in table.of(a, task)]
    for axis in AXES:
        runs = [points_of(table, cell, axis) for cell in cells]
        longest = max((float(p[0][-1]) for p in runs if p is not None), default=0.0)
        if axis == "tokens":
            budgets = [cell.budget.get(axis, math.inf) for cell in cells]
            longest = min(longest, max(budgets, default=math.inf))
        if longest <= 0:
            continue
        grid = np.linspace(0.0, longest, NUM_PLACES)
        found[axis] = {
            "grid": grid.tolist(),
            "agents": {a: _along(table, a, axis, grid, seed) for a in agents},
        }
        if axis == TASK_AXIS:
            found[axis]["tasks"] = {
                task: {a: _task_mean(table, a, task, axis, grid) for a in agents}
                for task in table.tasks
            }
    return found


def _curves(
    table: RunTable, agent: str, task: str, axis: str
) -> list[tuple[Floats, Floats]]:
    found = [points_of(table, cell, axis) for cell in table.of(agent, task)]
    return [points for points in found if points is not None]


def _along(
    table: RunTable, agent: str, axis: str, grid: Floats, seed: int
) -> dict[str, Any]:
    curves = {task: _curves(table, agent, task, axis) for task in table.tasks}
    n = sum(map(len, curves.values()))
    try:
        if lacking := [task for task, mine in curves.items() if not mine]:
            raise RowsError(f"no curve on {', '.join(lacking[:6])}")
        rows = [
            np.stack([curve_on(grid, *points) for points in mine])
            for mine in curves.values()
        ]
        check_runs(rows)
    except (RowsError, TooFewRunsError) as error:
        return {"why": str(error), "n": n}
    value, low, high, area = estimate_iqm_curve(
        rows,
        generator(seed, "curve", axis, agent),
        NUM_REPLICATES,
        area_weights(grid),
    )
    steps = [
        np.array([steps_to_reach(*points, LEVEL) for points in mine])
        for mine in curves.values()
    ]
    half = estimate_half_reached(
        steps, generator(seed, "half", axis, agent), NUM_REPLICATES
    )
    return {
        "value": np.round(value, 6).tolist(),
        "low": np.round(low, 6).tolist(),
        "high": np.round(high, 6).tolist(),
        "area": area.as_dict(),
        "to_half": {
            **{k: _finite(v) for k, v in half.as_dict().items()},
            "num_reached": int(sum(np.isfinite(row).sum() for row in steps)),
        },
    }


def _task_mean(
    table: RunTable, agent: str, task: str, axis: str, grid: Floats
) -> list[float] | None:
    """Return the mean over runs along the grid; None where there is no curve."""
    rows = [curve_on(grid, *points) for points in _curves(table, agent, task, axis)]
    if not rows:
        return None
    return [round(float(value), 4) for value in np.mean(rows, axis=0)]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def over_optimisation(table: RunTable, agents: Sequence[str]) -> list[dict[str, Any]]:
    """Return gold and proxy along d = sqrt(KL) for every run that noted both.

    `index` is the share of the gold gained that is lost again by the end; null where none was.
    """
    found = []
    for agent in agents:
        for task in table.tasks:
            for cell in table.of(agent, task):
                curve = cell.curve
                if curve is None or not (curve.kl and curve.gold and curve.proxy):
                    continue
                columns = zip(curve.kl, curve.gold, curve.proxy, strict=True)
                points = [
                    (math.sqrt(max(kl, 0.0)), gold, proxy)
                    for kl, gold, proxy in columns
                    if kl is not None and gold is not None and proxy is not None
                ]
                if len(points) < 2:
                    continue
                distance, gold, proxy = (list(c) for c in zip(*points, strict=True))
                found.append(
                    {
                        "agent": agent,
                        "env": task,
                        "seed": cell.seed,
                        "distance": distance,
                        "gold": gold,
                        "proxy": proxy,
                        "index": _finite(over_optimisation_index(gold)),
                    }
                )
    return found
