"""What can be said of a rollout: returns, lengths, failures, distance from the start model."""

from __future__ import annotations

import math

import numpy as np
import torch

from agents.experience.rollout import ActionTokens, Rollout
from agents.experience.tally import Tally
from agents.objective.kl import estimate_kl

__all__ = ["describe_drift", "describe_rollout", "measure_agreement"]


def describe_rollout(rollout: Rollout) -> Tally:
    """Return means over the episodes, their turns or their replies.

    `return`, `gold_return` (the task's own reward, whatever was paid), `success`, `turns`,
    `truncated_share`, `env/*` and `reward/*` are means an episode,
    `reply_length` (tokens), `cut_share` and `reward_error_rate` means a turn; `reply_tokens` and
    `episodes` are totals. An episode with an unknown reward has no return and is left out of it.
    """
    tally = Tally()
    known = [e.total_reward for e in rollout if e.is_known]
    tally.add_ratio("return", sum(known), len(known))
    golds = [e.total_gold for e in rollout if not math.isnan(e.total_gold)]
    if golds:
        tally.add_ratio("gold_return", sum(golds), len(golds))
    tally.add_ratio("success", sum(e.success for e in rollout), len(rollout))
    num_turns = int(rollout.num_turns.sum())
    tally.add_ratio("turns", num_turns, len(rollout))
    num_tokens = int(sum(e.reply_lengths.sum() for e in rollout))
    tally.add_ratio("reply_length", num_tokens, num_turns)
    tally.add_ratio(
        "cut_share", int(sum(e.reply_cut.sum() for e in rollout)), num_turns
    )
    invalid = int(sum((~e.reward_valid).sum() for e in rollout))
    tally.add_ratio("reward_error_rate", invalid, num_turns)
    tally.add_ratio("truncated_share", sum(e.truncated for e in rollout), len(rollout))
    tally.add_total("reply_tokens", num_tokens)
    tally.add_total("episodes", len(rollout))
    for name in rollout.episodes[0].metrics:
        tally.add_ratio(
            f"env/{name}", sum(e.metrics[name] for e in rollout), len(rollout)
        )
    for name in rollout.episodes[0].reward_components:
        values = np.concatenate(
            [e.reward_components[name][e.reward_valid] for e in rollout]
        )
        tally.add_ratio(f"reward/{name}", float(values.sum()), len(rollout))
    return tally


def describe_drift(actions: ActionTokens, reference_BK: torch.Tensor) -> Tally:
    """Return how far the policy that played is from the start model, in nats.

    `kl` is the mean k3 estimate a token, `kl_per_reply` the mean over replies of the summed k1.

    Args:
        actions: with the sampler's log-probs.
        reference_BK: log-probs of the same tokens under the start model.
    """
    tally = Tally()
    tally.add("kl", estimate_kl(actions.log_probs, reference_BK, "k3"), actions.mask)
    k1_BK = estimate_kl(actions.log_probs, reference_BK, "k1")
    total = torch.where(actions.mask, k1_BK, torch.zeros_like(k1_BK)).double().sum()
    tally.add_ratio("kl_per_reply", float(total), int(actions.is_turn_end.sum()))
    return tally


def measure_agreement(
    tally: Tally, log_probs_BK: torch.Tensor, actions: ActionTokens
) -> None:
    """Add how well trainer and sampler agree, before the weights have moved.

    `log_prob_gap` is mean |d log p|, `ratio_error` is max |ratio - 1|. Both compare the trainer's
    own log-probs with those that the sampler recorded, so they are 0 only if the two really agree.
    """
    difference_BK = log_probs_BK.detach() - actions.log_probs
    tally.add("log_prob_gap", difference_BK.abs(), actions.mask)
    tally.add_max("ratio_error", torch.expm1(difference_BK).abs(), actions.mask)
