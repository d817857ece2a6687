"""What every policy gradient pays beside its objective: drift from the start model, and order.

Shape legend: N episodes of a rollout, B of a micro-batch, K action tokens.
"""

from __future__ import annotations

import torch

from agents.algorithm import Algorithm
from agents.experience.rollout import ActionTokens
from agents.objective.kl import estimate_kl
from agents.objective.loss import entropy_loss, weighted_sum

__all__ = ["drift_price", "regularized"]


def drift_price(
    algorithm: Algorithm, actions: ActionTokens, reference_NK: torch.Tensor
) -> torch.Tensor | None:
    """Return (N, K) what each token's drift costs in reward; None where it is not paid there."""
    config = algorithm.config
    if config.kl_placement != "reward" or algorithm.kl_coefficient <= 0:
        return None
    kl_NK = estimate_kl(actions.log_probs, reference_NK, config.kl_estimator)
    return algorithm.kl_coefficient * kl_NK


def regularized(
    algorithm: Algorithm,
    loss: torch.Tensor,
    log_probs_BK: torch.Tensor,
    entropy_BK: torch.Tensor,
    reference_BK: torch.Tensor,
    weights_BK: torch.Tensor,
) -> torch.Tensor:
    """Return the loss with the entropy's share, and with that of drift where it is paid there."""
    config = algorithm.config
    loss = loss + config.entropy_coefficient * entropy_loss(entropy_BK, weights_BK)
    if config.kl_placement == "loss" and algorithm.kl_coefficient > 0:
        kl_BK = estimate_kl(log_probs_BK, reference_BK, config.kl_estimator)
        loss = loss + algorithm.kl_coefficient * weighted_sum(kl_BK, weights_BK)
    return loss
