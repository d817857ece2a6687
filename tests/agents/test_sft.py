"""Imitation: the loss is the script's cross-entropy, and only the script's tokens are learnt."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from agents.sft import SFT, demonstrations
from tests.agents.toys import WORDS, make_lm, make_parrots


def test_demonstrations_are_the_scripts_and_repeat() -> None:
    first = demonstrations(make_parrots(4), num_episodes=6, seed=3)
    assert all(e.success for e in first)
    again = demonstrations(make_parrots(2), num_episodes=6, seed=3)
    assert [e.ids.tolist() for e in first] == [e.ids.tolist() for e in again]
    other = demonstrations(make_parrots(4), num_episodes=6, seed=3, iteration=1)
    assert [e.seed for e in first] != [e.seed for e in other]
    flawed = demonstrations(make_parrots(4), "flawed", num_episodes=6)
    said = {
        m["content"] for e in flawed for m in e.messages if m["role"] == "assistant"
    }
    assert said == {WORDS[0]}


def test_the_loss_is_the_cross_entropy_of_the_scripts_tokens() -> None:
    lm = make_lm()
    sft = SFT(lm, make_parrots(4), num_episodes=4, num_steps=5)
    rollout = sft.collect()
    total, count = 0.0, 0
    with torch.no_grad():  # by hand, through the bare module
        for episode in rollout:
            ids = torch.from_numpy(episode.ids)[None]
            logits = lm.module(ids).logits[0].double()
            logits[
                :, sorted(sft.env.tokenizer.control_ids - sft.env.template.stop_ids)
            ] = -math.inf
            log_probs = logits.log_softmax(-1)
            for s in np.flatnonzero(episode.action_mask):
                total -= float(log_probs[s - 1, episode.ids[s]])
                count += 1
    metrics = sft.update(rollout).result()
    assert metrics["trained_tokens"] == count
    assert metrics["cross_entropy"] == pytest.approx(total / count, abs=1e-5)


def test_the_step_size_rises_and_falls() -> None:
    sft = SFT(
        make_lm(), make_parrots(2), learning_rate=1.0, num_steps=10, num_warmup_steps=4
    )
    rates = []
    for sft.iteration in range(10):
        rates.append(sft.learning_rate())
    assert rates == pytest.approx(
        [0.25, 0.5, 0.75, 1.0, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    )


def test_learn_ends_with_the_schedule_and_imitates() -> None:
    sft = SFT(
        make_lm(),
        make_parrots(8),
        script="flawed",
        num_episodes=8,
        num_steps=25,
        num_warmup_steps=5,
    )
    losses: list[float] = []
    sft.learn(callback=lambda report: losses.append(report.metrics["cross_entropy"]))
    assert sft.iteration == 25 and sft.is_finished
    assert losses[0] > 5 and losses[-1] < 0.3
    observation, _ = sft.env.reset(seed=0)
    actions, _ = sft.predict(observation, deterministic=True)
    assert {sft.env.envs[0].decode(action) for action in actions} == {WORDS[0]}
