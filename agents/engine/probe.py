"""A short decode against the plain forward: no family is trusted before it has shown that it works.

A family that kept its own attention mask or ignored our cache would generate plausible nonsense
and train on it. So each model is tried once, at construction.
"""

from __future__ import annotations

import numpy as np
import torch
from transformers import PreTrainedModel

from agents.engine.attention import ragged_attention_of
from agents.engine.kv_cache import KeyValueCache
from agents.engine.network import CausalNetwork, advance

__all__ = ["check_family", "probe"]

# Largest difference of logits, as a share of their spread, that rounding explains.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-6}
_COARSE_TOLERANCE = 0.15  # bfloat16 and float16


def probe(network: CausalNetwork, context_length: int) -> float:
    """Return the gap between cached ragged decoding and the plain forward.

    Two rows of different lengths are fed in three parts of ragged widths, and once more with the
    module in training mode, which must change nothing.

    Args:
        network: in any mode; the mode is restored.
        context_length: positions the model can attend to.

    Returns:
        The largest difference of the logits, divided by their standard deviation.

    Raises:
        ValueError: the family cannot be decoded, or decodes wrongly; says by how much.
    """
    check_family(network.language_model)
    family = type(network.language_model).__name__
    was_training = network.training
    dtype = next(network.language_model.parameters()).dtype
    tolerance = _TOLERANCE.get(dtype, _COARSE_TOLERANCE)
    try:
        with torch.no_grad():
            gap = _gap(network, context_length, is_training=False)
            noise = _gap(network, context_length, is_training=True)
    except (LookupError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{family} cannot be decoded with a key/value cache of one position a row "
            f"({type(error).__name__}: {error})."
        ) from error
    finally:
        network.train(was_training)
    if not gap <= tolerance:  # NaN fails too
        raise ValueError(
            f"{family} decodes wrongly with a cache: its logits differ from the plain "
            f"forward's by {gap:.2g} standard deviations (at most {tolerance:g} is rounding)."
        )
    if not noise <= tolerance:
        raise ValueError(
            f"{family} computes something else in training mode (by {noise:.2g} standard "
            "deviations of the logits): it has noise beyond dropout, which must be turned off."
        )
    return gap


def check_family(module: PreTrainedModel) -> None:
    """Refuse families with attention code of their own, which would be silently wrong.

    Raises:
        ValueError: GPT-Neo, GPT-J, Bloom, Falcon and their like.
    """
    if not module._can_set_attn_implementation():
        raise ValueError(
            f"{type(module).__name__} has its own attention code (it does not use transformers' "
            "AttentionInterface), so rows at different positions cannot be decoded together. "
            "Take a family that does: Llama, Qwen, Mistral, Gemma, Phi, OPT, GPT-2, GPT-NeoX."
        )


def _gap(network: CausalNetwork, context_length: int, *, is_training: bool) -> float:
    """Return the largest difference in logits over their spread.

    Args:
        network: the network.
        context_length: positions the model can attend to.
        is_training: mode of the plain forward; the cached one always runs in eval mode.
    """
    device = network.forbidden_V.device
    lengths = [min(9, context_length), min(6, context_length)]
    ids_BS = np.arange(2 * lengths[0]).reshape(2, -1) * 7 + 1
    ids_BS %= network.num_ids
    module = network.language_model
    cache = KeyValueCache(2, module.config.get_text_config().num_hidden_layers)
    gaps, spreads = [], []
    starts = [0, 0]
    # Two prefills of ragged widths, then one token a row.
    first, second = [max(lengths[0] - 5, 1), 1], [length - 1 for length in lengths]
    for ends in (first, second, lengths):
        parts = [ids_BS[row, starts[row] : ends[row]] for row in range(2)]
        if not all(map(len, parts)):  # a model of two positions has no second prefill
            continue
        network.eval()
        with ragged_attention_of(module):
            cached = advance(network, cache, context_length, slice(0, 2), parts, starts)
        network.train(is_training)
        last = torch.tensor([ends[0] - 1, lengths[0] + ends[1] - 1], device=device)
        plain, _ = network(torch.from_numpy(ids_BS).to(device), last)
        allowed = ~network.forbidden_V
        gaps.append((cached - plain)[:, allowed].abs().max().item())
        spreads.append(plain[:, allowed].std().item())
        starts = ends
    return float(np.max(gaps)) / max(float(np.mean(spreads)), 1e-30)
