"""Baselines and group scales by hand, and what must not change them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.objective.baseline import divide_by_group_std, subtract_baseline


def tensor(rows: object) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


RETURNS = tensor([[1.0], [3.0], [8.0], [10.0]])
KNOWN = torch.ones(4, 1, dtype=torch.bool)
GROUP = torch.tensor([0, 0, 1, 1])


def test_baselines_by_hand() -> None:
    def advantages(baseline: str, **kwargs: torch.Tensor) -> list[float]:
        result, has = subtract_baseline(
            RETURNS, KNOWN, GROUP, baseline=baseline, **kwargs  # type: ignore[arg-type]
        )
        assert has.all()
        return result[:, 0].tolist()

    assert advantages("none") == [1.0, 3.0, 8.0, 10.0]
    assert advantages("batch_mean") == [-4.5, -2.5, 2.5, 4.5]
    assert advantages("group_mean") == [-1.0, 1.0, -1.0, 1.0]
    assert advantages("leave_one_out") == [-2.0, 2.0, -2.0, 2.0]
    greedy = tensor([[2.0], [2.0], [9.0], [9.0]])
    assert advantages("greedy", greedy_returns_BT=greedy) == [-1.0, 1.0, -1.0, 1.0]


def test_leave_one_out_is_scaled_mean_subtraction() -> None:
    # r_i - mean of the others = n / (n - 1) * (r_i - mean): Kool et al. 2019, equation 8.
    returns = tensor([[1.0], [2.0], [6.0]])
    group = torch.zeros(3, dtype=torch.int64)
    known = torch.ones(3, 1, dtype=torch.bool)
    others, _ = subtract_baseline(returns, known, group, baseline="leave_one_out")
    assert torch.allclose(others, 1.5 * (returns - 3.0))
    mean, _ = subtract_baseline(returns, known, group, baseline="group_mean")
    assert torch.allclose(others, 1.5 * mean)


def test_unknown_returns_enter_no_baseline_and_get_no_advantage() -> None:
    known = torch.tensor([[True], [False], [True], [True]])
    returns = torch.where(known, RETURNS, torch.nan)
    mean, has = subtract_baseline(returns, known, GROUP, baseline="batch_mean")
    assert mean[:, 0].tolist() == pytest.approx(
        [1 - 19 / 3, 0, 8 - 19 / 3, 10 - 19 / 3]
    )
    assert has[:, 0].tolist() == [True, False, True, True]
    # Alone in its group there is nothing to compare with.
    others, has = subtract_baseline(returns, known, GROUP, baseline="leave_one_out")
    assert has[:, 0].tolist() == [False, False, True, True]
    assert others[:, 0].tolist() == [0.0, 0.0, -2.0, 2.0]
    group, has = subtract_baseline(returns, known, GROUP, baseline="group_mean")
    assert has[:, 0].tolist() == [False, False, True, True]
    assert group[:, 0].tolist() == [0.0, 0.0, -1.0, 1.0]
    greedy = tensor([[0.0], [0.0], [math.nan], [9.0]])
    ahead, has = subtract_baseline(
        returns, known, GROUP, baseline="greedy", greedy_returns_BT=greedy
    )
    assert has[:, 0].tolist() == [True, False, False, True]
    assert ahead[:, 0].tolist() == [1.0, 0.0, 0.0, 1.0]


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=8),
    st.floats(-5, 5),
    st.randoms(use_true_random=False),
)
def test_leave_one_out_ignores_a_shift_and_follows_a_permutation(
    values: list[float], shift: float, random: object
) -> None:
    returns = tensor([[v] for v in values])
    known = torch.ones_like(returns, dtype=torch.bool)
    group = torch.arange(len(values)) % 2

    def loo(x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        return subtract_baseline(x, known, g, baseline="leave_one_out")[0]

    # A group of one has no baseline, so it has no advantage to shift either.
    assert torch.allclose(loo(returns, group), loo(returns + shift, group), atol=1e-9)
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert torch.allclose(loo(returns, group)[order], loo(returns[order], group[order]))
    # The advantages of a group sum to nothing.
    assert float(loo(returns, group)[group == 0].sum()) == pytest.approx(0.0, abs=1e-9)


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="'mean'.*leave_one_out"):
        subtract_baseline(RETURNS, KNOWN, GROUP, baseline="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="greedy_returns_BT"):
        subtract_baseline(RETURNS, KNOWN, GROUP, baseline="greedy")


def scaled(
    returns: torch.Tensor, known: torch.Tensor, group: torch.Tensor
) -> torch.Tensor:
    """Return GRPO's advantages."""
    advantages, _ = subtract_baseline(returns, known, group, baseline="group_mean")
    return divide_by_group_std(advantages, returns, known, group)


