"""What is minimised. Every loss is an inner product of per-token terms with weights.

The weights come from `token_weights` and carry the *global* counts of everything that one optimizer
step sees. Losses of micro-batches (or of processes) therefore just add up, and how a batch is cut
does not change its gradient.

Shape legend: B episodes, K action tokens of an episode.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

__all__ = [
    "Aggregation",
    "clipped_policy_loss",
    "entropy_loss",
    "is_clipped",
    "policy_gradient_loss",
    "token_weights",
    "value_loss",
    "weighted_policy_loss",
    "weighted_sum",
]

Aggregation = Literal[
    "token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"
]


def token_weights(
    mask_BK: torch.Tensor,
    *,
    aggregation: Aggregation,
    num_tokens: int,
    num_episodes: int,
    episode_limit: int | None = None,
) -> torch.Tensor:
    """Return (B, K) float32 weights with which per-token terms are summed to a loss.

    The names are the usual ones; a sequence is an episode.

    - `token-mean`: every token counts 1 / num_tokens (DAPO).
    - `seq-mean-token-mean`: every episode counts 1 / num_episodes, shared among its own tokens
      (GRPO).
    - `seq-mean-token-sum`: every token counts 1 / num_episodes (the policy gradient of whole
      episodes).
    - `seq-mean-token-sum-norm`: that divided by a constant, the most tokens that an episode may
      have (Dr. GRPO, Liu et al. 2025, arXiv:2503.20783): long replies do not count less.

    Args:
        mask_BK: bool, tokens that take part.
        aggregation: which of the above.
        num_tokens: tokens that take part in the *whole* optimizer step, not only in these rows.
        num_episodes: episodes with such a token in the whole optimizer step.
        episode_limit: for `seq-mean-token-sum-norm`: the constant, at least 1.

    Raises:
        ValueError: on an unknown aggregation, a count below the mask's own, a missing constant.

    >>> mask = torch.tensor([[True, True], [True, False]])
    >>> mean = "seq-mean-token-mean"
    >>> token_weights(mask, aggregation=mean, num_tokens=3, num_episodes=2).tolist()
    [[0.25, 0.25], [0.5, 0.0]]
    """
    mask_tokens, mask_episodes = int(mask_BK.sum()), int(mask_BK.any(1).sum())
    if num_tokens < max(mask_tokens, 1) or num_episodes < max(mask_episodes, 1):
        raise ValueError(
            f"num_tokens={num_tokens} and num_episodes={num_episodes} must count the whole step, "
            f"but these rows alone hold {mask_tokens} tokens of {mask_episodes} episodes."
        )
    weights_BK = mask_BK.to(torch.float32)
    if aggregation == "token-mean":
        return weights_BK / num_tokens
    if aggregation == "seq-mean-token-mean":
        return weights_BK / weights_BK.sum(1, keepdim=True).clamp(min=1) / num_episodes
    if aggregation == "seq-mean-token-sum":
        return weights_BK / num_episodes
    if aggregation == "seq-mean-token-sum-norm":
        if episode_limit is None or episode_limit < 1:
            raise ValueError(
                f"aggregation={aggregation!r} divides by episode_limit, the most tokens of an "
                f"episode; got {episode_limit}."
            )
        return weights_BK / num_episodes / episode_limit
    raise ValueError(
        f"Unknown aggregation {aggregation!r}; choose one of {', '.join(get_args(Aggregation))}."
    )


def weighted_sum(terms_BK: torch.Tensor, weights_BK: torch.Tensor) -> torch.Tensor:
    """Return the scalar sum of terms times weights; a term of weight 0 cannot spoil it with NaN."""
    return (
        torch.where(weights_BK != 0, terms_BK, torch.zeros_like(terms_BK)) * weights_BK
    ).sum()


def policy_gradient_loss(
    log_probs_BK: torch.Tensor, advantages_BK: torch.Tensor, weights_BK: torch.Tensor
) -> torch.Tensor:
    """Return the scalar whose gradient is the negative policy gradient (Williams 1992).

    >>> one = torch.ones(1, 1)
    >>> policy_gradient_loss(-0.5 * one, 2.0 * one, one).item()
    1.0
    """
    return -weighted_sum(log_probs_BK * advantages_BK, weights_BK)


def clipped_policy_loss(
    log_ratio_BK: torch.Tensor,
    advantages_BK: torch.Tensor,
    weights_BK: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> torch.Tensor:
    """Return PPO's clipped surrogate as a scalar to minimise (Schulman et al. 2017, equation 7).

    Args:
        log_ratio_BK: from `log_ratios`, of now to the sampler's, with gradient.
        advantages_BK: without gradient.
        weights_BK: from `token_weights`.
        clip_low: the ratio is clipped from below at 1 - clip_low; in [0, 1].
        clip_high: and from above at 1 + clip_high; at least 0, inf turns it off. Above clip_low
            it is DAPO's "clip-higher" (Yu et al. 2025, arXiv:2503.14476, equation 10).
        dual_clip: with a negative advantage the objective is kept above dual_clip * advantage
            (Ye et al. 2020, equation 5); above 1, None turns it off.

    >>> one = torch.ones(1, 1)
    >>> loss = clipped_policy_loss(one, 2 * one, one, clip_low=0.2, clip_high=0.2)
    >>> round(loss.item(), 4)
    -2.4
    """
    ratio_BK = log_ratio_BK.exp()
    clipped_BK = ratio_BK.clamp(1.0 - clip_low, 1.0 + clip_high)
    objective_BK = torch.minimum(ratio_BK * advantages_BK, clipped_BK * advantages_BK)
    if dual_clip is not None:
        floor_BK = dual_clip * advantages_BK
        objective_BK = torch.where(
            advantages_BK < 0, torch.maximum(objective_BK, floor_BK), objective_BK
        )
    return -weighted_sum(objective_BK, weights_BK)


def is_clipped(
    log_ratio_BK: torch.Tensor,
    advantages_BK: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> torch.Tensor:
    """Return (B, K) bool: tokens whose gradient the clip removed.

    A ratio outside the range on the side where the advantage would pull it back keeps its gradient
    and is not counted.
    """
    ratio_BK = log_ratio_BK.exp()
    too_high_BK = (ratio_BK > 1.0 + clip_high) & (advantages_BK > 0)
    too_low_BK = (ratio_BK < 1.0 - clip_low) & (advantages_BK < 0)
    return too_high_BK | too_low_BK


def weighted_policy_loss(
    log_probs_BK: torch.Tensor,
    log_ratio_BK: torch.Tensor,
    advantages_BK: torch.Tensor,
    weights_BK: torch.Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> torch.Tensor:
    """Return CISPO's loss: the ratio is clipped, the gradient is not.

    The policy gradient of every token, weighted by its clipped ratio without gradient (MiniMax
    2025, arXiv:2506.13585, equations 4 and 5). No token is left out, whatever its ratio.

    Args:
        log_probs_BK: of now, with gradient.
        log_ratio_BK: of now to the sampler's.
        advantages_BK: without gradient.
        weights_BK: from `token_weights`.
        clip_low: least weight is 1 - clip_low; 1 leaves it free.
        clip_high: greatest weight is 1 + clip_high.

    >>> one = torch.ones(1, 1)
    >>> weighted_policy_loss(-one, one, 2 * one, one, clip_low=1.0, clip_high=0.5).item()
    3.0
    """
    factor_BK = log_ratio_BK.detach().exp().clamp(1.0 - clip_low, 1.0 + clip_high)
    return policy_gradient_loss(log_probs_BK, factor_BK * advantages_BK, weights_BK)


def value_loss(
    values_BK: torch.Tensor,
    old_values_BK: torch.Tensor,
    returns_BK: torch.Tensor,
    weights_BK: torch.Tensor,
    *,
    clip: float | None = None,
) -> torch.Tensor:
    """Return half the weighted squared error of the critic, pessimistically clipped.

    Args:
        values_BK: of now, with gradient.
        old_values_BK: when the rollout was made.
        returns_BK: targets.
        weights_BK: from `token_weights`.
        clip: a value may move this far from the old one before its gradient stops (the larger of
            the clipped and unclipped errors counts); in units of reward, None turns it off.

    >>> one = torch.ones(1, 1)
    >>> value_loss(3 * one, one, 0 * one, one).item()
    4.5
    """
    error_BK = (values_BK - returns_BK).square()
    if clip is not None:
        near_BK = old_values_BK + (values_BK - old_values_BK).clamp(-clip, clip)
        error_BK = torch.maximum(error_BK, (near_BK - returns_BK).square())
    return weighted_sum(error_BK / 2, weights_BK)


def entropy_loss(entropy_BK: torch.Tensor, weights_BK: torch.Tensor) -> torch.Tensor:
    """Return the negative weighted entropy, in nats (minimising it explores)."""
    return -weighted_sum(entropy_BK, weights_BK)
