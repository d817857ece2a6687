"""The figures of the report, as SVG that stands inside a page and follows its colours.

Every figure is small, so that it can be read on a phone without being shrunk; wide screens show
several side
by side. Agents keep their colour and stroke from figure to figure; the page has the legend.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.analysis_curve import TASK_AXIS
from benchmarks.overoptimization_curve import smooth
from benchmarks.score import Floats, curve_on

__all__ = [
    "draw_curve",
    "draw_intervals",
    "draw_overoptimisation",
    "draw_profile",
    "draw_radar",
    "draw_task_curve",
    "style_of",
]

# Readable on white and on near black; strokes differ too, for whoever sees fewer colours.
COLOURS = (
    "#2f6fd6",
    "#d9602b",
    "#2a9d5c",
    "#b04bc4",
    "#b98a00",
    "#0d9aa8",
    "#e0457b",
    "#7a6ff0",
    "#848a94",
    "#7a9a1f",
)
STROKES = ("-", "--", ":", "-.")
# Stand-ins that the page's own colours take the place of.
_INK, _LINE = "#010203", "#040506"
_VARIABLES = {_INK: "var(--ink)", _LINE: "var(--line)"}
_SIZE = (4.2, 2.9)  # inches: about 400 pixels wide
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_NAMED = re.compile(r'(\bid="|url\(#|href="#)')

Styles = Mapping[str, Mapping[str, Any]]


def style_of(agents: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the colour and the stroke of each agent.

    >>> style_of(["ppo"])
    {'ppo': {'color': '#2f6fd6', 'linestyle': '-'}}
    """
    number = len(COLOURS)
    return {
        agent: {
            "color": COLOURS[i % number],
            "linestyle": STROKES[i // number % len(STROKES)],
        }
        for i, agent in enumerate(agents)
    }


def draw_intervals(analysis: Mapping[str, Any], name: str, styles: Styles) -> str:
    """Return one statistic of all agents with its intervals; "" where nobody has it."""
    agents = [a for a in styles if analysis["agents"][a][name]["value"] is not None]
    if not agents:
        return ""
    figure, axes = _plot((4.2, 0.7 + 0.28 * len(agents)), left=1.4)
    for place, agent in enumerate(reversed(agents)):
        found = analysis["agents"][agent][name]
        colour = styles[agent]["color"]
        axes.plot([found["low"], found["high"]], [place] * 2, color=colour, lw=5)
        axes.plot(found["value"], place, "o", color=_INK, ms=4)
    axes.set_yticks(range(len(agents)), [_short(a) for a in reversed(agents)])
    axes.set_ylim(-0.6, len(agents) - 0.4)
    return _svg(figure, f"intervals-{name}")


def draw_profile(analysis: Mapping[str, Any], styles: Styles) -> str:
    """Return the performance profiles; "" where nobody has one."""
    profile = analysis["profile"]
    if not profile["agents"]:
        return ""
    figure, axes = _plot()
    for agent, found in profile["agents"].items():
        _band(axes, profile["thresholds"], found, styles[agent])
    axes.set_xlabel("normalised score")
    axes.set_ylabel("share of runs above")
    axes.set_ylim(-0.02, 1.02)
    return _svg(figure, "profile")


def draw_curve(analysis: Mapping[str, Any], axis: str, styles: Styles) -> str:
    """Return the IQM along tokens, turns or seconds; "" where nobody has a curve."""
    curves = analysis["curves"].get(axis)
    if curves is None or all("why" in found for found in curves["agents"].values()):
        return ""
    figure, axes = _plot()
    for agent, found in curves["agents"].items():
        if "why" not in found:
            _band(axes, curves["grid"], found, styles[agent])
    _axis_of_steps(axes, axis)
    axes.set_ylabel("IQM")
    return _svg(figure, f"curve-{axis}")


def draw_task_curve(analysis: Mapping[str, Any], task: str, styles: Styles) -> str:
    """Return one task's mean scores along tokens, with the start models' as lines."""
    curves = analysis["curves"].get(TASK_AXIS)
    mine = {} if curves is None else curves["tasks"][task]
    if not any(mine.values()):
        return ""
    figure, axes = _plot((4.2, 2.4))
    for agent, values in mine.items():
        if values is not None:
            axes.plot(curves["grid"], values, lw=1.4, **styles[agent])
    for start in analysis["tasks"][task]["starts"].values():
        axes.axhline(start, color=_INK, lw=0.8, ls=(0, (1, 3)))
    axes.axhline(1.0, color=_LINE, lw=0.8)
    _axis_of_steps(axes, TASK_AXIS)
    return _svg(figure, f"task-{task}")


def draw_radar(analysis: Mapping[str, Any], styles: Styles) -> str:
    """Return the radar of the diagnostics; "" with fewer than three of them."""
    by_agent = {a: analysis["agents"][a]["diagnostics"] for a in styles}
    tasks = sorted({task for found in by_agent.values() for task in found})
    if len(tasks) < 3:
        return ""
    figure = Figure(figsize=(4.2, 4.0), layout="constrained")
    axes = figure.add_subplot(projection="polar")
    angles = np.linspace(0.0, 2.0 * np.pi, len(tasks), endpoint=False)
    for agent, found in by_agent.items():
        if len(found) == len(tasks):
            values = [found[task] for task in tasks]
            axes.plot(
                [*angles, angles[0]], [*values, values[0]], lw=1.4, **styles[agent]
            )
    axes.set_xticks(angles, [_short(_bare(task), 16) for task in tasks])
    axes.set_ylim(0.0, 1.0)
    axes.set_yticks([0.25, 0.5, 0.75, 1.0], ["", "0.5", "", "1"])
    _colour(axes)
    return _svg(figure, "radar")


def draw_overoptimisation(
    runs: Sequence[Mapping[str, Any]], task: str, styles: Styles
) -> str:
    """Return gold (thick) and proxy (thin) on one task by distance, a mean over runs an agent."""
    figure, axes = _plot()
    for agent in dict.fromkeys(run["agent"] for run in runs):
        mine = [run for run in runs if run["agent"] == agent]
        grid = np.linspace(0.0, min(max(run["distance"]) for run in mine), 40)
        for key, width in (("proxy", 0.8), ("gold", 2.0)):
            rows = [_along_distance(run, key, grid) for run in mine]
            axes.plot(grid, np.mean(rows, axis=0), lw=width, **styles[agent])
    axes.set_xlabel("d, root of the KL from the start (nats a reply)")
    axes.set_ylabel("mean return")
    return _svg(figure, f"gold-{task}")


def _along_distance(run: Mapping[str, Any], key: str, grid: Floats) -> Floats:
    order = np.argsort(run["distance"], kind="stable")
    values = smooth(np.asarray(run[key])[order])
    return curve_on(grid, np.asarray(run["distance"])[order], values)


def _plot(size: tuple[float, float] = _SIZE, left: float = 0.6) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size)
    # Fixed margins: a layout engine draws every figure several times over.
    wide, high = size
    figure.subplots_adjust(left / wide, 0.5 / high, 1 - 0.1 / wide, 1 - 0.15 / high)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=_LINE, lw=0.6)
    _colour(axes)
    return figure, axes


