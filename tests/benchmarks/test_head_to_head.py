"""Who wins on the same goals, and what length has to do with it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.head_to_head import head_to_head, win_shares
from benchmarks.score_bootstrap import generator


def test_a_share_counts_pairs_of_runs_on_one_goal() -> None:
    found = win_shares([[1.0, 2.0], [3.0, 0.0]], [[2.0, 0.0]])
    assert found.tolist() == [0.5, 0.75]


def test_a_return_that_is_unknown_is_refused() -> None:
    with pytest.raises(ValueError, match="leave its goal out"):
        win_shares([[math.nan]], [[1.0]])
    with pytest.raises(ValueError, match="same goals"):
        win_shares([[1.0, 2.0]], [[1.0]])


def test_both_ways_make_one() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 3, (3, 20)), rng.integers(0, 3, (2, 20))
    gap = rng.normal(size=20)
    one = head_to_head(win_shares(x, y), generator(0, "x"), gap)
    other = head_to_head(win_shares(y, x), generator(0, "x"), -gap)
    assert one.win_rate.value + other.win_rate.value == pytest.approx(1.0)
    assert one.length_controlled is not None and other.length_controlled is not None
    total = one.length_controlled.value + other.length_controlled.value
    assert total == pytest.approx(1.0)


def test_goals_are_the_clusters() -> None:
    # A thousand runs that all agree on four goals are four observations, not four thousand.
    returns = np.repeat([[1.0, 1.0, 0.0, 0.0]], 1000, axis=0)
    found = head_to_head(win_shares(returns, [[0.5] * 4]), generator(0, "x"))
    assert (found.win_rate.value, found.win_rate.n) == (0.5, 4)
    assert (found.win_rate.low, found.win_rate.high) == (0.0, 1.0)


def test_wins_by_length_alone_are_taken_away() -> None:
    rng = np.random.default_rng(1)
    gap = rng.normal(2.0, 2.0, 400)
    rate = 1 / (1 + np.exp(-3.0 * np.tanh(gap / gap.std())))
    shares = (rng.random(400) < rate).astype(float)
    found = head_to_head(shares, generator(0, "x"), gap, 500)
    assert found.win_rate.low > 0.6
    assert found.length_controlled is not None
    assert found.length_controlled.low < 0.5 < found.length_controlled.high


def test_wins_that_length_does_not_explain_stay() -> None:
    rng = np.random.default_rng(2)
    shares = (rng.random(400) < 0.8).astype(float)
    found = head_to_head(shares, generator(0, "x"), rng.normal(size=400), 500)
    assert found.length_controlled is not None
    assert found.length_controlled.value == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_fit_of_one_outcome_stays_finite(share: float) -> None:
    found = head_to_head([share] * 10, generator(0, "x"), np.arange(10.0), 50)
    assert found.length_controlled is not None
    assert found.length_controlled.value == pytest.approx(share, abs=0.03)


def test_equal_lengths_control_nothing() -> None:
    found = head_to_head([1.0, 0.0, 1.0, 1.0], generator(0, "x"), [2.0] * 4, 50)
    assert found.length_controlled is not None
    assert found.length_controlled.value == pytest.approx(0.75, abs=0.01)


def test_without_lengths_nothing_is_claimed_of_them() -> None:
    found = head_to_head([1.0, 0.0], generator(0, "x")).as_dict()
    assert found["length_controlled"] is None
    assert found["win_rate"]["value"] == 0.5
