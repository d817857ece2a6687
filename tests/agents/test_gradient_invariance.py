"""What must not change a gradient does not: micro-batches, row order, padding, unknown rewards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from agents.algorithm import Algorithm
from agents.engine.local import LocalLM
from agents.experience.rollout import Episode, Rollout
from agents.ppo import PPO
from agents.recipe import RECIPES
from agents.reinforce import REINFORCE, REINFORCEConfig
from agents.sft import SFT
from tests.agents.gradients import gradient_of, relative_distance
from tests.agents.toys import make_lm, make_parrots

SIZES: dict[str, Any] = {"num_episodes": 8, "group_size": 4}
ONE_STEP: dict[str, Any] = SIZES | {"num_epochs": 1, "num_minibatches": 1}
RECIPE_CASES: list[tuple[Any, dict[str, Any]]] = [
    (
        recipe,
        SIZES | ({} if recipe.config_class is REINFORCEConfig else {"num_epochs": 1}),
    )
    for name, recipe in RECIPES.items()
    if name not in ("ppo", "reinforce")
]
CASES: list[tuple[Any, dict[str, Any]]] = [
    (REINFORCE, SIZES),
    (
        REINFORCE,
        SIZES
        | {"scale": "batch", "credit": "turn", "aggregation": "seq-mean-token-mean"},
    ),
    (
        REINFORCE,
        SIZES | {"entropy_coefficient": 0.1, "aggregation": "seq-mean-token-sum"},
    ),
    (PPO, ONE_STEP),
    (
        PPO,
        ONE_STEP | {"aggregation": "seq-mean-token-mean", "entropy_coefficient": 0.1},
    ),
    (SFT, {"num_episodes": 8}),
    *RECIPE_CASES,
    (RECIPES["gspo"], ONE_STEP | {"credit": "token", "ratio_level": "episode"}),
    (RECIPES["grpo"], ONE_STEP | {"credit": "turn", "scale": "return_batch"}),
]


@pytest.fixture(scope="module")
def lm() -> LocalLM:
    """A model whose critic is not zero, so that values matter."""
    lm = make_lm()
    head = lm.network.value_head
    assert head is not None
    with torch.no_grad():
        head.weight.copy_(
            0.05 * torch.randn(128, generator=torch.Generator().manual_seed(0))
        )
    return lm


def ragged(rollout: Rollout) -> Rollout:
    """Return the episodes with uneven numbers of turns (and so lengths and counts)."""
    return Rollout([first_turns(e, 1 + i % e.num_turns) for i, e in enumerate(rollout)])


def first_turns(episode: Episode, num_turns: int) -> Episode:
    """Return the beginning of an episode, as if it had been truncated there."""
    end = int(np.flatnonzero(episode.turn_index < num_turns)[-1]) + 1
    later = np.flatnonzero(episode.turn_index >= num_turns)
    end = min(end, int(later[0])) if len(later) else end
    return replace(
        episode,
        ids=episode.ids[:end],
        action_mask=episode.action_mask[:end],
        log_probs=episode.log_probs[:end],
        turn_index=episode.turn_index[:end],
        rewards=episode.rewards[:num_turns],
        reward_valid=episode.reward_valid[:num_turns],
        reward_components={
            n: v[:num_turns] for n, v in episode.reward_components.items()
        },
        reply_lengths=episode.reply_lengths[:num_turns],
        reply_cut=episode.reply_cut[:num_turns],
        terminated=episode.terminated and num_turns == episode.num_turns,
        truncated=num_turns < episode.num_turns,
    )


def noisy(rollout: Rollout) -> Rollout:
    """Return the episodes with rewards that tell them apart (a random model earns next to none)."""
    rng = np.random.default_rng(0)
    return Rollout([replace(e, rewards=rng.normal(size=e.num_turns)) for e in rollout])


def make(cls: Any, lm: LocalLM, **kwargs: Any) -> Algorithm:
    return cls(lm, make_parrots(8, num_turns=3), **kwargs)


@pytest.mark.parametrize(("cls", "kwargs"), CASES)
def test_micro_batches_do_not_change_the_gradient(
    lm: LocalLM, cls: Any, kwargs: dict[str, Any]
) -> None:
    whole = make(cls, lm, **kwargs)
    rollout = noisy(ragged(whole.collect()))
    assert len(whole.collect().pack(np.arange(8), whole.config.token_budget)) == 1
    expected = gradient_of(whole, rollout)
    for budget in (1, 60, 100):
        cut = make(cls, lm, **kwargs, token_budget=budget)
        assert len(rollout.pack(np.arange(8), budget)) > 1
        assert relative_distance(gradient_of(cut, rollout), expected) < 1e-4


@pytest.mark.parametrize(("cls", "kwargs"), CASES)
def test_row_order_does_not_change_the_gradient(
    lm: LocalLM, cls: Any, kwargs: dict[str, Any]
) -> None:
    algorithm = make(cls, lm, **kwargs)
    rollout = noisy(ragged(algorithm.collect()))
    order = np.random.default_rng(1).permutation(8)
    shuffled = Rollout([rollout.episodes[i] for i in order])
    expected = gradient_of(algorithm, rollout)
    assert relative_distance(gradient_of(algorithm, shuffled), expected) < 1e-4


def test_a_gradient_that_should_change_does(lm: LocalLM) -> None:
    # Negative control of this file: other rewards, another gradient.
    algorithm = make(PPO, lm, **ONE_STEP)
    rollout = noisy(algorithm.collect())
    other = Rollout([replace(e, rewards=e.rewards[::-1].copy()) for e in rollout])
    distance = relative_distance(
        gradient_of(algorithm, other), gradient_of(algorithm, rollout)
    )
    assert distance > 0.1


def with_unknown_reward(
    rollout: Rollout, reward: float, log_prob: float | None
) -> Rollout:
    """Return the rollout with turn 1 of episode 0 unknown: some reward, some log-probs there."""
    episode = rollout.episodes[0]
    valid, rewards = episode.reward_valid.copy(), episode.rewards.copy()
    valid[1], rewards[1] = False, reward
    log_probs = episode.log_probs.copy()
    if log_prob is not None:
        log_probs[episode.turn_index == 1] = log_prob
    changed = replace(episode, reward_valid=valid, rewards=rewards, log_probs=log_probs)
    return Rollout([changed, *rollout.episodes[1:]])


@pytest.mark.parametrize(
    ("cls", "kwargs"),
    [(REINFORCE, SIZES), (REINFORCE, SIZES | {"credit": "turn"}), (PPO, ONE_STEP)],
)
def test_a_turn_without_a_known_reward_is_left_out_of_the_loss(
    lm: LocalLM, cls: type[Algorithm], kwargs: dict[str, Any]
) -> None:
    algorithm = make(cls, lm, **kwargs)
    rollout = noisy(algorithm.collect())
    expected = gradient_of(algorithm, with_unknown_reward(rollout, 0.0, None))
    # Neither what stands in its place nor what was said there has any weight.
    for reward, log_prob in ((np.nan, None), (1e6, -1e-3)):
        changed = with_unknown_reward(rollout, reward, log_prob)
        assert torch.equal(gradient_of(algorithm, changed), expected)
    assert relative_distance(gradient_of(algorithm, rollout), expected) > 1e-3
    tally = algorithm.update(with_unknown_reward(rollout, np.nan, None)).result()
    episode, num_tokens = rollout.episodes[0], int(
        rollout.actions(lm.device).lengths.sum()
    )
    left_out = {
        ("REINFORCE", "episode"): episode.action_mask.sum(),
        ("REINFORCE", "turn"): np.isin(episode.turn_index, (0, 1)).sum(),
        ("PPO", "episode"): (episode.turn_index == 1).sum(),
    }[cls.__name__, kwargs.get("credit", "episode")]
    assert tally["trained_tokens"] == num_tokens - left_out


def test_ppo_in_one_unclipped_epoch_has_the_gradient_of_reinforce() -> None:
    lm = make_lm()  # its critic says 0, so that with trace 1 advantages are returns
    ppo = make(
        PPO,
        lm,
        **ONE_STEP,
        trace=1.0,
        discount=0.9,
        clip_low=1.0,
        clip_high=1e9,
        is_whitened=False,
        value_coefficient=0.0,
    )
    reinforce = make(
        REINFORCE, lm, **SIZES, discount=0.9, baseline="none", credit="turn"
    )
    rollout = noisy(ppo.collect())
    expected = gradient_of(reinforce, rollout)
    assert relative_distance(gradient_of(ppo, rollout), expected) < 1e-4
    # Negative control: with the discount of another clock they differ.
    wrong = make(REINFORCE, lm, **SIZES, discount=0.5, baseline="none", credit="turn")
    assert relative_distance(gradient_of(wrong, rollout), expected) > 0.1


def test_kl_in_the_reward_is_the_gradient_of_kl_in_the_loss_on_average() -> None:
    # With one-token replies, no reward and k1 as the reward, the policy gradient is
    # E[kl * grad log p], which is the gradient of the loss k2: on samples they are equal.
    lm = make_lm()
    env = make_parrots(8, num_turns=1, reply_length=1)
    kwargs: dict[str, Any] = SIZES | {"baseline": "none", "kl_coefficient": 0.5}
    paid = REINFORCE(lm, env, **kwargs, kl_estimator="k1", kl_placement="reward")
    charged = REINFORCE(lm, env, **kwargs, kl_estimator="k2", kl_placement="loss")
    with torch.no_grad():  # away from the start model
        for parameter in lm.module.parameters():
            noise = torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(1)
            )
            parameter.add_(0.02 * noise)
    rollout = paid.collect()
    rollout = Rollout([replace(e, rewards=np.zeros(e.num_turns)) for e in rollout])
    expected = gradient_of(charged, rollout)
    assert expected.norm() > 1e-4
    assert relative_distance(gradient_of(paid, rollout), expected) < 1e-3
