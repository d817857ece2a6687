"""The published baselines: reports of the committed results, and the page that sums them up.

python -m benchmarks.baselines           # the reports and figures below docs/baselines
python -m benchmarks.figures             # docs/baselines.md, from those reports

The first reads every raw result and takes a while; the second reads `results.json` alone.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measurement import RESULTS
from benchmarks.report_figure import (
    draw_curve,
    draw_intervals,
    draw_profile,
    draw_radar,
    style_of,
)
from benchmarks.report_page import write_report
from benchmarks.report_text import start_kinds
from benchmarks.result_folder import read_results

__all__ = ["REPORTS", "main", "render_baselines", "write_baselines"]

REPORTS = Path(__file__).parent.parent / "docs" / "baselines"
_CORE, _DIAGNOSTICS, _REAL = "core", "diagnostics", "smollm2"
_INK = {"var(--ink)": "#333333", "var(--line)": "#cccccc"}
_SYMPTOMS = (
    "agent",
    "training − held-out goals",
    "mean − worst quarter of seeds",
    "greedy − sampled",
    "tokens to half of the expert",
    "distinct words: before → after",
    "tokens a reply: before → after",
    "perplexity under the start: before → after",
)


def write_baselines(results: Path = RESULTS, reports: Path = REPORTS) -> list[Path]:
    """Write the report of every results folder that is there; return its folders.

    Args:
        results: holds a folder a benchmark.
        reports: where to.
    """
    written = []
    for name in (_CORE, _DIAGNOSTICS, _REAL):
        if not (results / name).is_dir():
            continue
        report = write_report(read_results(results / name), reports / name)
        for figure, svg in _figures(report.analysis).items():
            path = reports / name / f"{figure}.svg"
            path.write_text(svg, encoding="utf-8")
        written.append(reports / name)
    return written


def _figures(analysis: Mapping[str, Any]) -> dict[str, str]:
    """Return the figures of a report as files of their own, in colours that any page shows."""
    styles = style_of(list(analysis["agents"]))
    drawn = {
        "iqm": draw_intervals(analysis, "iqm", styles),
        "profile": draw_profile(analysis, styles),
        "tokens": draw_curve(analysis, "tokens", styles),
        "radar": draw_radar(analysis, styles),
    }
    for variable, colour in _INK.items():
        drawn = {name: svg.replace(variable, colour) for name, svg in drawn.items()}
    return {name: svg for name, svg in drawn.items() if svg}


def render_baselines(reports: Path = REPORTS) -> str:
    """Return the measured part of docs/baselines.md, in Markdown."""
    found = {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name in (_CORE, _DIAGNOSTICS, _REAL)
        if (path := reports / name / "results.json").is_file()
    }
    parts = []
    if core := found.get(_CORE):
        parts += ["## The core suite, `tiny`", _protocol(core), _links(_CORE)]
        parts += [_aggregates(core), _image(_CORE, "iqm", "IQM with intervals")]
        parts += ["### Task by task", _tasks(core)]
        parts += ["### Negative controls", _controls(core)]
        parts += ["### What each algorithm is bad at", _weaknesses(core)]
        parts += ["Signs of it, means over tasks and runs:", _symptoms(core)]
    if diagnostics := found.get(_DIAGNOSTICS):
        parts += ["## Diagnostics", _protocol(diagnostics), _links(_DIAGNOSTICS)]
        parts += [_image(_DIAGNOSTICS, "radar", "radar of the diagnostics")]
        parts += [_tasks(diagnostics), _weaknesses(diagnostics)]
    if real := found.get(_REAL):
        parts += ["## A real model", _protocol(real), _links(_REAL), _tasks(real)]
    return "\n\n".join(part for part in parts if part)


def _protocol(analysis: Mapping[str, Any]) -> str:
    told = analysis["protocol"]
    seeds = len(told["seeds"])
    failed = len(analysis["failed"])
    return (
        f"{len(told['agents'])} agents, {len(told['tasks'])} tasks, {seeds} seeds, "
        f"{told['num_cells']} runs with controls and scripts, {failed} of them failed; budgets of "
        f"{told['budgets'][0].split()[0]} to {told['budgets'][-1]}. Scores are of "
        f"{' or '.join(map(str, told['episodes']))} held-out goals a run, replies sampled at "
        "temperature 1; 0 is the policy that reads nothing, 1 the scripted expert. In brackets: "
        "95% bootstrap intervals over runs within tasks."
    )


def _links(name: str) -> str:
    return (
        f"Everything else (curves, who beats whom, reliability, dialogues, the command that "
        f"repeats each run) is in [the report](baselines/{name}/report.html), as "
        f"[text](baselines/{name}/report.md) and as [numbers](baselines/{name}/results.json)."
    )


def _image(folder: str, figure: str, words: str) -> str:
    return f"![{words}](baselines/{folder}/{figure}.svg)"


def _by_iqm(analysis: Mapping[str, Any]) -> list[str]:
    agents = analysis["agents"]
    return sorted(agents, key=lambda a: -(agents[a]["iqm"]["value"] or 0.0))


def _aggregates(analysis: Mapping[str, Any]) -> str:
    columns = {
        "iqm": "IQM",
        "optimality_gap": "optimality gap",
        "gain_over_start": "gain over its start",
        "probability_of_improvement": "P(X > start)",
        "worst_quarter": "worst quarter of seeds",
    }
    rows = []
    for agent in _by_iqm(analysis):
        of = analysis["agents"][agent]
        rows.append([f"`{agent}`", *(_interval(of[name]) for name in columns)])
    return _table(["agent", *columns.values()], rows)


def _tasks(analysis: Mapping[str, Any]) -> str:
    agents = _by_iqm(analysis)
    kinds = start_kinds(analysis["tasks"])
    rows = []
    for task, found in analysis["tasks"].items():
        starts = [_number(found["starts"].get(kind)) for kind in kinds]
        scores = [_mean(found["agents"][agent]) for agent in agents]
        best = max((score for score in scores if score is not None), default=None)
        told = [
            f"**{_number(score)}**" if score == best else _number(score)
            for score in scores
        ]
        rows.append([f"`{_bare(task)}`", *starts, *told])
    heading = ["task", *(f"start: {kind}" for kind in kinds)]
    return _table([*heading, *(f"`{agent}`" for agent in agents)], rows)


def _mean(entry: Mapping[str, Any]) -> float | None:
    """Return the mean score of an agent's runs on a task, to the digits that are shown."""
    value = entry["score"]["value"]
    return None if value is None else round(value, 2)


