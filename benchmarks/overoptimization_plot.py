"""The plots of `benchmarks.overoptimization`: proxy and gold by distance from the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.overoptimization_curve import BEST_OF_N, REINFORCEMENT, Fit, smooth

__all__ = ["draw_curves"]

_COLUMNS = 4
_PROXY, _GOLD, _BEST = "#b35806", "#2166ac", "#762a83"


def draw_curves(result: Mapping[str, Any], path: Path) -> None:
    """Write one panel a case as SVG.

    Proxy and gold are gains over the start, each divided by the largest gain of the proxy in its
    case, so that reward models of any scale can be told from one another. Thin lines are seeds.

    Args:
        result: rows and summary, as `benchmarks.overoptimization --write` leaves them.
        path: of the file.
    """
    cases = list(result["summary"])
    num_rows = -(-len(cases) // _COLUMNS)
    figure = Figure(figsize=(3.4 * _COLUMNS, 2.7 * num_rows), layout="constrained")
    for number, case in enumerate(cases, 1):
        axes = figure.add_subplot(num_rows, _COLUMNS, number)
        rows = [row for row in result["rows"] if row["case"] == case]
        _draw_case(axes, rows, result["summary"][case]["fits"])
        axes.set_title(case.replace("_", " "), fontsize=10)
    figure.axes[0].legend(fontsize=7, frameon=False)
    figure.supxlabel("d, root of the KL from the start, nats a reply")
    figure.supylabel("gain over the start / the proxy's largest")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a fixed salt matplotlib draws random ids.
    with matplotlib.rc_context({"svg.hashsalt": "chat-envs", "svg.fonttype": "none"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_case(
    axes: Axes, rows: Sequence[Mapping[str, Any]], fits: Mapping[str, Any]
) -> None:
    start = {key: _mean(rows, "best_of_n", key, 0) for key in ("proxy", "gold")}
    largest = max(
        abs(point["proxy"] - start["proxy"]) for row in rows for point in row["curve"]
    )
    scale = 1.0 / largest if largest else 1.0
    for index, row in enumerate(rows):
        distance = np.sqrt(np.maximum(smooth([p["kl"] for p in row["curve"]]), 0.0))
        for key, colour in (("proxy", _PROXY), ("gold", _GOLD)):
            gain = smooth([p[key] for p in row["curve"]]) - start[key]
            label = f"{key}, learning" if index == 0 else None
            axes.plot(distance, gain * scale, color=colour, lw=0.8, label=label)
    points = rows[0]["best_of_n"]
    distance = np.sqrt([point["kl"] for point in points])
    gold = [_mean(rows, "best_of_n", "gold", k) for k in range(len(points))]
    axes.plot(
        distance,
        (np.array(gold) - start["gold"]) * scale,
        "o",
        ms=3,
        color=_BEST,
        label="gold, best of n",
    )
    for kind, colour in ((REINFORCEMENT, _GOLD), (BEST_OF_N, _BEST)):
        told = {name: fits[kind][name] for name in ("kind", "a", "b", "r_squared")}
        end = axes.get_xlim()[1] if kind == REINFORCEMENT else float(distance[-1])
        along = np.linspace(0.02, max(end, 0.1), 200)
        axes.plot(along, Fit(**told).value(along) * scale, ":", color=colour, lw=1.5)
    axes.axhline(0.0, color="0.8", lw=0.6, zorder=0)
    axes.tick_params(labelsize=7)


def _mean(rows: Sequence[Mapping[str, Any]], part: str, key: str, place: int) -> float:
    return float(np.mean([row[part][place][key] for row in rows]))
