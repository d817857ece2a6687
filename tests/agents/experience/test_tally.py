"""Sums, means and maxima, in any cut."""

from __future__ import annotations

import json
import math

import pytest
import torch

from agents.engine import process_group
from agents.experience.tally import Tally

VALUES = torch.tensor([1.0, 2.0, 6.0, 100.0])
MASK = torch.tensor([True, True, True, False])


def test_a_mean_does_not_depend_on_the_cut() -> None:
    whole, parts = Tally(), Tally()
    whole.add("x", VALUES, MASK)
    for i in range(4):
        part = Tally()
        part.add("x", VALUES[i : i + 1], MASK[i : i + 1])
        parts.merge(part)
    assert whole.result() == parts.result() == {"x": 3.0}


def test_maxima_and_totals_merge() -> None:
    tally, other = Tally(), Tally()
    tally.add_max("m", VALUES, MASK)
    other.add_max("m", VALUES[:1], MASK[:1])
    tally.add_total("n", 2)
    other.add_total("n", 3)
    other.add_max("zero", torch.tensor([5.0]), torch.tensor([False]))
    tally.merge(other)
    assert tally.result() == {"m": 6.0, "n": 5.0, "zero": 0.0}
    assert list(tally.result()) == sorted(tally.result())


def test_a_nan_is_not_overlooked() -> None:
    tally = Tally()
    tally.add_max("m", torch.tensor([math.nan]), torch.tensor([True]))
    tally.add_max("m", torch.tensor([3.0]), torch.tensor([True]))
    tally.add_ratio("nothing", 0.0, 0)
    assert math.isnan(tally.result()["m"])
    assert math.isnan(tally.result()["nothing"])


def test_no_gradient_is_kept() -> None:
    leaf = torch.ones(2, requires_grad=True)
    tally = Tally()
    tally.add("x", leaf * 2, torch.tensor([True, True]))
    assert tally.result() == {"x": pytest.approx(2.0)}


def full_tally() -> Tally:
    tally = Tally()
    tally.add("x", VALUES, MASK)
    tally.add_max("m", VALUES, MASK)
    tally.add_total("n", 0.1)
    return tally


def test_over_one_process_a_tally_is_what_it_was() -> None:
    tally = full_tally()
    assert tally.over_processes().result() == tally.result()
    assert Tally().over_processes().result() == {}


def test_over_processes_sums_and_counts_add_and_maxima_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other has a mean of its own, NaN and no maximum as large."""
    other = [{"x": 2.0, "y": math.nan}, {"x": 5, "y": 1}, {"m": 4.0}, {"n": 0.2}]
    monkeypatch.setattr(
        process_group, "gather", lambda own: [own, json.dumps(other).encode()]
    )
    figures = full_tally().over_processes().result()
    assert math.isnan(figures.pop("y"))
    assert figures == {"m": 6.0, "n": 0.1 + 0.2, "x": 11 / 8}


def test_a_nan_of_any_process_stays_in_the_maximum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for place in (0, 1):

        def gather(own: bytes, place: int = place) -> list[bytes]:
            messages = [own]
            messages.insert(place, json.dumps([{}, {}, {"m": math.nan}, {}]).encode())
            return messages

        monkeypatch.setattr(process_group, "gather", gather)
        assert math.isnan(full_tally().over_processes().result()["m"])
