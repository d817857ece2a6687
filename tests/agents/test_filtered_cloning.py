"""Filtered cloning: which episodes are imitated, and that imitating them is all that is done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from agents.experience.rollout import Rollout, gather_actions
from agents.filtered_cloning import FilteredCloning, best_episodes
from tests.agents.gradients import gradient_of, relative_distance
from tests.agents.test_gradient_invariance import noisy
from tests.agents.test_grpo import earning
from tests.agents.toys import make_lm, make_parrots

SMALL: dict[str, Any] = {"num_episodes": 8, "group_size": 4, "num_epochs": 1}


def make(**kwargs: Any) -> FilteredCloning:
    return FilteredCloning(make_lm(), make_parrots(8), **SMALL | kwargs)


RETURNS = [1.0, 3.0, 2.0, 3.0, 0.0, -1.0, 0.0, -2.0]


@pytest.mark.parametrize(
    ("keep_share", "least_return", "rows"),
    [
        (0.25, None, [1, 4]),  # of equals the first
        (0.5, None, [1, 3, 4, 6]),
        (0.3, None, [1, 3, 4, 6]),  # rounded up
        (1.0, None, list(range(8))),
        (1.0, 2.0, [1, 2, 3]),
        (0.25, 0.5, [1]),
        (0.5, 9.0, []),
    ],
)
def test_the_best_of_each_group_are_kept(
    keep_share: float, least_return: float | None, rows: list[int]
) -> None:
    rollout = earning(make().collect(), RETURNS)
    found = best_episodes(rollout, keep_share=keep_share, least_return=least_return)
    assert found == rows


def test_an_unknown_return_is_never_the_best() -> None:
    rollout = earning(make().collect(), RETURNS)
    invalid = replace(rollout.episodes[1], reward_valid=np.array([True, False]))
    episodes = [rollout.episodes[0], invalid, *rollout.episodes[2:]]
    assert best_episodes(Rollout(episodes), keep_share=0.25, least_return=None) == [
        3,
        4,
    ]


def test_a_return_of_many_rewards_is_enough_whatever_the_arithmetic_says() -> None:
    rollout = make().collect()
    rewards = np.array([0.7, 0.1])
    assert rewards.sum() < 0.8  # in float64
    paid = Rollout([replace(e, rewards=rewards) for e in rollout])
    assert len(best_episodes(paid, keep_share=1.0, least_return=0.8)) == 8
    assert best_episodes(paid, keep_share=1.0, least_return=0.8001) == []


def test_the_discount_decides_between_sooner_and_later() -> None:
    rollout = make().collect()
    rewards = [np.array([2.0, 0.0]), np.array([0.0, 3.0])] * 4
    paid = Rollout([replace(e, rewards=r) for e, r in zip(rollout, rewards)])
    for discount, rows in ((1.0, [1, 5]), (0.5, [0, 4])):
        found = best_episodes(
            paid, keep_share=0.25, least_return=None, discount=discount
        )
        assert found == rows


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_gradient_is_that_of_the_cross_entropy_of_the_kept(
    temperature: float,
) -> None:
    algorithm = make(keep_share=0.5, temperature=temperature)
    rollout = noisy(algorithm.collect())
    rows = best_episodes(rollout, keep_share=0.5, least_return=None)
    found = gradient_of(algorithm, rollout)
    # By hand: the mean log-prob of the kept episodes' tokens, in one batch.
    best = Rollout([rollout.episodes[row] for row in rows])
    lm = algorithm.lm
    actions = best.actions(lm.device)
    batch = best.token_batch(np.arange(len(best)), lm.device)
    evaluation = lm.evaluate(batch, temperature=temperature)
    log_probs = gather_actions(evaluation.log_probs, actions)
    loss = -log_probs.sum() / actions.mask.sum()
    parameters = list(lm.module.parameters())
    grads = torch.autograd.grad(loss, parameters, allow_unused=True)
    expected = torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).flatten()
            for p, g in zip(parameters, grads, strict=True)
        ]
    )
    assert relative_distance(found, expected) < 1e-4


def test_steps_and_shares_are_counted() -> None:
    algorithm = make(keep_share=0.5, num_epochs=3, num_minibatches=2)
    rollout = earning(algorithm.collect(), RETURNS)
    figures = algorithm.update(rollout).result()
    assert figures["optimizer_steps"] == 6 and figures["kept_share"] == 0.5
    assert figures["kept_return"] == pytest.approx((3 + 3 + 0 + 0) / 4)
    kept = [rollout.episodes[row] for row in (1, 3, 4, 6)]
    assert figures["trained_tokens"] == sum(e.action_mask.sum() for e in kept)


def test_where_nothing_is_good_enough_nothing_moves() -> None:
    algorithm = make(least_return=100.0)
    before = [p.clone() for p in algorithm.lm.module.parameters()]
    metrics = algorithm.iterate().metrics
    assert metrics["kept_share"] == metrics["optimizer_steps"] == 0
    after = algorithm.lm.module.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    "unused", [{"entropy_coefficient": 0.1}, {"kl_coefficient": 0.1}]
)
def test_it_refuses_what_it_would_ignore(unused: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"no use for {next(iter(unused))}"):
        make(**unused)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="keep_share must lie in"):
        make(keep_share=share)
