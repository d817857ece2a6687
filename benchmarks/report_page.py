"""The report of a results folder: `report.html` for people, `report.md` for text, `results.json`.

The page is one file that loads nothing: its policy forbids every request and every script but
the one whose checksum it names. Everything that a model, a user or a file wrote is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from agents.tracking import plain_json
from benchmarks.analysis import analyse
from benchmarks.analysis_curve import AXES
from benchmarks.language_health import HEALTH_FIELDS
from benchmarks.report_figure import (
    draw_curve,
    draw_intervals,
    draw_overoptimisation,
    draw_profile,
    draw_radar,
    draw_task_curve,
    style_of,
)
from benchmarks.report_text import (
    COLUMNS,
    render_markdown,
    start_kinds,
    tokens_words,
    trial_numbers,
)
from benchmarks.result_folder import Results
from benchmarks.run_table import settle
from benchmarks.score_bootstrap import NUM_REPLICATES
from benchmarks.transcript_choice import choose_transcripts

__all__ = ["Written", "render_page", "write_report"]

_SECTIONS = {
    "problems": "What is wrong",
    "protocol": "Protocol",
    "aggregates": "Over all tasks",
    "reliability": "Reliability",
    "matrix": "Who beats whom",
    "tasks": "Task by task",
    "weaknesses": "What each agent is bad at",
    "curves": "On the way",
    "gold": "Gold against proxy",
    "language": "Language health",
    "diagnostics": "Diagnostics",
    "controls": "Negative controls",
    "hostile": "Hostile repliers",
    "failed": "Failed runs",
    "transcripts": "Transcripts",
}


@dataclass(frozen=True)
class Written:
    """Where a report was written, and what it is made of."""

    html: Path
    markdown: Path
    json: Path
    analysis: Mapping[str, Any]


def write_report(
    results: Results,
    directory: Path,
    *,
    tasks: Sequence[str] | None = None,
    seed: int = 0,
    num_replicates: int = NUM_REPLICATES,
) -> Written:
    """Write the three files of a report, the same bytes for the same results.

    Args:
        results: what `read_results` returned.
        directory: where to; created where it is missing.
        tasks: aggregate these alone; None takes all.
        seed: of the bootstrap.
        num_replicates: of the bootstrap.

    Raises:
        RowsError: a task is named that nobody ran.
    """
    analysis = analyse(results, tasks=tasks, seed=seed, num_replicates=num_replicates)
    table = settle(results, tasks)
    transcripts = choose_transcripts(table, analysis["protocol"]["agents"])
    title = results.path.resolve().name
    directory.mkdir(parents=True, exist_ok=True)
    page, markdown, record = (
        directory / name for name in ("report.html", "report.md", "results.json")
    )
    # Half of a surrogate pair, which UTF-8 lacks, is shown as the character of replacement.
    page.write_text(
        render_page(title, analysis, transcripts), "utf-8", errors="xmlcharrefreplace"
    )
    markdown.write_text(
        render_markdown(title, analysis), "utf-8", errors="backslashreplace"
    )
    text = json.dumps(plain_json(analysis), indent=1, sort_keys=True, allow_nan=False)
    record.write_text(text + "\n", encoding="ascii")
    return Written(page, markdown, record, analysis)


def render_page(
    name: str, analysis: Mapping[str, Any], transcripts: Sequence[Mapping[str, Any]]
) -> str:
    """Return the page as text."""
    script = _read("report.js")
    agents = analysis["agents"]
    styles = style_of(list(agents))
    diagnostics = sorted({t for found in agents.values() for t in found["diagnostics"]})
    values: dict[str, Any] = {
        **{k: analysis[k] for k in ("agents", "controls", "curves", "failed")},
        **{k: analysis[k] for k in ("notes", "problems", "protocol", "tasks")},
        "weaknesses": analysis["weaknesses"],
        "name": name,
        "matrix": analysis["probability_matrix"],
        "scripts": _best_scripts(analysis["scripts"]),
        "styles": styles,
        "columns": COLUMNS,
        "tokens_words": tokens_words,
        "start_kinds": start_kinds(analysis["tasks"]),
        "trial_numbers": trial_numbers(agents),
        "health": HEALTH_FIELDS,
        "has_language": _has_language(agents),
        "diagnostics": diagnostics,
        "has_diagnostics": bool(diagnostics),
        "radar": Markup(draw_radar(analysis, styles)),
        "transcripts": transcripts,
        "filters": _filters(transcripts),
        "policy": _policy(script),
        "script": Markup(script),
        **_figures(analysis, styles),
    }
    values["sections"] = _sections(values)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.from_string(_read("report.html")).render(values)


def _figures(
    analysis: Mapping[str, Any], styles: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    aggregates = [
        ("IQM", draw_intervals(analysis, "iqm", styles)),
        ("Optimality gap", draw_intervals(analysis, "optimality_gap", styles)),
        ("Performance profile", draw_profile(analysis, styles)),
    ]
    curves = [(f"IQM by {axis}", draw_curve(analysis, axis, styles)) for axis in AXES]
    tasks = [
        (task, draw_task_curve(analysis, task, styles)) for task in analysis["tasks"]
    ]
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for run in analysis["over_optimisation"]:
        runs.setdefault(run["env"], []).append(run)
    gold = [(env, draw_overoptimisation(m, env, styles)) for env, m in runs.items()]
    return {
        "aggregate_figures": _drawn(aggregates),
        "curve_figures": _drawn(curves),
        "task_figures": _drawn(tasks),
        "gold_figures": _drawn(gold),
        "indices": _indices(analysis["over_optimisation"]),
    }


def _drawn(figures: Sequence[tuple[str, str]]) -> list[tuple[str, Markup]]:
    return [(title, Markup(svg)) for title, svg in figures if svg]


def _indices(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Return agent -> task -> mean over-optimisation index of the runs that gained anything."""
    groups: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        group = groups.setdefault((run["agent"], run["env"]), [])
        if run["index"] is not None:
            group.append(run["index"])
    found: dict[str, dict[str, float | None]] = {}
    for (agent, env), values in groups.items():
        mean = math.fsum(values) / len(values) if values else None
        found.setdefault(agent, {})[env] = mean
    return found


