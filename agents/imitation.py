"""The gradient of imitation: cross-entropy on what the agent says in given dialogues.

Supervised fine-tuning takes steps along it; PPO may add it to its own, so that what the model knew
is not unlearnt (Ouyang et al. 2022, equation 2).

Shape legend: B of a micro-batch, K action tokens.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from agents.engine.language_model import LanguageModel
from agents.experience.micro_batch import micro_batches
from agents.experience.rollout import Rollout, gather_actions
from agents.experience.tally import Tally
from agents.objective.loss import token_weights, weighted_sum

__all__ = ["imitate", "measure_likelihood", "ramped_rate"]


def imitate(
    lm: LanguageModel,
    rollout: Rollout,
    token_budget: int,
    coefficient: float = 1.0,
    *,
    temperature: float = 1.0,
) -> Tally:
    """Accumulate the gradient of `coefficient` times the mean cross-entropy of the agent's tokens.

    Args:
        lm: its gradient is added to; no step is taken.
        rollout: the dialogues.
        token_budget: largest micro-batch.
        coefficient: weight of the loss.
        temperature: divides the logits.

    Returns:
        `cross_entropy` and `entropy`, means a token, of all processes.
    """
    actions = rollout.actions(lm.device)
    num_tokens, num_episodes = int(actions.lengths.sum()), len(rollout)
    measured = Tally()
    for micro in micro_batches(rollout, actions, np.arange(len(rollout)), token_budget):
        some = micro.actions
        weights_BK = token_weights(
            some.mask,
            aggregation="token-mean",
            num_tokens=num_tokens,
            num_episodes=num_episodes,
        )
        evaluation = lm.evaluate(
            rollout.token_batch(micro.rows, lm.device), temperature=temperature
        )
        log_probs_BK = gather_actions(evaluation.log_probs, some)
        lm.backward(-coefficient * weighted_sum(log_probs_BK, weights_BK))
        measured.add("cross_entropy", -log_probs_BK, some.mask)
        entropy_BK = gather_actions(evaluation.entropy, some)
        measured.add("entropy", entropy_BK, some.mask)
    return measured.over_processes()


@torch.no_grad()
def measure_likelihood(
    lm: LanguageModel, rollout: Rollout, token_budget: int
) -> dict[str, Any]:
    """Return the mean cross-entropy of the agent's tokens, its perplexity, and their number."""
    actions = rollout.actions(lm.device)
    measured = Tally()
    for micro in micro_batches(rollout, actions, np.arange(len(rollout)), token_budget):
        evaluation = lm.evaluate(rollout.token_batch(micro.rows, lm.device))
        log_probs_BK = gather_actions(evaluation.log_probs, micro.actions)
        measured.add("cross_entropy", -log_probs_BK, micro.actions.mask)
    mean = measured.over_processes().result()["cross_entropy"]
    return {
        "cross_entropy": mean,
        "perplexity": math.exp(min(mean, 700.0)),
        "tokens": int(actions.lengths.sum()),
        "dialogues": len(rollout),
    }


def ramped_rate(
    step: int, *, peak: float, num_warmup_steps: int, num_steps: int
) -> float:
    """Return the step size of step 1, 2, ...: a linear rise, then a linear fall to 0 at the end.

    >>> [ramped_rate(s, peak=1.0, num_warmup_steps=2, num_steps=4) for s in (1, 2, 3, 4, 5)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step <= num_warmup_steps:
        return peak * step / num_warmup_steps
    left = num_steps + 1 - step
    return peak * max(left, 0) / max(num_steps - num_warmup_steps, 1)
