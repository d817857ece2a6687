"""The report as Markdown: the tables that a README, a page of documentation or a review takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "COLUMNS",
    "escape",
    "render_markdown",
    "start_kinds",
    "tokens_words",
    "trial_numbers",
]

COLUMNS = (
    ("iqm", "IQM"),
    ("optimality_gap", "optimality gap"),
    ("probability_of_improvement", "P(X > start)"),
    ("gain_over_start", "gain over start"),
    ("worst_quarter", "worst quarter"),
    ("greedy_iqm", "greedy IQM"),
    ("generalisation_gap", "generalisation gap"),
)
"""Field of an agent -> heading, in both forms of the report."""

_MOST_FAILED = 50


def escape(text: str) -> str:
    r"""Return text that Markdown shows as it is, in one line of a table.

    >>> escape("a|b <script>\n[x](y)")
    'a\\|b &lt;script&gt; \\[x\\](y)'
    """
    flat = " ".join(text.split())
    for sign in "\\`*_[]|#":
        flat = flat.replace(sign, f"\\{sign}")
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def render_markdown(name: str, analysis: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    parts = [
        [f"# {escape(name)}", ""],
        _protocol(analysis["protocol"]),
        _problems(analysis),
        _aggregates(analysis["agents"]),
        _reliability(analysis["agents"]),
        _matrix(analysis),
        _tasks(analysis),
        _weaknesses(analysis["weaknesses"]),
        _efficiency(analysis["curves"]),
        _controls(analysis["controls"]),
        _failed(analysis["failed"]),
    ]
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"


def _protocol(protocol: Mapping[str, Any]) -> list[str]:
    bootstrap = protocol["bootstrap"]
    return [
        f"{len(protocol['agents'])} agents, {len(protocol['tasks'])} tasks, seeds "
        f"{_list(protocol['seeds'])}; budget {_list(protocol['budgets'])}; "
        f"{_list(protocol['episodes'])} {_list(protocol['splits'])} episodes a run. A score of 0 "
        "is the policy that reads nothing, 1 the scripted expert; a run that failed counts as the "
        f"agent's worst on that task, at most {protocol['failed_score']:g}. In brackets: 95% "
        f"intervals, {bootstrap['kind']}, {bootstrap['replicates']:,} replicates.",
        "",
    ]


def _problems(analysis: Mapping[str, Any]) -> list[str]:
    problems = analysis["problems"]
    lines = [f"- {escape(note)}" for note in analysis["notes"]]
    lines += [
        f"- {escape(p['place'])} ({escape(p['kind'])}): {escape(p['text'])}"
        for p in problems
    ]
    if not lines:
        return []
    told = f"{len(problems)} cells or files are left out of every figure below."
    return [
        "## What is wrong or missing",
        "",
        *([told, ""] if problems else []),
        *lines,
        "",
    ]


def _aggregates(agents: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            escape(agent),
            *(_estimate(found[field]) for field, _ in COLUMNS),
            f"{found['num_done']} of {found['num_runs']}",
        ]
        for agent, found in agents.items()
    ]
    heading = ["agent", *(title for _, title in COLUMNS), "runs done"]
    warnings = [
        f"- {escape(agent)}: {escape('; '.join(found['warnings']))}"
        for agent, found in agents.items()
        if found["warnings"]
    ]
    spaced = ["", *warnings] if warnings else []
    return ["## Over all tasks", "", *_table(heading, rows), *spaced, ""]


def _reliability(agents: Mapping[str, Any]) -> list[str]:
    numbers = trial_numbers(agents)
    if not numbers:
        return []
    rows = [
        [escape(agent), *(_number(found["pass_hat_k"].get(k)) for k in numbers)]
        for agent, found in agents.items()
    ]
    heading = ["agent", *(f"pass^{k}" for k in numbers)]
    return [
        "## Reliability",
        "",
        "The chance that all of k trials of one held-out goal succeed, a mean over goals.",
        "",
        *_table(heading, rows),
        "",
    ]


def trial_numbers(agents: Mapping[str, Any]) -> list[str]:
    """Return the numbers of trials that some agent has a pass^k of, as they are spelled."""
    return sorted(
        {k for found in agents.values() for k in found["pass_hat_k"]}, key=int
    )


def start_kinds(tasks: Mapping[str, Any]) -> list[str]:
    """Return the kinds of models that runs of some task began from."""
    return sorted({kind for found in tasks.values() for kind in found["starts"]})


def _matrix(analysis: Mapping[str, Any]) -> list[str]:
    agents, matrix = list(analysis["agents"]), analysis["probability_matrix"]
    if len(agents) < 2:
        return []
    rows = [
        [escape(x), *("" if x == y else _estimate(matrix[x][y]) for y in agents)]
        for x in agents
    ]
    heading = ["P(X > Y)", *map(escape, agents)]
    return ["## Who beats whom", "", *_table(heading, rows), ""]


def _tasks(analysis: Mapping[str, Any]) -> list[str]:
    agents = list(analysis["agents"])
    kinds = start_kinds(analysis["tasks"])
    rows = []
    for task, found in analysis["tasks"].items():
        cells = []
        for agent in agents:
            entry = found["agents"][agent]
            lost = entry["num_failed"]
            told = f"; {lost} of {len(entry['runs'])} failed" if lost else ""
            cells.append(_estimate(entry["score"]) + told + _spending(entry["spent"]))
        starts = [_number(found["starts"].get(kind)) for kind in kinds]
        rows.append([escape(task), *starts, *cells])
    heading = ["task", *(f"start: {kind}" for kind in kinds), *map(escape, agents)]
    return ["## Task by task", "", *_table(heading, rows), ""]


def _spending(spent: Mapping[str, Any] | None) -> str:
    if spent is None or not spent["is_off"]:
        return ""
    return f"; spent {tokens_words(spent)}"


def tokens_words(spent: Mapping[str, Any]) -> str:
    """Return how many tokens runs spent, of how many.

    >>> tokens_words({"low": 1024, "high": 1024, "budget": 200})
    '1,024 of 200 tokens'
    """
    ends = dict.fromkeys(f"{spent[end]:,.0f}" for end in ("low", "high"))
    return f"{' to '.join(ends)} of {spent['budget']:,.0f} tokens"


def _weaknesses(weaknesses: Mapping[str, Any]) -> list[str]:
    if not any(found["num_compared"] for found in weaknesses.values()):
        return []
    lines = []
    for agent, found in weaknesses.items():
        told = f"the best on {found['num_best']} of {found['num_compared']} tasks"
        lines.append(f"- {escape(agent)}: {told}{';' if found['tasks'] else '.'}")
        lines += [
            f"  - {escape(row['task'])}: {_number(row['score'])}, which is "
            f"{_estimate(row['behind'])} behind {escape(row['best'])}"
            for row in found["tasks"]
        ]
    return [
        "## What each agent is bad at",
        "",
        "Tasks on which the 95% interval of its distance from the best agent there, run by run of "
        "one seed, lies above 0; the furthest behind first.",
        "",
        *lines,
        "",
    ]


def _efficiency(curves: Mapping[str, Any]) -> list[str]:
    lines = []
    for axis, found in curves.items():
        rows = []
        for agent, along in found["agents"].items():
            if "why" in along:
                rows.append([escape(agent), f"not shown: {escape(along['why'])}", ""])
                continue
            half = along["to_half"]
            reached = f"{half['num_reached']} of {half['n']} runs got there"
            by = "never" if half["value"] is None else f"{half['value']:,.0f}"
            rows.append([escape(agent), _estimate(along["area"]), f"{by}; {reached}"])
        heading = ["agent", "area under the curve", f"{axis} to half of the expert"]
        lines += [f"## By {axis}", "", *_table(heading, rows), ""]
    return lines


def _controls(controls: Sequence[Mapping[str, Any]]) -> list[str]:
    if not controls:
        return []
    rows = [
        [
            escape(row["agent"]),
            escape(row["env"] or "all tasks"),
            _estimate(row["gain"]),
            "rises" if row["rises"] else "",
        ]
        for row in controls
    ]
    heading = ["control", "task", "rise over the start", ""]
    return ["## Negative controls", "", *_table(heading, rows), ""]


def _failed(failed: Sequence[Mapping[str, Any]]) -> list[str]:
    if not failed:
        return []
    lines = [
        f"- {escape(row['agent'])} in {escape(row['env'])}, seed {row['seed']}: {row['status']}; "
        f"{escape(row['error'])[:300] or 'no error was kept'}"
        for row in failed[:_MOST_FAILED]
    ]
    more = len(failed) - _MOST_FAILED
    if more > 0:
        lines.append(f"- and {more} more; results.json names them all")
    return ["## Failed runs", "", *lines, ""]


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(heading) + " |", "|" + " --- |" * len(heading)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _estimate(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return f"not shown: {escape(found['why'])}"
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _list(values: Sequence[Any]) -> str:
    return ", ".join(escape(str(value)) for value in values) or "not stated"
