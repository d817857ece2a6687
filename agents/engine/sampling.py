"""Drawing ids from logits: temperature, top-k, top-p, greedy.

Pure functions on tensors. Randomness comes in as uniform noise, so nothing here owns or touches a
generator: the decoder draws the noise once, and a row's reply then depends on its own noise alone,
whoever else is in the batch.

Shape legend: N rows, V vocabulary.
"""

from __future__ import annotations

import torch

from agents.engine.language_model import Sampling

__all__ = ["draw", "filter_logits", "sample", "scale_logits"]


def scale_logits(logits_NV: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return float32 logits divided by `temperature`; decoder and trainer both call this.

    >>> scale_logits(torch.tensor([[2.0, 4.0]]), 2.0)
    tensor([[1., 2.]])
    """
    logits_NV = logits_NV.float()
    return logits_NV if temperature == 1 else logits_NV / temperature


def filter_logits(logits_NV: torch.Tensor, top_k: int, top_p: float) -> torch.Tensor:
    """Return `logits_NV` with -inf at the ids that top-k, then top-p, leave out.

    Exactly k ids survive top-k, ties broken by `torch.topk`; top-p keeps the smallest set of the
    likeliest ids whose probability is at least p (Holtzman et al. 2020, eq. 2), never an empty one.

    >>> filter_logits(torch.tensor([[1.0, 3.0, 2.0]]), top_k=2, top_p=1.0)
    tensor([[-inf, 3., 2.]])
    """
    if 0 < top_k < logits_NV.shape[-1]:
        best_NK, ids_NK = logits_NV.topk(top_k, dim=-1)
        empty_NV = torch.full_like(logits_NV, -torch.inf)
        logits_NV = empty_NV.scatter(-1, ids_NK, best_NK)
    if top_p < 1.0:
        sorted_NV, order_NV = logits_NV.sort(dim=-1, descending=True, stable=True)
        probs_NV = sorted_NV.double().softmax(dim=-1)
        # An id stays while the likelier ones together have not yet reached p.
        before_NV = probs_NV.cumsum(dim=-1) - probs_NV
        kept_NV = sorted_NV.masked_fill(before_NV >= top_p, -torch.inf)
        logits_NV = torch.empty_like(logits_NV).scatter(-1, order_NV, kept_NV)
    return logits_NV


def draw(log_probs_NV: torch.Tensor, noise_N: torch.Tensor) -> torch.Tensor:
    """Return (N,) ids by inverting the cumulative distribution at `noise_N`.

    `torch.multinomial` on a CPU draws one exponential an entry of the vocabulary; this takes one
    number a row. The sum runs in float64: in float32 an id rarer than 6e-8 could vanish. What is
    summed need not: float32 knows each probability to 1e-7 of itself.

    Args:
        log_probs_NV: normalised log-probs; -inf is never drawn.
        noise_N: float64, uniform in [0, 1).

    >>> draw(torch.tensor([[0.5, 0.0, 0.5]]).log(), torch.tensor([0.5], dtype=torch.float64))
    tensor([2])
    """
    cumulative_NV = log_probs_NV.exp().cumsum(dim=-1, dtype=torch.float64)
    total_N1 = cumulative_NV[:, -1:].contiguous()
    target_N1 = noise_N.unsqueeze(-1) * total_N1
    ids_N1 = torch.searchsorted(cumulative_NV, target_N1, right=True)
    # noise * total may round up to the total: stay on the last id that has any probability.
    last_N1 = torch.searchsorted(cumulative_NV, total_N1)
    ids_N1 = torch.minimum(ids_N1, last_N1)
    # Past the end only where the logits are NaN, which the decoder reports by the log-prob.
    return ids_N1.clamp(max=log_probs_NV.shape[-1] - 1).squeeze(-1)


def sample(
    logits_NV: torch.Tensor, sampling: Sampling, noise_N: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (N,) ids and their (N,) float32 log-probs under the distribution they came from.

    Greedy takes the likeliest id (the first of equals); its log-prob is that of the whole
    distribution at `sampling.temperature`, without filters.

    Args:
        logits_NV: vocabulary mask already applied.
        sampling: how to draw.
        noise_N: float64, uniform in [0, 1); None only for greedy.
    """
    logits_NV = scale_logits(logits_NV, sampling.temperature)
    if sampling.is_greedy:
        log_probs_NV = _normalise(logits_NV)
        ids_N = logits_NV.argmax(dim=-1)
    else:
        if noise_N is None:
            raise ValueError("Sampling needs noise; only is_greedy=True does without.")
        logits_NV = filter_logits(logits_NV, sampling.top_k, sampling.top_p)
        log_probs_NV = _normalise(logits_NV)
        ids_N = draw(log_probs_NV, noise_N)
    return ids_N, log_probs_NV.gather(-1, ids_N.unsqueeze(-1)).squeeze(-1)


def _normalise(logits_NV: torch.Tensor) -> torch.Tensor:
    """Return log-probs as the trainer computes them.

    Not by `log_softmax`: over 50,000 ids its float32 sum is off by 5e-5 on a CPU, which PPO's ratio
    would take for a change of the policy.
    """
    return logits_NV - logits_NV.logsumexp(dim=-1, keepdim=True)
