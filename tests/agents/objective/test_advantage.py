"""Known answers, an independent oracle and properties of returns and advantages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.objective.advantage import (
    Moments,
    discounted_returns,
    generalized_advantages,
    known_returns,
    moments,
    whiten,
)


def tensor(rows: object) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def gae(
    rewards: list[float],
    values: list[float],
    turns: list[int],
    *,
    bootstrap: float = 0.0,
    valid: list[bool] | None = None,
    discount: float = 1.0,
    trace: float = 1.0,
    padding: int = 0,
) -> list[float]:
    """Return the advantages of one episode whose tokens belong to `turns`."""
    num = len(rewards)
    ends = [k == num - 1 or turns[k + 1] != turns[k] for k in range(num)]
    garbage = [7.0] * padding  # what lies past the end must not matter
    advantages = generalized_advantages(
        tensor([rewards + garbage]),
        tensor([values + garbage]),
        torch.tensor([(valid or [True] * num) + [True] * padding]),
        torch.tensor([ends + [False] * padding]),
        torch.tensor([num]),
        tensor([bootstrap]),
        discount=discount,
        trace=trace,
    )
    assert advantages[0, num:].tolist() == [0.0] * padding
    return advantages[0, :num].tolist()


def test_returns_by_hand() -> None:
    returns = discounted_returns(tensor([[1.0, 2.0, 4.0], [0.0, 8.0, 0.0]]), 0.5)
    assert returns.tolist() == [[3.0, 4.0, 4.0], [4.0, 8.0, 0.0]]


def test_an_unknown_reward_makes_all_returns_that_contain_it_unknown() -> None:
    valid = torch.tensor([[True, True, True], [True, False, True], [True, True, False]])
    assert known_returns(valid).tolist() == [
        [True, True, True],
        [False, False, True],
        [False, False, False],
    ]


def test_gae_by_hand() -> None:
    # Two turns of two tokens; discount 0.5 between the turns and after the last, 1 inside.
    advantages = gae(
        [0.0, 1.0, 0.0, 2.0],
        [0.5, 0.25, 1.0, 3.0],
        [0, 0, 1, 1],
        bootstrap=4.0,
        discount=0.5,
        trace=0.5,
    )
    delta = [0.25 - 0.5, 1 + 0.5 * 1.0 - 0.25, 3.0 - 1.0, 2 + 0.5 * 4.0 - 3.0]
    last = delta[3]
    third = delta[2] + 0.5 * last  # inside a reply: trace alone
    second = delta[1] + 0.5 * 0.5 * third  # between turns: discount times trace
    first = delta[0] + 0.5 * second
    assert advantages == pytest.approx([first, second, third, last])


def test_a_truncated_episode_bootstraps_and_a_terminated_one_does_not() -> None:
    assert gae([1.0], [0.0], [0], bootstrap=0.0) == [1.0]
    assert gae([1.0], [0.0], [0], bootstrap=10.0, discount=0.9) == pytest.approx([10.0])


def test_discount_acts_once_a_turn_however_long_the_replies() -> None:
    # With values 0 and trace 1 an advantage is the return: reward of turn t discounted per turn.
    short = gae([0.0, 0.0, 1.0], [0.0] * 3, [0, 1, 2], discount=0.5)
    long = gae(
        [0.0] * 11 + [1.0], [0.0] * 12, [0] * 5 + [1] * 5 + [2] * 2, discount=0.5
    )
    assert short == [0.25, 0.5, 1.0]
    assert long == [0.25] * 5 + [0.5] * 5 + [1.0] * 2


def test_a_masked_turn_is_a_wall() -> None:
    # The reward of turn 1 is unknown (and holds rubbish). Its tokens get no advantage; turn 0
    # bootstraps with the value of the context in which turn 1 began; turn 2 is untouched.
    advantages = gae(
        [0.0, 1.0, math.nan, math.nan, 0.0, 3.0],
        [0.1, 0.2, 5.0, 6.0, 0.5, 0.7],
        [0, 0, 1, 1, 2, 2],
        valid=[True, True, False, False, True, True],
    )
    assert advantages[2:4] == [0.0, 0.0]
    assert advantages[:2] == pytest.approx([1 + 5.0 - 0.1, 1 + 5.0 - 0.2])
    assert advantages[4:] == pytest.approx([3 - 0.5, 3 - 0.7])


episodes = st.lists(
    st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 1), st.booleans()),
    min_size=1,
    max_size=12,
)


@given(episodes, st.floats(-3, 3), st.floats(0, 1), st.floats(0, 1), st.integers(0, 3))
def test_gae_equals_the_explicit_sum_over_the_future(
    tokens: list[tuple[float, float, int, bool]],
    bootstrap: float,
    discount: float,
    trace: float,
    padding: int,
) -> None:
    rewards = [t[0] for t in tokens]
    values = [t[1] for t in tokens]
    turns = np.cumsum([0] + [t[2] for t in tokens[1:]]).tolist()
    is_valid = [tokens[turns.index(turn)][3] for turn in turns]
    advantages = gae(
        rewards,
        values,
        turns,
        bootstrap=bootstrap,
        valid=is_valid,
        discount=discount,
        trace=trace,
        padding=padding,
    )
    num = len(tokens)
    for k in range(num):
        expected, weight = 0.0, 1.0
        for j in range(k, num):
            if not is_valid[j]:
                break
            following = values[j + 1] if j + 1 < num else bootstrap
            factor = discount if j + 1 == num or turns[j + 1] != turns[j] else 1.0
            expected += weight * (rewards[j] + factor * following - values[j])
            weight *= factor * trace
        assert advantages[k] == pytest.approx(expected, abs=1e-9)


def test_trace_one_telescopes_to_return_minus_value() -> None:
    rewards, values = [0.0, 1.0, 2.0], [0.3, -0.2, 0.9]
    advantages = gae(rewards, values, [0, 1, 2])
    assert advantages == pytest.approx([3 - 0.3, 3 + 0.2, 2 - 0.9])


def test_whitening_uses_the_masked_elements_alone() -> None:
    values = tensor([[1.0, 3.0, 1e6], [5.0, 7.0, math.nan]])
    mask = torch.tensor([[True, True, False], [True, True, False]])
    whitened = whiten(values, mask)
    chosen = whitened[mask]
    assert float(chosen.mean()) == pytest.approx(0.0, abs=1e-12)
    assert float(chosen.var(correction=0)) == pytest.approx(1.0, abs=1e-6)
    assert whitened[~mask].tolist() == [0.0, 0.0]


def test_moments_of_parts_add_up_so_whitening_does_not_depend_on_the_cut() -> None:
    values = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.rand(6, 5, generator=torch.Generator().manual_seed(1)) < 0.6
    whole = whiten(values, mask)
    parts = [moments(values[i : i + 2], mask[i : i + 2]) for i in (0, 2, 4)]
    total = Moments(*(torch.stack(column).sum() for column in zip(*parts, strict=True)))
    cut = torch.cat(
        [whiten(values[i : i + 2], mask[i : i + 2], total) for i in (0, 2, 4)]
    )
    assert torch.allclose(whole, cut, atol=1e-6)
    # Negative control: whitening each part by itself is something else.
    alone = torch.cat([whiten(values[i : i + 2], mask[i : i + 2]) for i in (0, 2, 4)])
    assert not torch.allclose(whole, alone, atol=1e-2)


def test_whitening_does_not_blow_up_what_rounding_left() -> None:
    # The drift of a policy that has not moved yet, times its price, and nothing else.
    noise = 1e-9 * torch.randn(64, generator=torch.Generator().manual_seed(0))
    assert float(whiten(noise, torch.ones(64, dtype=torch.bool)).abs().max()) < 0.01


def test_whitening_equal_values_gives_zeros() -> None:
    assert (
        whiten(torch.full((3,), 0.1), torch.ones(3, dtype=torch.bool)).tolist()
        == [0.0] * 3
    )
