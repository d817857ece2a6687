"""Interleaving, medians, ratios: known answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import measurement
from benchmarks.measurement import Comparison, compare, write_result


def test_sides_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return float(len(order))

    result = compare({"a": lambda: side("a"), "b": lambda: side("b")}, num_pairs=5)
    assert order == ["a", "b"] * 6
    assert result.seconds["a"] == [3.0, 5.0, 7.0, 9.0, 11.0]
    assert result.median("a") == 7.0


def test_a_ratio_is_the_median_of_the_pairs_own_ratios() -> None:
    seconds = {"a": [1.0, 4.0, 9.0], "b": [1.0, 1.0, 1.0]}
    assert Comparison(seconds).ratio("a", "b") == (4.0, 1.0, 9.0)


def test_fewer_than_five_pairs_are_no_measurement() -> None:
    with pytest.raises(ValueError, match="at least five pairs, got 4"):
        compare({"a": lambda: 1.0}, num_pairs=4)


def test_a_result_is_dated_and_says_how_to_repeat_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "RESULTS", tmp_path / "results")
    path = write_result("thing", {"answer": 42})
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["answer"] == 42
    made = record["provenance"]
    assert path.name == f"{made['date']}_thing.json"
    assert made["num_cores"] >= 1
    assert made["versions"]["numpy"][0].isdigit()
