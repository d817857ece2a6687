"""What the runs of an agent say beside their scores: tokens spent, trials of one goal, language."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks.cell import Cell
from benchmarks.language_health import HEALTH_FIELDS
from benchmarks.score import pass_hat_k

__all__ = [
    "mean_language",
    "mean_pass_hat_k",
    "mean_starts",
    "spending",
    "spending_warnings",
]

# What an agent trains, and so where it begins, by `family` in its cells' config.
_TRAINED = {
    "algorithm": "language model",
    "sft": "language model",
    "sb3": "small network",
}
_TOLERANCE = 0.1  # of the budget: algorithms end the rollout that they are in


def tokens_of(cell: Cell) -> float | None:
    """Return the reply tokens that a run generated; None where nobody counted."""
    if cell.config.get("family") == "sft":
        return 0.0
    return cell.curve.tokens[-1] if cell.curve and cell.curve.tokens else None


def spending(cells: Sequence[Cell]) -> dict[str, Any] | None:
    """Return what the runs of one task spent beside their budget, of those that are done.

    Returns:
        `budget`, `low` and `high` (tokens of the runs that spent the least and the most), and
        `is_off`, whether one of them is over 10% away from the budget; None where nobody counted.
    """
    spent = [
        (tokens, cell.budget["tokens"])
        for cell in cells
        if cell.status == "done" and "tokens" in cell.budget
        if (tokens := tokens_of(cell)) is not None
    ]
    if not spent:
        return None
    return {
        "budget": spent[0][1],  # comparable runs have the same
        "low": min(tokens for tokens, _ in spent),
        "high": max(tokens for tokens, _ in spent),
        "is_off": any(abs(t - budget) > _TOLERANCE * budget for t, budget in spent),
    }


def spending_warnings(by_task: Sequence[Sequence[Cell]]) -> list[str]:
    """Return what is unfair or unknown about an agent's tokens, given its runs of each task."""
    counted = [found for cells in by_task if (found := spending(cells)) is not None]
    shares = [found["high"] / found["budget"] for found in counted]
    over = [share for share in shares if share > 1 + _TOLERANCE]
    warnings = []
    if over:
        warnings.append(
            f"spent more than its budget on {len(over)} of {len(by_task)} tasks, up to "
            f"{max(over):.3g} times as many tokens"
        )
    if any(cell.config.get("family") == "own" for cells in by_task for cell in cells):
        warnings.append(
            "nobody counted its tokens: that it kept to the budget is its word"
        )
    return warnings


def mean_starts(cells: Iterable[Cell]) -> dict[str, float]:
    """Return what the models of a task scored before learning: a mean of each kind of model."""
    scores: dict[str, list[float]] = {}
    for cell in cells:
        score = cell.score("start")
        if score is not None:
            kind = _TRAINED.get(cell.config.get("family", ""), "model")
            scores.setdefault(kind, []).append(score)
    return {kind: float(np.mean(scores[kind])) for kind in sorted(scores)}


def mean_pass_hat_k(cells: Sequence[Cell]) -> dict[str, float]:
    """Return k -> pass^k, the mean over runs, for every k that all trials allow.

    A run that failed solved no goal.
    """
    trials = [
        cell.evaluations["final_trials"].trials()
        for cell in cells
        if cell.status == "done" and "final_trials" in cell.evaluations
    ]
    if not trials:
        return {}
    num_failed = sum(cell.status != "done" for cell in cells)
    most = min(min(number) for _, number in trials)
    return {
        str(k): float(
            np.mean([pass_hat_k(won, n, k) for won, n in trials] + [0.0] * num_failed)
        )
        for k in range(1, most + 1)
    }


def mean_language(cells: Sequence[Cell], when: str) -> dict[str, float | None]:
    """Return the mean over tasks of the mean over runs of every field."""
    found: dict[str, float | None] = {}
    for name in HEALTH_FIELDS:
        by_task: dict[str, list[float]] = {}
        for cell in cells:
            value = getattr(cell.language.get(when), name, None)
            if value is not None:
                by_task.setdefault(cell.env, []).append(value)
        means = [float(np.mean(values)) for values in by_task.values()]
        found[name] = float(np.mean(means)) if means else None
    return found
