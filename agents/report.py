"""`report.html`: a run on one page that needs nothing else, for people."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from agents.checkpoint import DamagedFileError
from agents.evaluation import success_gain
from agents.experience.rollout import Episode
from agents.tracking import read_config, read_lines
from agents.train import RunScores
from agents.transcript import describe_episode, turns_of

__all__ = ["pick_pair", "write_report"]

_SMOOTHING = 5  # updates that the drawn mean spans
_DRAWN = ("num_timesteps", "success", "return")


def write_report(
    directory: Path,
    before: RunScores | None = None,
    after: RunScores | None = None,
    *,
    command: str = "",
) -> Path:
    """Write `report.html` into the directory of a run and return its path.

    Everything that a model or an environment wrote is escaped; the page loads nothing.

    Args:
        directory: of the run.
        before: scores of the start model, if there are any.
        after: scores of the trained model, if there are any.
        command: what a reader types to get the same.

    Raises:
        DamagedFileError: `config.json` or `metrics.jsonl` is damaged.
    """
    stored = read_config(directory / "config.json")
    figures = _read_figures(directory / "metrics.jsonl")
    pair = gain = None
    if before is not None and after is not None:
        pair = _sides(*pick_pair(before, after))
        gain = success_gain(before.sampled, after.sampled).as_dict()
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    template = environment.from_string(_template())
    page = template.render(
        name=directory.name,
        config=stored["config"],
        record=json.dumps(stored, indent=2, sort_keys=True),
        command=command,
        rows=_rows(before, after),
        gain=gain,
        curve=Markup(_curve(figures)) if len(figures["success"]) > 1 else None,
        pair=pair,
    )
    path = directory / "report.html"
    # Half of a surrogate pair, which UTF-8 lacks, is shown as the character of replacement.
    path.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")
    return path


def pick_pair(before: RunScores, after: RunScores) -> tuple[Episode, Episode]:
    """Return one goal's episode before and after: the first that only the trained model solved.

    Where there is none, the first goal of all: a report must not hide that nothing was learned.
    """
    pairs = list(zip(before.sampled.rollout, after.sampled.rollout, strict=True))
    gained = [pair for pair in pairs if pair[1].success and not pair[0].success]
    return (gained or pairs)[0]


def _template() -> str:
    return resources.files("agents").joinpath("report.html").read_text(encoding="utf-8")


def _rows(before: RunScores | None, after: RunScores | None) -> list[dict[str, Any]]:
    return [
        {"model": model, "replies": replies, "result": result.as_dict()}
        for model, scores in (("before", before), ("after", after))
        if scores is not None
        for replies, result in (("sampled", scores.sampled), ("greedy", scores.greedy))
    ]


def _sides(before: Episode, after: Episode) -> list[dict[str, Any]]:
    sides = []
    for title, episode in (("Before", before), ("After", after)):
        record = describe_episode(episode)
        sides.append({"title": title, "record": record, "turns": turns_of(record)})
    return sides


def _read_figures(path: Path) -> dict[str, list[float]]:
    """Return what is drawn, name -> one number an update; NaN where one is unknown."""
    figures: dict[str, list[float]] = {name: [] for name in _DRAWN}
    for number, line in enumerate(read_lines(path), 1):
        for name in _DRAWN:
            value = line.get(name, "absent")
            if value is not None and not isinstance(value, int | float):
                raise DamagedFileError(
                    f"{path}:{number} is damaged: {name} is {value!r}, no number."
                )
            figures[name].append(float("nan") if value is None else float(value))
    return figures


def _curve(figures: Mapping[str, Sequence[float]]) -> str:
    """Return success and return over turns as SVG; the same figures give the same text."""
    turns = figures["num_timesteps"]
    # Without a fixed salt matplotlib draws random ids.
    with matplotlib.rc_context({"svg.hashsalt": "chat-envs", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 3), layout="constrained")
        for place, name in enumerate(("success", "return"), 1):
            values = figures[name]
            axes = figure.add_subplot(1, 2, place)
            axes.plot(turns, values, color="#b9cdf5", linewidth=1)
            axes.plot(turns, _smooth(values), color="#2f62c9", linewidth=2)
            axes.set_xlabel("turns played")
            axes.set_title(name, fontsize=11)
            axes.grid(color="#e8ebef")
            axes.spines[["top", "right"]].set_visible(False)
            if name == "success":
                axes.set_ylim(-0.02, 1.02)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _smooth(values: Sequence[float]) -> list[float]:
    """Return the mean of each value and those just before it."""
    spans = [values[max(0, i + 1 - _SMOOTHING) : i + 1] for i in range(len(values))]
    return [sum(span) / len(span) for span in spans]
