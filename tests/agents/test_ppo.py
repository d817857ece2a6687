"""What is PPO's alone: the critic, minibatches, the early end, KL in both places."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from agents.engine.local import LocalLM
from agents.experience.rollout import Rollout
from agents.ppo import PPO
from tests.agents.toys import make_lm, make_parrots

SMALL: dict[str, Any] = {"num_episodes": 8, "group_size": 4}


def with_critic(lm: LocalLM) -> LocalLM:
    """Give the critic weights, so that its values differ from place to place."""
    head = lm.network.value_head
    assert head is not None
    with torch.no_grad():
        head.weight.copy_(
            0.1 * torch.randn(128, generator=torch.Generator().manual_seed(0))
        )
        head.bias.fill_(0.3)
    return lm


def test_values_are_those_of_the_contexts_in_which_tokens_were_chosen() -> None:
    lm = with_critic(make_lm())
    ppo = PPO(lm, make_parrots(4, num_turns=3), **SMALL)
    rollout = ppo.collect()
    actions = rollout.actions(lm.device)
    values_NK, final_N = ppo.values(rollout, actions)
    head = lm.network.value_head
    assert head is not None
    for n, episode in enumerate(rollout):  # by hand, one prefix at a time
        where = np.flatnonzero(episode.action_mask)
        for k, s in enumerate(where):
            with torch.no_grad():
                prefix = torch.from_numpy(episode.ids[:s])[None]
                hidden = lm.module.model(input_ids=prefix).last_hidden_state[0, -1]
                assert float(values_NK[n, k]) == pytest.approx(
                    float(head(hidden)), abs=1e-5
                )
        with torch.no_grad():
            whole = torch.from_numpy(episode.ids)[None]
            hidden = lm.module.model(input_ids=whole).last_hidden_state[0, -1]
            assert float(final_N[n]) == pytest.approx(float(head(hidden)), abs=1e-5)
        assert values_NK[n, len(where) :].tolist() == [0.0] * (
            values_NK.shape[1] - len(where)
        )


def test_only_a_truncated_episode_is_valued_past_its_end() -> None:
    lm = with_critic(make_lm())
    ppo = PPO(lm, make_parrots(4), trace=1.0, discount=0.5, is_whitened=False, **SMALL)
    rollout = ppo.collect()
    cut = Rollout([replace(e, terminated=False, truncated=True) for e in rollout])
    actions = rollout.actions(lm.device)
    reference = torch.zeros_like(actions.log_probs)
    _, final_N = ppo.values(rollout, actions)
    ended = ppo.targets(rollout, actions, reference)
    going_on = ppo.targets(cut, actions, reference)
    difference_NK = going_on.returns - ended.returns
    # Two turns: what follows the last is discounted once there, twice in the first.
    weight_NK = torch.where(actions.turn == 1, 0.5, 0.25) * actions.mask
    assert torch.allclose(difference_NK, weight_NK * final_N[:, None], atol=1e-5)


def test_the_critic_may_have_a_trace_of_its_own() -> None:
    lm = with_critic(make_lm())
    settings = SMALL | {"trace": 0.5, "is_whitened": False}
    own, one, decoupled = (
        PPO(lm, make_parrots(4, num_turns=3), **settings | extra)
        for extra in ({}, {"trace": 1.0}, {"critic_trace": 1.0})
    )
    rollout = own.collect()
    actions = rollout.actions(lm.device)
    reference = torch.zeros_like(actions.log_probs)
    short, long, both = (
        p.targets(rollout, actions, reference) for p in (own, one, decoupled)
    )
    assert torch.equal(both.advantages, short.advantages)
    assert torch.equal(both.returns, long.returns)
    # With trace 1 a target is the return itself, whatever the critic said.
    for n, episode in enumerate(rollout):
        to_go = np.cumsum(episode.rewards[::-1])[::-1]
        expected = [to_go[t] for t in episode.turn_index[episode.action_mask]]
        found = both.returns[n, : len(expected)].tolist()
        assert found == pytest.approx(expected, abs=1e-5)
    assert not torch.allclose(short.returns, long.returns, atol=1e-2)


def test_a_cap_leaves_ppo_alone_where_trainer_and_sampler_agree() -> None:
    metrics = [
        PPO(make_lm(), make_parrots(4), importance_cap=cap, **SMALL).iterate().metrics
        for cap in (None, 2.0)
    ]
    assert metrics[1]["importance_weight"] == pytest.approx(1.0, abs=1e-5)
    for name in ("policy_loss", "value_loss", "grad_norm"):
        assert metrics[1][name] == pytest.approx(metrics[0][name], rel=1e-2, abs=1e-5)


def test_kl_in_the_reward_is_paid_token_by_token() -> None:
    lm = make_lm()
    free = PPO(lm, make_parrots(4), trace=0.0, is_whitened=False, **SMALL)
    paid = PPO(
        lm, make_parrots(4), trace=0.0, is_whitened=False, kl_coefficient=0.5, **SMALL
    )
    rollout = free.collect()
    actions = rollout.actions(lm.device)
    reference = (
        actions.log_probs - 0.2 * actions.mask
    )  # every token is 0.2 nats likelier now
    a, b = (p.targets(rollout, actions, reference) for p in (free, paid))
    assert torch.allclose(b.advantages - a.advantages, -0.1 * actions.mask, atol=1e-6)


def test_minibatches_and_epochs_are_counted() -> None:
    ppo = PPO(make_lm(), make_parrots(4), num_epochs=3, num_minibatches=4, **SMALL)
    assert ppo.iterate().metrics["optimizer_steps"] == 12


def test_a_small_target_kl_ends_an_update_early() -> None:
    settings = SMALL | {"num_epochs": 6, "learning_rate": 1e-2}
    metrics = [
        PPO(make_lm(), make_parrots(4), target_kl=target, **settings).iterate().metrics
        for target in (None, 1e-3)
    ]
    assert metrics[0]["optimizer_steps"] == 6
    # The first step sees the sampler's own weights (KL 0), the second what the first has done.
    assert metrics[1]["optimizer_steps"] == 2


def test_the_critic_learns_a_constant() -> None:
    env = make_parrots(8, reward=always_three)
    ppo = PPO(make_lm(), env, value_learning_rate=3e-2, value_clip=None, **SMALL)
    reports: list[float] = []
    ppo.learn(
        total_iterations=15, callback=lambda r: reports.append(r.metrics["value_loss"])
    )
    assert reports[0] > 5 and reports[-1] < 0.5 * reports[0]


def always_three(reply: str) -> float:
    return 3.0
