"""Losses by hand, their gradients, and their indifference to how a batch is cut."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.objective.loss import (
    Aggregation,
    clipped_policy_loss,
    entropy_loss,
    is_clipped,
    policy_gradient_loss,
    token_weights,
    value_loss,
    weighted_policy_loss,
    weighted_sum,
)

ONE = torch.ones(1, 1)


def surrogate(ratio: float, advantage: float, **kwargs: float) -> tuple[float, float]:
    """Return loss and its derivative by the log-prob, of one token with that ratio."""
    log_prob = torch.tensor([[math.log(ratio)]], requires_grad=True)
    settings = {"clip_low": 0.2, "clip_high": 0.3} | kwargs
    loss = clipped_policy_loss(log_prob, torch.tensor([[advantage]]), ONE, **settings)
    loss.backward()
    assert log_prob.grad is not None
    return loss.item(), log_prob.grad.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "derivative"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.25, 2.0, -2.5, -2.5),
        (1.5, 2.0, -2.6, 0.0),  # clipped above
        (0.5, 2.0, -1.0, -1.0),  # outside, but the advantage pulls it back
        (0.5, -2.0, 1.6, 0.0),  # clipped below
        (1.5, -2.0, 3.0, 3.0),  # outside, pulled back
    ],
)
def test_clipped_surrogate_by_hand(
    ratio: float, advantage: float, loss: float, derivative: float
) -> None:
    assert surrogate(ratio, advantage) == pytest.approx((loss, derivative), abs=1e-5)
    clipped = is_clipped(
        torch.tensor([[math.log(ratio)]]),
        torch.tensor([[advantage]]),
        clip_low=0.2,
        clip_high=0.3,
    )
    assert clipped.item() == (derivative == 0.0)


def test_dual_clip_bounds_the_loss_of_a_bad_token_only() -> None:
    assert surrogate(10.0, -1.0) == pytest.approx((10.0, 10.0), rel=1e-5)
    assert surrogate(10.0, -1.0, dual_clip=3.0) == pytest.approx((3.0, 0.0))
    assert surrogate(2.0, -1.0, dual_clip=3.0) == pytest.approx((2.0, 2.0), rel=1e-5)
    assert surrogate(1.1, 1.0, dual_clip=3.0) == pytest.approx((-1.1, -1.1), rel=1e-5)


def test_at_ratio_one_ppo_has_the_gradient_of_reinforce() -> None:
    generator = torch.Generator().manual_seed(0)
    log_probs = torch.randn(3, 4, generator=generator)
    advantages = torch.randn(3, 4, generator=generator)
    weights = torch.rand(3, 4, generator=generator)
    gradients = []
    for is_ppo in (True, False):
        leaf = log_probs.clone().requires_grad_()
        if is_ppo:
            loss = clipped_policy_loss(
                leaf - log_probs, advantages, weights, clip_low=1.0, clip_high=math.inf
            )
        else:
            loss = policy_gradient_loss(leaf, advantages, weights)
        loss.backward()
        gradients.append(leaf.grad)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ratio", "advantage", "derivative"),
    [
        (1.0, 2.0, -2.0),
        (1.25, 2.0, -2.5),
        (3.0, 2.0, -3.0),  # the weight is clipped to 1.5; the gradient stays
        (3.0, -2.0, 3.0),
        (0.01, 2.0, -0.02),  # no lower bound
    ],
)
def test_cispo_by_hand(ratio: float, advantage: float, derivative: float) -> None:
    log_prob = torch.tensor([[math.log(ratio)]], requires_grad=True)
    loss = weighted_policy_loss(
        log_prob,
        log_prob,  # relative to log-probs of 0
        torch.tensor([[advantage]]),
        ONE,
        clip_low=1.0,
        clip_high=0.5,
    )
    loss.backward()
    assert log_prob.grad is not None
    # The derivative is -A * weight: none comes through the weight itself.
    assert log_prob.grad.item() == pytest.approx(derivative, rel=1e-5)
    assert loss.item() == pytest.approx(derivative * math.log(ratio), rel=1e-5)


def test_cispo_has_a_lower_bound_if_asked() -> None:
    log_prob = torch.tensor([[math.log(0.1)]], requires_grad=True)
    loss = weighted_policy_loss(
        log_prob, log_prob, ONE, ONE, clip_low=0.2, clip_high=0.5
    )
    loss.backward()
    assert log_prob.grad is not None and log_prob.grad.item() == pytest.approx(-0.8)


def test_clip_higher_lets_good_tokens_rise_further() -> None:
    # DAPO: ratio 1.25 keeps its gradient under clip_high=0.28 and loses it under 0.2.
    wide, narrow = (surrogate(1.25, 1.0, clip_high=c) for c in (0.28, 0.2))
    assert wide == pytest.approx((-1.25, -1.25), abs=1e-5)
    assert narrow == pytest.approx((-1.2, 0.0), abs=1e-5)


def test_value_loss_is_pessimistic() -> None:
    def loss(
        value: float, old: float, target: float, clip: float | None
    ) -> tuple[float, float]:
        leaf = torch.tensor([[value]], requires_grad=True)
        result = value_loss(leaf, old * ONE, target * ONE, ONE, clip=clip)
        result.backward()
        assert leaf.grad is not None
        return result.item(), leaf.grad.item()

    assert loss(3.0, 1.0, 2.0, None) == (0.5, 1.0)
    # Moved 2 towards and past the target 5, allowed 0.5: the clipped error (1.5 - 5) counts.
    assert loss(3.0, 1.0, 5.0, 0.5) == (0.5 * 3.5**2, 0.0)
    # Moved away from the target: the true error is larger and keeps its gradient.
    assert loss(3.0, 1.0, 0.0, 0.5) == (4.5, 3.0)


def test_entropy_loss_rewards_entropy() -> None:
    assert (
        entropy_loss(torch.tensor([[2.0, 5.0]]), torch.tensor([[0.5, 0.0]])).item()
        == -1.0
    )


def test_a_term_without_weight_cannot_spoil_the_sum() -> None:
    terms = torch.tensor([[1.0, math.nan, math.inf]], requires_grad=True)
    total = weighted_sum(terms, torch.tensor([[2.0, 0.0, 0.0]]))
    total.backward()
    assert total.item() == 2.0
    assert terms.grad is not None and terms.grad.tolist() == [[2.0, 0.0, 0.0]]


MASK = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])


def test_aggregations_by_hand() -> None:
    def weights(aggregation: str) -> list[list[float]]:
        return token_weights(
            MASK,
            aggregation=aggregation,  # type: ignore[arg-type]
            num_tokens=4,
            num_episodes=2,
            episode_limit=5,
        ).tolist()

    assert weights("token-mean") == [[0.25] * 3, [0.25, 0, 0], [0, 0, 0]]
    assert weights("seq-mean-token-sum") == [[0.5] * 3, [0.5, 0, 0], [0, 0, 0]]
    tenth = pytest.approx(0.1)
    norm = weights("seq-mean-token-sum-norm")
    assert norm == [[tenth] * 3, [tenth, 0, 0], [0, 0, 0]]
    third = pytest.approx(1 / 6)
    assert weights("seq-mean-token-mean") == [[third] * 3, [0.5, 0, 0], [0, 0, 0]]


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=8).filter(any),
    st.integers(1, 4),
    st.integers(0, 3),
    st.sampled_from(list(get_args(Aggregation))),
    st.randoms(use_true_random=False),
)
def test_a_loss_does_not_depend_on_cut_order_or_padding(
    lengths: list[int], size: int, padding: int, aggregation: str, random: object
) -> None:
    mask = torch.arange(max(lengths))[None, :] < torch.tensor(lengths)[:, None]
    terms = torch.randn(mask.shape, generator=torch.Generator().manual_seed(0))
    counts = {"num_tokens": sum(lengths), "num_episodes": sum(n > 0 for n in lengths)}
    counts["episode_limit"] = 10

    def total(rows: list[int], extra: int) -> torch.Tensor:
        some = torch.nn.functional.pad(mask[rows], (0, extra))
        weights = token_weights(some, aggregation=aggregation, **counts)  # type: ignore[arg-type]
        return weighted_sum(
            torch.nn.functional.pad(terms[rows], (0, extra), value=9.0), weights
        )

    order = list(range(len(lengths)))
    whole = total(order, 0)
    random.shuffle(order)  # type: ignore[attr-defined]
    parts = [order[i : i + size] for i in range(0, len(order), size)]
    assert float(sum(total(part, padding) for part in parts)) == pytest.approx(
        float(whole), abs=1e-5
    )


def test_local_counts_would_be_caught() -> None:
    with pytest.raises(ValueError, match="num_tokens=2.*4 tokens of 2 episodes"):
        token_weights(MASK, aggregation="token-mean", num_tokens=2, num_episodes=2)
    with pytest.raises(ValueError, match="episode_limit.*got None"):
        token_weights(
            MASK, aggregation="seq-mean-token-sum-norm", num_tokens=4, num_episodes=2
        )
    with pytest.raises(ValueError, match="'mean'.*token-mean"):
        token_weights(
            MASK, aggregation="mean", num_tokens=4, num_episodes=2  # type: ignore[arg-type]
        )
