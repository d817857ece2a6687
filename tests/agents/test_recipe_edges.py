"""Every recipe at the edges: more padding, short replies, nothing known, nothing to compare."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from agents.algorithm import Algorithm
from agents.engine.language_model import TokenBatch
from agents.engine.local import LocalLM
from agents.experience.rollout import ActionTokens, Rollout
from agents.grpo import GRPO
from agents.recipe import RECIPES
from agents.reinforce import REINFORCE, REINFORCEConfig
from tests.agents.gradients import gradient_of, relative_distance
from tests.agents.test_gradient_invariance import noisy, ragged
from tests.agents.toys import make_lm, make_parrots

SIZES: dict[str, Any] = {"num_episodes": 8, "group_size": 4}


@pytest.fixture(scope="module")
def lm() -> LocalLM:
    """A model whose critic is not zero, so that values matter."""
    lm = make_lm()
    head = lm.network.value_head
    assert head is not None
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        head.weight.copy_(0.05 * torch.randn(128, generator=generator))
    return lm


def make(name: str, lm: LocalLM, **kwargs: Any) -> Algorithm:
    """Return a recipe that takes one step an update."""
    recipe, extra = RECIPES[name], dict(SIZES)
    if recipe.config_class is not REINFORCEConfig:
        extra["num_epochs"] = 1
    env = make_parrots(8, num_turns=3, reply_length=kwargs.pop("reply_length", 4))
    return recipe(lm, env, **extra | kwargs)


def away(lm: LocalLM) -> None:
    """Move the weights, so that the start model is elsewhere and no ratio is 1."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in lm.module.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))


def earning(rollout: Rollout, rewards: npt.NDArray[np.float64]) -> Rollout:
    """Return the episodes paid the rewards (N, T)."""
    return Rollout([replace(e, rewards=r) for e, r in zip(rollout, rewards)])


# --------------------------------------------------------------------------------------- padding


class Padded(Rollout):
    """A rollout whose tensors are wider than they need be, with junk in the room."""

    def token_batch(
        self, rows: npt.NDArray[np.int64], device: torch.device
    ) -> TokenBatch:
        batch = super().token_batch(rows, device)
        junk = torch.full((len(rows), 5), 7)
        return TokenBatch(
            input_ids=torch.cat([batch.input_ids, junk], dim=1),
            lengths=batch.lengths,
            action_mask=torch.cat([batch.action_mask, junk < 0], dim=1),
        )

    def actions(self, device: torch.device) -> ActionTokens:
        actions = super().actions(device)
        zeros = torch.zeros(len(self), 3, dtype=torch.int64)
        junk_N1 = torch.arange(1.0, 1.0 + len(self))[:, None]
        return replace(
            actions,
            positions=torch.cat([actions.positions, zeros], dim=1),
            mask=torch.cat([actions.mask, zeros > 0], dim=1),
            log_probs=torch.cat([actions.log_probs, zeros - junk_N1], dim=1),
            turn=torch.cat([actions.turn, zeros], dim=1),
            is_turn_end=torch.cat([actions.is_turn_end, zeros > 0], dim=1),
        )


