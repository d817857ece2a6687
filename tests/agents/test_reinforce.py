"""REINFORCE's advantages on whole rollouts, worked out a second time without tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from agents.experience.rollout import Episode, Rollout
from agents.reinforce import REINFORCE
from tests.agents.toys import make_lm, make_parrots

SMALL: dict[str, Any] = {"num_episodes": 8, "group_size": 4, "discount": 0.5}


def make(**kwargs: Any) -> REINFORCE:
    return REINFORCE(make_lm(), make_parrots(8, num_turns=3), **SMALL | kwargs)


def paid(rollout: Rollout) -> Rollout:
    rng = np.random.default_rng(0)
    return Rollout([replace(e, rewards=rng.normal(size=e.num_turns)) for e in rollout])


def returns_to_go(episode: Episode) -> list[float]:
    """Return the discounted return from each turn on."""
    rewards = episode.rewards
    return [
        float(sum(0.5 ** (u - t) * rewards[u] for u in range(t, len(rewards))))
        for t in range(len(rewards))
    ]


def advantages(algorithm: REINFORCE, rollout: Rollout) -> list[list[float]]:
    """Return the advantage of each turn of each episode; all its tokens must agree on it."""
    actions = rollout.actions(algorithm.lm.device)
    values_NK, mask_NK = algorithm.advantages(
        rollout, actions, torch.zeros_like(actions.log_probs)
    )
    assert torch.equal(mask_NK, actions.mask)
    table: list[list[float]] = []
    for n, episode in enumerate(rollout):
        row = []
        for turn in range(episode.num_turns):
            said = actions.mask[n] & (actions.turn[n] == turn)
            (value,) = set(values_NK[n, said].tolist())
            row.append(value)
        table.append(row)
    return table


@pytest.mark.parametrize("credit", ["episode", "turn"])
def test_leave_one_out_over_a_rollout(credit: str) -> None:
    algorithm = make(credit=credit)
    rollout = paid(algorithm.collect())
    found = advantages(algorithm, rollout)
    for n, episode in enumerate(rollout):
        others = [e for m, e in enumerate(rollout) if m // 4 == n // 4 and m != n]
        for turn in range(episode.num_turns):
            at = turn if credit == "turn" else 0
            baseline = np.mean([returns_to_go(e)[at] for e in others])
            expected = returns_to_go(episode)[at] - baseline
            assert found[n][turn] == pytest.approx(expected, abs=1e-5)


def test_the_greedy_baseline_is_the_return_of_the_greedy_dialogue() -> None:
    algorithm = make(baseline="greedy", discount=1.0)
    rollout = algorithm.collect()
    baseline = algorithm.greedy_returns(rollout)
    collector = algorithm.collector
    greedy = collector.collect(
        2, 0, sampling=replace(collector.sampling, is_greedy=True), group_size=1
    )
    for n, episode in enumerate(rollout):
        twin = greedy.episodes[n // 4]
        assert twin.seed == episode.seed
        assert baseline[n].tolist() == pytest.approx([twin.total_reward] * 3)
        found = advantages(algorithm, rollout)[n]
        assert found == pytest.approx(
            [episode.total_reward - twin.total_reward] * 3, abs=1e-6
        )


def test_a_greedy_dialogue_without_a_known_return_is_no_baseline() -> None:
    def broken(reply: str) -> float:
        raise ConnectionError("no answer")

    env = make_parrots(8, num_turns=3, reward=broken, on_error="mask")
    algorithm = REINFORCE(make_lm(), env, baseline="greedy", **SMALL)
    assert algorithm.greedy_returns(algorithm.collect()).isnan().all()


def test_kl_in_the_reward_is_paid_by_the_turn_that_caused_it() -> None:
    free, dear = (
        make(credit="turn", baseline="none", kl_coefficient=c) for c in (0.0, 0.5)
    )
    rollout = paid(free.collect())
    actions = rollout.actions(free.lm.device)
    # Every token of turn 1 is 0.2 nats likelier than under the start model.
    reference = actions.log_probs - 0.2 * (actions.mask & (actions.turn == 1))
    (a, _), (b, _) = (x.advantages(rollout, actions, reference) for x in (free, dear))
    for n, episode in enumerate(rollout):
        price = 0.5 * 0.2 * int(episode.reply_lengths[1])
        # Turn 0 pays it too, discounted; turn 2 comes after it.
        expected = torch.tensor([-0.5 * price, -price, 0.0])[actions.turn[n]]
        difference = (b - a)[n]
        assert torch.allclose(difference, expected * actions.mask[n], atol=1e-5)


def test_whitening_covers_the_whole_rollout() -> None:
    algorithm = make(scale="batch")
    rollout = paid(algorithm.collect())
    actions = rollout.actions(algorithm.lm.device)
    values_NK, mask_NK = algorithm.advantages(
        rollout, actions, torch.zeros_like(actions.log_probs)
    )
    chosen = values_NK[mask_NK].double()
    assert float(chosen.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(chosen.var(correction=0)) == pytest.approx(1.0, abs=1e-4)
