"""Rows of long runs: measured once, and honest about few seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.seed_row import kept_row, seed_interval


def test_a_row_is_measured_once(tmp_path: Path) -> None:
    measured: list[int] = []

    def measure() -> dict[str, float]:
        measured.append(1)
        return {"score": 0.1 + 0.2}

    path = tmp_path / "rows" / "Echo-0.json"
    assert kept_row(path, measure) == {"score": 0.1 + 0.2}
    assert kept_row(path, measure) == {"score": 0.1 + 0.2}
    assert len(measured) == 1


def test_a_run_that_fails_leaves_no_row(tmp_path: Path) -> None:
    def fail() -> dict[str, float]:
        raise FloatingPointError("no")

    path = tmp_path / "Echo-0.json"
    with pytest.raises(FloatingPointError):
        kept_row(path, fail)
    assert not path.exists()


def test_an_interval_needs_two_seeds() -> None:
    assert seed_interval([]) == {"mean": None, "low": None, "high": None}
    assert seed_interval([0.5]) == {"mean": 0.5, "low": None, "high": None}
    found = seed_interval([0.0, 1.0])
    assert (found["low"], found["mean"], found["high"]) == (0.0, 0.5, 1.0)
