"""How likely a token is now, against when it was written: ratios, and weights made of them.

Shape legend: B episodes, K action tokens of an episode.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

__all__ = ["RatioLevel", "log_ratios", "truncated_weights"]

RatioLevel = Literal["token", "turn", "episode"]


def log_ratios(
    log_probs_BK: torch.Tensor,
    old_log_probs_BK: torch.Tensor,
    mask_BK: torch.Tensor,
    turn_BK: torch.Tensor,
    *,
    level: RatioLevel,
) -> torch.Tensor:
    """Return (B, K) log importance ratios, with gradient; 0 off the mask.

    - `token`: log p - log p_old of the token itself (PPO, GRPO).
    - `turn`: its mean over the tokens of the reply that the token is part of: GSPO's
      length-normalised ratio of a sequence (Zheng et al. 2025, arXiv:2507.18071, equation 7).
    - `episode`: likewise over all that the agent wrote in the episode.

    A mean has the gradient of the token itself ("GSPO-token" there). Where the tokens
    of a reply have one advantage and one weight, as in GSPO, that is the gradient of the mean:
    their sum is the same. Where they have not, each is still paid its own.

    Args:
        log_probs_BK: of now.
        old_log_probs_BK: of when the tokens were written.
        mask_BK: bool, tokens that take part.
        turn_BK: int64, turn of each token.
        level: of what the ratio is.

    Raises:
        ValueError: on an unknown level.

    >>> new, mask = torch.tensor([[0.2, 0.4, 1.0]]), torch.tensor([[True, True, True]])
    >>> turn = torch.tensor([[0, 0, 1]])
    >>> log_ratios(new, 0 * new, mask, turn, level="turn").round(decimals=3).tolist()
    [[0.3..., 0.3..., 1.0]]
    """
    zeros_BK = torch.zeros_like(log_probs_BK)
    difference_BK = torch.where(mask_BK, log_probs_BK - old_log_probs_BK, zeros_BK)
    if level == "token":
        return difference_BK
    if level == "turn":
        part_BK = turn_BK
    elif level == "episode":
        part_BK = torch.zeros_like(turn_BK)
    else:
        raise ValueError(
            f"Unknown ratio level {level!r}; choose one of {', '.join(get_args(RatioLevel))}."
        )
    num_parts = int(part_BK.max()) + 1 if part_BK.numel() else 1
    sums_BT = difference_BK.new_zeros(len(part_BK), num_parts)
    counts_BT = sums_BT.scatter_add(1, part_BK, mask_BK.to(sums_BT.dtype))
    sums_BT = sums_BT.scatter_add(1, part_BK, difference_BK)
    means_BK = (sums_BT / counts_BT.clamp(min=1)).gather(1, part_BK)
    # 0, with the gradient of the token.
    slope_BK = difference_BK - difference_BK.detach()
    return torch.where(mask_BK, means_BK.detach() + slope_BK, zeros_BK)


def truncated_weights(
    log_probs_BK: torch.Tensor, sampler_log_probs_BK: torch.Tensor, cap: float
) -> torch.Tensor:
    """Return (B, K) min(p_trainer / p_sampler, cap), without gradient.

    Truncated importance sampling between an engine that trains and one that decodes with slightly
    other numbers (Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL
    training"; Ionides 2008). The two are the same weights here, so it is off by default.

    >>> trainer, sampler = torch.tensor([[0.0, -1.0]]), torch.tensor([[-2.0, -1.0]])
    >>> truncated_weights(trainer, sampler, 2.0).tolist()
    [[2.0, 1.0]]
    """
    return (log_probs_BK - sampler_log_probs_BK).detach().exp().clamp(max=cap)
