"""Rows and tables of comparisons: known answers."""

from __future__ import annotations

import pytest

from benchmarks.comparison_row import (
    limit_lines,
    memory_lines,
    missing_row,
    rows_of,
    table,
)
from benchmarks.limit import DeviceRate
from benchmarks.measurement import Comparison

LABELS = {"part": "decode", "shape": "1m", "num_rows": 64, "scenario": "fixed"}
RESULT = Comparison({"ours": [0.5, 1.0, 0.25], "peer": [1.0, 1.0, 1.0]})


def test_a_ratio_says_how_much_faster_we_are() -> None:
    ours, peer = rows_of(RESULT, **LABELS)
    assert ours["tokens_per_second"] == 2.0
    assert ours["ratio"] == {"median": 1.0, "least": 1.0, "greatest": 1.0}
    assert peer["tokens_per_second"] == 1.0
    assert peer["ratio"] == {"median": 2.0, "least": 1.0, "greatest": 4.0}
    assert peer["seconds_a_token"] == [1.0, 1.0, 1.0]
    assert LABELS.items() <= peer.items()


def test_a_table_has_a_line_for_each_side() -> None:
    rows = [*rows_of(RESULT, **LABELS), missing_row("third", "no | kernel", **LABELS)]
    assert table(rows).splitlines() == [
        "| part | shape | rows | scenario | side | tokens/s | ours is faster by |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| decode | 1m | 64 | fixed | ours | 2 |  |",
        "| decode | 1m | 64 | fixed | peer | 1 | 2.00 (1.00 to 4.00) |",
        "| decode | 1m | 64 | fixed | third | - | no / kernel |",
    ]


def test_a_comparison_without_our_side_is_refused() -> None:
    with pytest.raises(KeyError, match="ours"):
        rows_of(Comparison({"peer": [1.0]}), **LABELS)


def test_memory_is_told_where_it_was_measured_and_why_it_was_not() -> None:
    rows = [
        {**LABELS, "side": "ours", "peak_bytes": 3_000_000, "before_bytes": 1_000_000},
        {**LABELS, "side": "peer", "peak_why": "its process failed with exit code 1"},
        {**LABELS, "side": "third"},
    ]
    assert memory_lines(rows) == [
        "1m, fixed, ours: peak 3 MB, of which 1 MB before the first step",
        "1m, fixed, peer: no peak, its process failed with exit code 1",
    ]


def test_the_limits_are_told_with_what_was_reached() -> None:
    gap = {"mean": 2e-7, "largest": 1e-6}
    reached = {"share_of_bound": 0.5, "bound_tokens_per_second": 4, "log_prob_gap": gap}
    rows = [
        {**LABELS, "side": "ours", **reached},
        {**LABELS, "side": "peer", "share_of_matmul_rate": 0.25},
    ]
    lines = limit_lines(rows, DeviceRate(2e9, 3e12))
    assert lines[0].startswith("This device copies 2.0 GB/s (read and written)")
    assert "3.000 TFLOP/s" in lines[0]
    assert "ours: decodes at 50% of the bandwidth bound (4 tokens/s)" in lines[1]
    assert lines[1].endswith("2.0e-07")
    assert lines[2] == "1m, 64 rows, peer: trains at 25% of the matmul rate"
