"""Rows of a table of comparisons: what one side did, and how it compares with ours.

A row is plain JSON, so that a table can be made again from a result file by a command.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.limit import DeviceRate
from benchmarks.measurement import Comparison

__all__ = [
    "OURS",
    "Row",
    "limit_lines",
    "memory_lines",
    "missing_row",
    "rows_of",
    "table",
]

OURS = "ours"
Row = dict[str, Any]


def rows_of(comparison: Comparison, **labels: Any) -> list[Row]:
    """Return a row for each side of a comparison in seconds a token.

    Args:
        comparison: has the side `OURS`.
        **labels: put into every row, e.g. part="decode", shape="1m".

    Returns:
        Rows with `tokens_per_second` (of the median), `ratio` (their seconds over ours, so above 1
        ours is faster: median, least, greatest over the pairs) and the raw `seconds_a_token`.
    """
    rows = []
    for side, seconds in comparison.seconds.items():
        middle, least, greatest = comparison.ratio(side, OURS)
        rows.append(
            {
                **labels,
                "side": side,
                "tokens_per_second": 1 / statistics.median(seconds),
                "ratio": {"median": middle, "least": least, "greatest": greatest},
                "seconds_a_token": list(seconds),
            }
        )
    return rows


def missing_row(side: str, why: str, **labels: Any) -> Row:
    """Return the row of a side that was not measured; it says why."""
    return {**labels, "side": side, "why": why}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return `rows` as a Markdown table."""
    lines = [
        "| part | shape | rows | scenario | side | tokens/s | ours is faster by |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        labels = [row[key] for key in ("part", "shape", "num_rows", "scenario", "side")]
        lines.append("| " + " | ".join(map(str, [*labels, *_figures(row)])) + " |")
    return "\n".join(lines)


def _figures(row: Mapping[str, Any]) -> tuple[str, str]:
    if "why" in row:
        return "-", row["why"].replace("|", "/")
    if row["side"] == OURS:
        return f"{row['tokens_per_second']:,.0f}", ""
    ratio = row["ratio"]
    spread = f"{ratio['least']:.2f} to {ratio['greatest']:.2f}"
    return f"{row['tokens_per_second']:,.0f}", f"{ratio['median']:.2f} ({spread})"


def memory_lines(rows: Sequence[Row]) -> list[str]:
    """Return one line for each side whose memory was measured."""
    lines = []
    for row in rows:
        where = f"{row['shape']}, {row['scenario']}, {row['side']}"
        if "peak_why" in row:
            lines.append(f"{where}: no peak, {row['peak_why']}")
        if "peak_bytes" in row:
            lines.append(
                f"{where}: peak {row['peak_bytes'] / 1e6:,.0f} MB, of which "
                f"{row['before_bytes'] / 1e6:,.0f} MB before the first step"
            )
    return lines


def limit_lines(rows: Sequence[Row], rate: DeviceRate) -> list[str]:
    """Return what the device can do and how much of it was reached."""
    lines = [
        f"This device copies {rate.bytes_per_second / 1e9:,.1f} GB/s (read and written) and "
        f"multiplies {rate.flops_per_second / 1e12:,.3f} TFLOP/s."
    ]
    for row in rows:
        where = f"{row['shape']}, {row['num_rows']} rows, {row['side']}"
        if "share_of_bound" in row:
            lines.append(
                f"{where}: decodes at {row['share_of_bound']:.0%} of the bandwidth bound "
                f"({row['bound_tokens_per_second']:,.0f} tokens/s); mean |d log p| decoder and "
                f"trainer {row['log_prob_gap']['mean']:.1e}"
            )
        if "share_of_matmul_rate" in row:
            share = row["share_of_matmul_rate"]
            lines.append(f"{where}: trains at {share:.0%} of the matmul rate")
    return lines