def _best_scripts(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the best three scripts of each task; `results.json` has all."""
    kept: list[Mapping[str, Any]] = []
    for row in rows:  # by task, the best first
        if sum(other["env"] == row["env"] for other in kept) < 3:
            kept.append(row)
    return kept


def _has_language(agents: Mapping[str, Any]) -> bool:
    return any(
        value is not None
        for found in agents.values()
        for health in found["language"].values()
        for value in health.values()
    )


def _filters(
    transcripts: Sequence[Mapping[str, Any]],
) -> list[tuple[str, str, list[str]]]:
    def values(field: str) -> list[str]:
        return sorted({one[field] for one in transcripts})

    return [
        ("agent", "agent", values("agent")),
        ("env", "task", values("env")),
        ("kind", "chosen as", values("kind")),
        ("outcome", "outcome", ["success", "no success"]),
    ]


def _sections(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    there = {
        "problems": values["problems"] or values["notes"],
        "reliability": values["trial_numbers"],
        "matrix": len(values["agents"]) > 1,
        "weaknesses": any(w["num_compared"] for w in values["weaknesses"].values()),
        "curves": values["curve_figures"],
        "gold": values["gold_figures"],
        "language": values["has_language"],
        "diagnostics": values["has_diagnostics"],
        "controls": values["controls"],
        "hostile": values["scripts"],
        "failed": values["failed"],
        "transcripts": values["transcripts"],
    }
    return [(id, title) for id, title in _SECTIONS.items() if there.get(id, True)]


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest())
    return (
        "default-src 'none'; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest.decode('ascii')}'; base-uri 'none'; form-action 'none'"
    )


def _read(name: str) -> str:
    return resources.files("benchmarks").joinpath(name).read_text(encoding="utf-8")