def _controls(analysis: Mapping[str, Any]) -> str:
    rows = [
        [f"`{row['agent']}`", _interval(row["gain"], "+")]
        for row in analysis["controls"]
        if row["env"] is None
    ]
    return _table(["control", "rise over its start, all tasks"], rows) if rows else ""


def _weaknesses(analysis: Mapping[str, Any]) -> str:
    lines = []
    for agent in _by_iqm(analysis):
        found = analysis["weaknesses"][agent]
        behind = [
            f"`{_bare(row['task'])}` by {_interval(row['behind'])} (`{row['best']}`)"
            for row in found["tasks"]
        ]
        told = f"best on {found['num_best']} of {found['num_compared']} tasks"
        worse = f"; surely behind the best on {', '.join(behind)}" if behind else ""
        lines.append(f"- `{agent}`: {told}{worse}.")
    return "\n".join(lines)


def _symptoms(analysis: Mapping[str, Any]) -> str:
    rows = []
    for agent in _by_iqm(analysis):
        of = analysis["agents"][agent]
        health = [
            _change(of["language"], field)
            for field in ("distinct_1", "reply_length", "perplexity")
        ]
        rows.append(
            [
                f"`{agent}`",
                _interval(of["generalisation_gap"], "+"),
                _difference(of["mean"], of["worst_quarter"]),
                _difference(of["greedy_iqm"], of["iqm"]),
                _half(analysis["curves"]["tokens"]["agents"][agent]),
                *health,
            ]
        )
    return _table(_SYMPTOMS, rows)


def _change(language: Mapping[str, Mapping[str, float | None]], field: str) -> str:
    before, after = language["start"][field], language["final"][field]
    return f"{_number(before)} → {_number(after)}"


def _half(curve: Mapping[str, Any]) -> str:
    if "why" in curve:
        return ""
    half = curve["to_half"]
    reached = f"{half['num_reached']} of {half['n']} runs"
    return reached if half["value"] is None else f"{half['value']:,.0f}; {reached}"


def _difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    if first["value"] is None or second["value"] is None:
        return ""
    return f"{first['value'] - second['value']:+.2f}"


def _interval(found: Mapping[str, Any], sign: str = "") -> str:
    if found["value"] is None:
        return ""
    value, low, high = (
        format(found[end], f"{sign}.2f") for end in ("value", "low", "high")
    )
    return f"{value} [{low}, {high}]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _bare(task: str) -> str:
    return task.removeprefix("chat_envs/")


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    """Write the reports."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    for folder in write_baselines():
        print(folder.relative_to(REPORTS.parent.parent))


if __name__ == "__main__":
    main()
