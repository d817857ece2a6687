"""The gradient of imitation: by hand, and whatever the cuts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.engine.language_model import TrainingConfig
from agents.experience.rollout import Rollout
from agents.imitation import imitate, measure_likelihood
from agents.sft import demonstrations
from tests.agents.gradients import relative_distance
from tests.agents.toys import make_lm, make_parrots


def dialogues() -> Rollout:
    return demonstrations(make_parrots(4, num_turns=3), num_episodes=6, seed=1)


def gradient(token_budget: int, coefficient: float = 1.0) -> torch.Tensor:
    lm = make_lm(has_value_head=False)
    lm.configure_training(TrainingConfig())
    imitate(lm, dialogues(), token_budget, coefficient)
    return torch.cat([p.grad.flatten() for p in lm.module.parameters()])  # type: ignore[union-attr]


def test_the_gradient_is_that_of_the_mean_cross_entropy_by_hand() -> None:
    lm = make_lm(has_value_head=False)
    total, count = torch.zeros(()), 0
    for episode in dialogues():
        ids = torch.from_numpy(episode.ids)
        log_probs = lm.module(ids[None]).logits[0].log_softmax(-1)
        for s in np.flatnonzero(episode.action_mask):
            total = total - log_probs[s - 1, ids[s]]
            count += 1
    (3.0 * total / count).backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in lm.module.parameters() if p.grad is not None]
    expected = torch.cat([g.flatten() for g in gradients])
    assert relative_distance(gradient(10_000, 3.0), expected) < 1e-4


def test_the_cut_into_micro_batches_changes_no_gradient() -> None:
    assert relative_distance(gradient(40), gradient(10_000)) < 1e-5


def test_likelihood_is_measured_without_a_gradient() -> None:
    lm = make_lm(has_value_head=False)
    lm.configure_training(TrainingConfig())
    rollout = dialogues()
    found = measure_likelihood(lm, rollout, 40)
    again = imitate(lm, rollout, 10_000).result()
    assert found["cross_entropy"] == pytest.approx(again["cross_entropy"], abs=1e-5)
    assert found["perplexity"] == pytest.approx(np.exp(found["cross_entropy"]))
    assert found["dialogues"] == 6
    assert found["tokens"] == sum(int(e.action_mask.sum()) for e in rollout)
