"""The measured figures of the pages about rewards, made from results and never typed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measurement import RESULTS, newest, source_of

__all__ = ["render_overoptimization"]

_COLUMNS: Mapping[str, str] = {
    "kl": "KL at the end",
    "proxy_gain": "proxy: gain",
    "gold_start": "gold: start",
    "gold_best": "best",
    "gold_early_stop": "at 2 nats",
    "gold_end": "end",
    "index": "index",
}


def render_overoptimization(root: Path = RESULTS) -> str:
    """Return the table of docs/overoptimization.md, in Markdown."""
    result = newest("overoptimization", root)
    lines = [
        "Means over training seeds with 95% bootstrap intervals over seeds; KL in nats a reply; "
        "R² of the fits over all seeds' points, and the distance d at which the fitted gold "
        f"turns down ({source_of(result)}).",
        "",
        f"| proxy | seeds | {' | '.join(_COLUMNS.values())} | fit, learning: R² | turns at d "
        "| fit, best of n: R² | turns at d |",
        f"| --- |{' ---: |' * (len(_COLUMNS) + 5)}",
    ]
    for case, of in result["summary"].items():
        cells = [case.replace("_", " "), str(of["num_seeds"])]
        cells += [_interval(of[name]) for name in _COLUMNS]
        for kind in ("reinforcement", "best_of_n"):
            fit = of["fits"][kind]
            peak = fit["peak"]
            is_met = peak is not None and peak < 100.0
            cells += [f"{fit['r_squared']:.2f}", f"{peak:.1f}" if is_met else "never"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(of: Mapping[str, Any]) -> str:
    if of["mean"] is None:
        return "never rose"
    if of["low"] is None:
        return f"{of['mean']:.2f}"
    return f"{of['mean']:.2f} [{of['low']:.2f}, {of['high']:.2f}]"
