"""Accuracy and calibration: hand-computed cases, and coins that are as fair as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agents.evaluation import wilson_interval
from agents.reliability import measure_reliability


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def test_the_figures_are_those_of_a_hand() -> None:
    # Confidences .92, .92 (one right), .73 (right), and .62 (wrong).
    margins = [logit(0.92), -logit(0.92), logit(0.73), -logit(0.62)]
    found = measure_reliability(margins)
    assert found.accuracy == wilson_interval(2, 4)
    assert found.num_pairs == 4 and found.num_ties == 0
    error = (2 * abs(0.5 - 0.92) + abs(1 - 0.73) + abs(0 - 0.62)) / 4
    assert found.calibration_error.mean == pytest.approx(error)
    gap = (0.92 + 0.92 + 0.73 + 0.62) / 4 - 0.5
    assert found.overconfidence.mean == pytest.approx(gap)
    loss = -(math.log(0.92) + math.log(0.08) + math.log(0.73) + math.log(0.38)) / 4
    assert found.loss == pytest.approx(loss)
    filled = {round(b.low, 2): b for b in found.bins if b.num_pairs}
    assert {low: b.num_pairs for low, b in filled.items()} == {0.6: 1, 0.7: 1, 0.9: 2}
    assert filled[0.9].accuracy == 0.5
    assert filled[0.9].confidence == pytest.approx(0.92)
    empty = next(b for b in found.bins if not b.num_pairs)
    assert empty.accuracy is None and empty.confidence is None


def test_ties_are_wrong_and_even() -> None:
    found = measure_reliability([0.0, 0.0, 0.0, 1.0])
    assert found.num_ties == 3 and found.accuracy.mean == 0.25
    assert found.bins[0].num_pairs == 3 and found.bins[0].confidence == 0.5


def test_certainty_falls_into_the_last_bin() -> None:
    found = measure_reliability([800.0, -800.0])
    assert found.bins[-1].num_pairs == 2
    assert found.calibration_error.mean == 0.5 and found.loss == 400.0


def test_a_calibrated_model_has_next_to_no_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1.0, size=20_000)
    is_right = rng.random(20_000) < confidence
    size = np.log(confidence / (1 - confidence))
    fair = measure_reliability(np.where(is_right, size, -size))
    assert fair.calibration_error.mean < 0.01
    assert fair.overconfidence.low < 0 < fair.overconfidence.high
    loud = measure_reliability(np.where(is_right, 4 * size, -4 * size))
    assert loud.overconfidence.low > 0.1
    assert loud.calibration_error.low > 0.1
    shy = measure_reliability(np.where(is_right, size / 4, -size / 4))
    assert shy.overconfidence.high < -0.1 and shy.calibration_error.low > 0.1


def test_intervals_hold_the_mean_and_follow_the_seed() -> None:
    rng = np.random.default_rng(1)
    margins = rng.normal(0.5, 1.0, size=50)
    found = measure_reliability(margins, seed=1)
    for interval in (found.accuracy, found.calibration_error, found.overconfidence):
        assert interval.low <= interval.mean <= interval.high
        assert interval.low < interval.high
    assert found == measure_reliability(margins, seed=1)
    assert found != measure_reliability(margins, seed=2)


def test_the_record_is_json() -> None:
    record = measure_reliability([1.0, -1.0]).as_dict()
    assert record["accuracy"]["mean"] == 0.5 and len(record["bins"]) == 10
    assert sum(b["num_pairs"] for b in record["bins"]) == 2


@pytest.mark.parametrize("margins", [[], [1.0], [1.0, math.nan], [[1.0, 2.0]]])
def test_what_is_no_row_of_margins_is_refused(margins: list[float]) -> None:
    with pytest.raises(ValueError, match="at least 2 finite margins"):
        measure_reliability(margins)