@pytest.mark.parametrize("name", RECIPES)
def test_more_padding_does_not_change_the_gradient(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = make_lm()
    algorithm = make(name, lm)
    rollout = noisy(ragged(algorithm.collect()))
    away(lm)
    expected = gradient_of(algorithm, rollout)
    # An update may make rollouts of its own, of what it keeps: they are padded too.
    monkeypatch.setattr("agents.grpo.Rollout", Padded)
    monkeypatch.setattr("agents.filtered_cloning.Rollout", Padded)
    found = gradient_of(algorithm, Padded(rollout.episodes))
    assert expected.norm() > 1e-4
    assert relative_distance(found, expected) < 1e-5


# ---------------------------------------------------------------------- little, or nothing, to see


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_is_learnt_where_no_reward_is_known(name: str) -> None:
    lm = make_lm()
    algorithm = make(name, lm)
    unknown = [
        replace(e, reward_valid=np.zeros(e.num_turns, dtype=np.bool_))
        for e in algorithm.collect()
    ]
    before = [p.detach().clone() for p in lm.network.parameters()]
    figures = algorithm.update(Rollout(unknown)).result()
    assert figures["trained_tokens"] == 0 and math.isfinite(figures["kl"])
    assert figures.get("optimizer_steps", 0) == 0
    for old, new in zip(before, lm.network.parameters(), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("name", RECIPES)
def test_replies_of_one_token_have_a_gradient(lm: LocalLM, name: str) -> None:
    algorithm = make(name, lm, reply_length=1)
    rollout = noisy(algorithm.collect())
    assert all((e.reply_lengths == 1).all() for e in rollout)
    gradient = gradient_of(algorithm, rollout)
    assert bool(gradient.isfinite().all()) and gradient.norm() > 1e-4


COMPARING = [name for name in RECIPES if name not in ("ppo", "remax", "dapo")]
COMPARING.remove("expert_iteration")
SHAPES = {
    # (first group's rewards, second's), in any order: of float32, the sums are not all the same.
    "one turn": ([10.1, 0.0, 0.0], [100.3, 0.0, 0.0]),
    "all turns": ([10.1, 20.3, 30.7], [0.6, 0.7, 0.9]),
}


@pytest.mark.parametrize("group_size", [7, 8])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", COMPARING)
def test_a_rounding_error_is_no_difference_between_replies(
    lm: LocalLM, name: str, shape: str, group_size: int
) -> None:
    settings = {"num_episodes": 2 * group_size, "group_size": group_size}
    # Drift is nothing here, and its rounding errors are another matter.
    algorithm = make(name, lm, kl_coefficient=0.0, credit="episode", **settings)
    rollout = algorithm.collect()
    first, second = SHAPES[shape]
    if name == "reinforce_pp":  # compares with all, not with its group
        second = first
    rng = np.random.default_rng(0)
    rewards = [rng.permutation(first) for _ in range(group_size)]
    rewards += [rng.permutation(second) for _ in range(group_size)]
    dull = gradient_of(algorithm, earning(rollout, np.array(rewards)))
    assert dull.norm() < 1e-3 * gradient_of(algorithm, noisy(rollout)).norm()


def test_dapo_takes_no_empty_step_where_few_groups_are_left() -> None:
    settings = {"num_epochs": 2, "num_minibatches": 8, "overlong_penalty": 0.0}
    algorithm = make("dapo", make_lm(), **settings)
    rewards = np.zeros((8, 3))
    rewards[5, 0] = 1.0  # the second group alone tells something, and has four episodes
    figures = algorithm.update(earning(algorithm.collect(), rewards)).result()
    assert figures["dropped_groups"] == 1
    assert figures["optimizer_steps"] == 2 * 4


# ------------------------------------------------------------------- several choices at a time


def test_a_cap_weighs_the_policy_and_not_the_price_of_drift() -> None:
    lm = make_lm()
    settings = {"scale": "none", "kl_coefficient": 0.5, "kl_estimator": "k2"}
    free, capped = (make("grpo", lm, **settings, importance_cap=c) for c in (None, 1.1))
    rollout = earning(free.collect(), np.zeros((8, 3)))  # drift is all there is
    away(lm)
    expected = gradient_of(free, rollout)
    assert expected.norm() > 1e-4
    assert relative_distance(gradient_of(capped, rollout), expected) < 1e-5
    assert capped.update(rollout).result()["importance_weight"] < 0.99


@pytest.mark.parametrize(
    ("level", "credit"), [("turn", "token"), ("episode", "turn"), ("episode", "token")]
)
def test_a_ratio_of_a_whole_reply_leaves_each_token_its_own_advantage(
    level: str, credit: str
) -> None:
    # On the policy every ratio is 1 whatever it is of, and so there is but one policy gradient.
    # Zheng et al. 2025 call what does this GSPO-token.
    lm = make_lm()
    settings: dict[str, Any] = {"scale": "none", "baseline": "none", "credit": credit}
    settings |= {"kl_coefficient": 0.5, "kl_estimator": "k1", "kl_placement": "reward"}
    env = make_parrots(8, num_turns=3)
    grpo = GRPO(lm, env, **SIZES, **settings, ratio_level=level, num_epochs=1)
    settings["aggregation"] = grpo.config.aggregation
    plain = REINFORCE(lm, env, **SIZES, **settings)
    away(lm)
    rollout = noisy(
        grpo.collect()
    )  # by the moved weights, so there is a drift to pay for
    expected = gradient_of(plain, rollout)
    assert relative_distance(gradient_of(grpo, rollout), expected) < 1e-4
