"""The measured figures of the pages about rewards, made from results and never typed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.pipeline import STEPS
from benchmarks.measurement import RESULTS, newest, source_of
from benchmarks.seed_row import seed_interval

__all__ = ["render_overoptimization", "render_pipelines", "render_reward_models"]

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
        cells += [_interval(of[name], "never rose") for name in _COLUMNS]
        for kind in ("reinforcement", "best_of_n"):
            fit = of["fits"][kind]
            peak = fit["peak"]
            is_met = peak is not None and peak < 100.0
            cells += [f"{fit['r_squared']:.2f}", f"{peak:.1f}" if is_met else "never"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def render_reward_models(root: Path = RESULTS) -> str:
    """Return the tables of docs/reward_model.md, in Markdown."""
    result = newest("reward_model", root)
    rows = result["rows"]
    rates = sorted({row["flip_rate"] for row in rows})
    num_seeds = len({row["seed"] for row in rows})
    num_pairs, *others = sorted({row["num_pairs"] for row in rows})
    if others:
        sizes = " and ".join(str(size) for size in (num_pairs, *others))
        raise ValueError(
            f"A table is of one size; the result has several sizes, {sizes} pairs."
        )
    lines = [
        f"Accuracy on held-out pairs of models that learned from {num_pairs:,} pairs, by the share "
        "of training labels that were turned round; means over "
        f"{num_seeds} training seed{'s' if num_seeds > 1 else ''} with 95% bootstrap intervals "
        f"over seeds ({source_of(result)}).",
        "",
        f"| pairs of | kind |{''.join(f' {rate:.0%} |' for rate in rates)}",
        f"| --- | --- |{' ---: |' * len(rates)}",
    ]
    for env, kind in dict.fromkeys((row["env"], row["kind"]) for row in rows):
        cells = [env.removeprefix("chat_envs/"), kind]
        for rate in rates:
            key = (env, kind, rate)
            right = [
                row["held_out"]["accuracy"]["mean"]
                for row in rows
                if (row["env"], row["kind"], row["flip_rate"]) == key
            ]
            cells.append(_interval(seed_interval(right)))
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "64 replies in one call and one by one, on the shape `tiny`:",
        "",
        "| prompts | one call, ms | one by one takes |",
        "| ---: | ---: | ---: |",
    ]
    for speed in result["batching"]:
        ratio = speed["alone_over_together"]
        lines.append(
            f"| {speed['num_prompts']} | {1e3 * speed['seconds_together']:.0f} "
            f"| {ratio['median']:.1f} [{ratio['low']:.1f}, {ratio['high']:.1f}] times as long |"
        )
    return "\n".join(lines)


def render_pipelines(root: Path = RESULTS) -> str:
    """Return the table of docs/pipeline.md, in Markdown: a column a file."""
    result = newest("pipeline_cost", root)
    rows = result["rows"]
    reports = [row["report"] for row in rows]
    table: dict[str, list[str]] = {}
    for step in STEPS:
        if not any(step in report["steps"] for report in reports):
            continue
        seconds = [report["steps"].get(step, {}).get("seconds") for report in reports]
        table[f"{step}, seconds"] = ["" if s is None else f"{s:.0f}" for s in seconds]
    table["processor time, seconds"] = [f"{row['cpu_seconds']:.0f}" for row in rows]
    table["memory at the most, GB"] = [f"{row['peak_bytes'] / 1e9:.2f}" for row in rows]
    for name in ("before", "after", "gain"):
        table[f"gold return: {name}"] = [_interval(r["gold"][name]) for r in reports]
    names = [report["config"]["name"] for report in reports]
    lines = [
        f"What the files of this page cost, and what they gain on gold ({source_of(result)}).",
        "",
        f"| | {' | '.join(names)} |",
        f"| --- |{' ---: |' * len(rows)}",
    ]
    return "\n".join(
        [*lines, *(f"| {k} | {' | '.join(v)} |" for k, v in table.items())]
    )


def _interval(of: Mapping[str, Any], missing: str = "none") -> str:
    if of["mean"] is None:
        return missing
    if of["low"] is None:
        return f"{of['mean']:.2f}"
    return f"{of['mean']:.2f} [{of['low']:.2f}, {of['high']:.2f}]"