def test_grpo_advantages_by_hand() -> None:
    # Group 0: mean 2, sample deviation sqrt(2). Group 1: 4, 7, 10 have mean 7, deviation 3.
    returns = tensor([[1.0], [4.0], [3.0], [7.0], [10.0]])
    group = torch.tensor([0, 1, 0, 1, 1])
    found = scaled(returns, torch.ones(5, 1, dtype=torch.bool), group)
    root = math.sqrt(0.5)
    assert found[:, 0].tolist() == pytest.approx([-root, -1, root, 0, 1], abs=1e-5)


def test_each_turn_has_a_deviation_of_its_own() -> None:
    returns = tensor([[0.0, 0.0], [2.0, 20.0], [4.0, 40.0]])
    known = torch.ones(3, 2, dtype=torch.bool)
    found = scaled(returns, known, torch.zeros(3, dtype=torch.int64))
    assert torch.allclose(found[:, 0], found[:, 1], atol=1e-5)
    assert found[:, 0].tolist() == pytest.approx([-1, 0, 1], abs=1e-5)


def test_unknown_returns_enter_no_deviation() -> None:
    returns = tensor([[1.0], [math.nan], [3.0]])
    known = torch.tensor([[True], [False], [True]])
    found = scaled(returns, known, torch.zeros(3, dtype=torch.int64))
    root = math.sqrt(0.5)
    assert found[:, 0].tolist() == pytest.approx([-root, 0, root], abs=1e-5)


@pytest.mark.parametrize("value", [0.1, 0.7, 10.1, 100.3, 1234.567])
@pytest.mark.parametrize("size", [2, 3, 5, 7, 8, 16])
def test_a_group_that_earns_the_same_has_no_advantage_even_in_float32(
    size: int, value: float
) -> None:
    returns = torch.full((2 * size, 1), value)
    returns[size:] = 0.3
    known = torch.ones_like(returns, dtype=torch.bool)
    group = torch.arange(2 * size) // size
    # In units of a deviation that is nothing but rounding, an advantage would be about 1.
    assert float(scaled(returns, known, group).abs().max()) < 1e-5
    for baseline in ("group_mean", "leave_one_out"):
        found, _ = subtract_baseline(
            returns, known, group, baseline=baseline  # type: ignore[arg-type]
        )
        assert found.dtype == torch.float32
        assert float(found.abs().max()) < 1e-12
    same = returns[:size]
    found, _ = subtract_baseline(
        same, known[:size], group[:size], baseline="batch_mean"
    )
    assert float(found.abs().max()) < 1e-12


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8), st.floats(0.5, 4.0))
def test_group_std_takes_the_unit_away(values: list[float], unit: float) -> None:
    returns = tensor([[v] for v in values])
    if float(returns.std()) < 0.1:
        return
    known = torch.ones_like(returns, dtype=torch.bool)
    group = torch.zeros(len(values), dtype=torch.int64)
    found = scaled(returns, known, group)
    assert torch.allclose(scaled(unit * returns, known, group), found, atol=1e-4)
    assert float(found.std()) == pytest.approx(1.0, abs=1e-4)
