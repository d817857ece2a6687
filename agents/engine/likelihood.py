"""How likely each said token was, and how open the choice: log-probs and entropy of logits.

Autograd would keep half a dozen tensors as large as the logits for these two numbers a token. One
function with its own backward keeps the logits alone.

Shape legend: N tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

__all__ = ["entropy_of", "likelihood"]


def likelihood(
    logits_NV: torch.Tensor, ids_N: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (N,) log-probs of `ids_N`, and (N,) entropies in nats, with first derivatives.

    With p = softmax(l): log p_i = l_i - log Z and H = log Z - sum_v p_v l_v, so
    d log p_i / d l = onehot(i) - p and d H / d l = -p (log p + H).

    Args:
        logits_NV: float32, already divided by the temperature; -inf is never said.
        ids_N: int64, what was said.

    >>> log_probs, entropy = likelihood(torch.zeros(1, 4), torch.tensor([2]))
    >>> log_probs.exp(), entropy.exp()
    (tensor([0.2500]), tensor([4.]))
    """
    log_probs_N, entropy_N = _Likelihood.apply(logits_NV, ids_N)  # type: ignore[no-untyped-call]
    return log_probs_N, entropy_N


def entropy_of(logits_NV: torch.Tensor, log_normaliser_N: torch.Tensor) -> torch.Tensor:
    """Return (N,) entropies in nats, `H = -sum_v p_v log p_v`; -inf logits count nothing.

    >>> logits = torch.tensor([[0.0, 0.0, -torch.inf]])
    >>> entropy_of(logits, logits.logsumexp(-1)).exp()
    tensor([2.])
    """
    log_probs_NV = logits_NV - log_normaliser_N.unsqueeze(-1)
    # 0 * -inf is NaN.
    finite_NV = log_probs_NV.masked_fill(log_probs_NV == -torch.inf, 0.0)
    return -(log_probs_NV.exp() * finite_NV).sum(dim=-1)


class _Likelihood(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits_NV: torch.Tensor, ids_N: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        log_normaliser_N = logits_NV.logsumexp(dim=-1)
        chosen_N = logits_NV.gather(-1, ids_N.unsqueeze(-1)).squeeze(-1)
        entropy_N = entropy_of(logits_NV, log_normaliser_N)
        ctx.save_for_backward(logits_NV, ids_N, log_normaliser_N, entropy_N)
        return chosen_N - log_normaliser_N, entropy_N

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_log_prob_N: torch.Tensor, grad_entropy_N: torch.Tensor
    ) -> tuple[torch.Tensor, None]:
        logits_NV, ids_N, log_normaliser_N, entropy_N = ctx.saved_tensors
        log_probs_NV = logits_NV - log_normaliser_N.unsqueeze(-1)
        probs_NV = log_probs_NV.exp()
        # -p (g_log_prob + g_entropy (log p + H)), and g_log_prob once more at the id. Where p is 0
        # so is the product; 0 * -inf would be NaN.
        slope_NV = log_probs_NV.masked_fill_(probs_NV == 0, 0.0)
        slope_NV.add_(entropy_N.unsqueeze(-1))
        slope_NV.mul_(grad_entropy_N.unsqueeze(-1)).add_(grad_log_prob_N.unsqueeze(-1))
        grad_NV = probs_NV.mul_(slope_NV).neg_()
        grad_NV.scatter_add_(-1, ids_N.unsqueeze(-1), grad_log_prob_N.unsqueeze(-1))
        return grad_NV, None
