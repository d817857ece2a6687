"""The distance of a policy from its start model, estimated on the policy's own samples.

Shape legend: any shape; the two log-prob tensors have the same.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch

__all__ = ["KLEstimator", "adapt_coefficient", "estimate_kl"]

KLEstimator = Literal["k1", "k2", "k3"]

LARGEST_ERROR = (
    0.2  # Ziegler et al. 2019, section 2.2: the proportional error is clipped to this
)


def estimate_kl(
    log_probs: torch.Tensor, reference_log_probs: torch.Tensor, estimator: KLEstimator
) -> torch.Tensor:
    """Return one estimate of KL(policy || reference) a token sampled from the policy, in nats.

    With d = log p(token) - log q(token) (Schulman 2020, "Approximating KL divergence"):
    `k1` is d (unbiased, may be negative), `k2` is d**2 / 2 (biased, low variance), `k3` is
    exp(-d) - 1 + d (unbiased, never negative).

    The gradient of an unbiased value need not be the gradient of what it estimates. On tokens that
    the policy itself has just sampled, the expected gradient is

    - in the *reward* (the estimate weighs the gradient of log p): of `k1` that of
      KL(policy || reference), the right one; of `k3` that minus the gradient of
      KL(reference || policy); of `k2` neither.
    - in the *loss* (the estimate is differentiated): of `k1` zero, so it is refused there; of `k2`
      that of KL(policy || reference), the right one; of `k3` that of KL(reference || policy).

    The two divergences agree to second order near the reference, which is why `k3` works too.

    All that is said of one token, given what precedes it. In the loss no token is charged for the
    drift that it leads others into; in the reward it is, as far as credit reaches (`k1` with
    credit for all that follows has the gradient of the divergence of whole dialogues).

    Args:
        log_probs: of the sampled tokens under the policy.
        reference_log_probs: of the same tokens under the reference; same shape.
        estimator: "k1", "k2" or "k3".

    Raises:
        ValueError: on an unknown estimator.

    >>> p, q = torch.tensor([0.0, -1.0]), torch.tensor([-1.0, -1.0])
    >>> estimate_kl(p, q, "k2").tolist()
    [0.5, 0.0]
    """
    difference = log_probs - reference_log_probs
    if estimator == "k1":
        return difference
    if estimator == "k2":
        return difference.square() / 2
    if estimator == "k3":
        # expm1 keeps the digits that exp(-d) - 1 would lose near d = 0, where most tokens are.
        return torch.expm1(-difference) + difference
    raise ValueError(
        f"Unknown KL estimator {estimator!r}; choose one of {', '.join(get_args(KLEstimator))}."
    )


def adapt_coefficient(
    coefficient: float, observed: float, target: float, rate: float = 0.1
) -> float:
    """Return the KL coefficient for the next iteration (Ziegler et al. 2019, section 2.2).

    The coefficient is multiplied by 1 + rate * clip((observed - target) / target, -0.2, 0.2), so it
    moves in log space towards the value that holds the KL at its target.

    Args:
        coefficient: of this iteration; at least 0.
        observed: KL of this iteration, in the unit of `target`.
        target: KL wanted; above 0.
        rate: speed, in [0, 5) so that the coefficient stays positive (the paper: 0.1).

    Raises:
        ValueError: on a target that is not above 0, or an observed KL that is NaN.

    >>> round(adapt_coefficient(0.1, observed=12.0, target=6.0), 4)
    0.102
    """
    if not target > 0:
        raise ValueError(f"The KL target must be above 0, got {target}.")
    if math.isnan(observed):  # the coefficient would be NaN for ever, and so no price
        raise ValueError("The observed KL is NaN: there is nothing to adapt to.")
    error = (observed - target) / target
    return coefficient * (1.0 + rate * min(max(error, -LARGEST_ERROR), LARGEST_ERROR))