def _colour(axes: Axes) -> None:
    axes.patch.set_visible(False)
    axes.tick_params(colors=_INK, labelsize=9)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    axes.grid(color=_LINE, lw=0.6)
    for spine in axes.spines.values():
        spine.set_color(_LINE)


def _band(
    axes: Axes,
    places: Sequence[float],
    found: Mapping[str, Any],
    style: Mapping[str, Any],
) -> None:
    axes.fill_between(
        places, found["low"], found["high"], color=style["color"], alpha=0.15, lw=0
    )
    axes.plot(places, found["value"], lw=1.6, **style)


def _axis_of_steps(axes: Axes, axis: str) -> None:
    names = {
        "tokens": "generated tokens",
        "turns": "turns played",
        "seconds": "wall-clock seconds",
    }
    axes.set_xlabel(names[axis])
    axes.ticklabel_format(axis="x", style="sci", scilimits=(0, 5), useMathText=False)
    axes.xaxis.get_offset_text().set_color(_INK)


def _bare(task: str) -> str:
    return task.removeprefix("chat_envs/").removesuffix("-v0")


def _short(name: str, length: int = 18) -> str:
    # matplotlib would read what stands between two dollars as mathematics.
    text = name if len(name) <= length else f"{name[: length - 1]}\u2026"
    return text.replace("$", r"\$")


def _svg(figure: Figure, name: str) -> str:
    """Return the figure as text: the same for the same data, and with ids of its own."""
    figure.patch.set_visible(False)
    with matplotlib.rc_context(
        {
            # Without a fixed salt matplotlib draws random ids.
            "svg.hashsalt": "chat-envs",
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "font.size": 9,
        }
    ):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = _METADATA.sub("", buffer.getvalue())
    text = text[text.index("<svg") :]
    prefix = re.sub(r"\W", "-", name)
    text = _NAMED.sub(rf"\g<1>{prefix}-", text)
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, variable)
    return text
