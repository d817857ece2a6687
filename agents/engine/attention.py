"""Attention for a batch whose rows stand at different positions.

transformers' own masks know one offset for all rows. Here the cache hands over one offset a row
(`KeyValueCache.get_query_offset`), and the family's own mask function, causal, sliding or chunked,
is evaluated at each row's true positions, so no family needs code of its own.

Shape legend: N rows, H query heads, G key heads, Q new tokens, K cached columns, D head width.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

__all__ = [
    "RAGGED",
    "additive_mask",
    "ragged_attention",
    "ragged_attention_of",
    "ragged_mask",
]

RAGGED = "chat_envs_ragged"

# What some families pass beside query, key and value, and what it would take to honour it.
_UNSUPPORTED = ("s_aux", "position_bias", "cache", "head_mask")


def ragged_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | torch.Tensor = 0,
    kv_offset: int = 0,
    mask_function: Callable[..., torch.Tensor] | None = None,
    attention_mask: torch.Tensor | None = None,
    device: torch.device | str = "cpu",
    **_: Any,
) -> torch.Tensor:
    """Return the (N, 1, Q, K) bool mask, True where a query may look.

    Args:
        batch_size: N.
        q_length: Q.
        kv_length: K.
        q_offset: (N,) position of each row's first new token, or one number for all.
        kv_offset: position of the first column.
        mask_function: the family's rule, `(row, head, query, key) -> bool` elementwise.
        attention_mask: must be None: rows are told apart by position, not by padding.
        device: where the mask is made.

    Raises:
        ValueError: where a padding mask is given or the family has no rule.
    """
    if attention_mask is not None or mask_function is None:
        raise ValueError(
            "Ragged decoding takes positions, not a padding mask: call the module "
            "with position_ids and a KeyValueCache, and attention_mask=None."
        )
    if not isinstance(q_offset, torch.Tensor):
        q_offset = torch.tensor(q_offset)
    offset_N1 = q_offset.to(device).view(-1, 1)
    query_NQ = (offset_N1 + torch.arange(q_length, device=device)).expand(
        batch_size, -1
    )
    row_N = torch.arange(batch_size, device=device)
    key_K = torch.arange(kv_length, device=device) + kv_offset
    allowed = mask_function(
        row_N[:, None, None, None],
        torch.zeros((1, 1, 1, 1), dtype=torch.long, device=device),
        query_NQ[:, None, :, None],
        key_K[None, None, None, :],
    )
    return allowed.expand(batch_size, 1, q_length, kv_length)


def additive_mask(mask: torch.Tensor, groups: int, share: int) -> torch.Tensor:
    """Return (N * G, H / G, K) float32, 0 where the one query may look and -inf elsewhere.

    Made once a forward and kept with the mask: every layer asks for the same.

    Args:
        mask: (N, 1, 1, K) bool.
        groups: G.
        share: query heads of one key head.
    """
    kept: dict[tuple[int, int], torch.Tensor] = vars(mask).setdefault("additive", {})
    if (groups, share) not in kept:
        rows, _, _, columns = mask.shape
        zeros = torch.zeros(mask.shape, device=mask.device)
        additive = zeros.masked_fill_(~mask, -torch.inf)
        additive = additive.expand(rows, groups, share, columns)
        kept[groups, share] = additive.reshape(rows * groups, share, columns)
    return kept[groups, share]


def ragged_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return (N, Q, H, D) attention outputs and no weights.

    The query heads that share a key head are packed into one, so grouped keys are never copied.

    Args:
        module: the attention layer (unused; part of the interface).
        query: (N, H, Q, D).
        key: (N, G, K, D).
        value: (N, G, K, D).
        attention_mask: (N, 1, Q, K) bool from `ragged_mask`.
        scaling: multiplies the scores; None takes 1 / sqrt(D).
        softcap: squashes scores to +-softcap by tanh (Gemma 2).
        **kwargs: ignored where it does not change the result.

    Raises:
        NotImplementedError: the family passes something that would change the result.
    """
    for name in _UNSUPPORTED:
        if kwargs.get(name) is not None:
            raise NotImplementedError(
                f"{type(module).__name__} attends with {name!r}, which decoding "
                "with a ragged cache does not support."
            )
    if attention_mask is None or attention_mask.dtype is not torch.bool:
        raise NotImplementedError(
            f"{type(module).__name__} did not ask transformers for its mask, so the "
            "rows' positions are lost; this family cannot be decoded raggedly."
        )
    # All but the rows are numbers in a trace too, so that what is kept by them is found again.
    rows = query.shape[0]
    heads, width, depth = map(int, query.shape[1:])
    groups = int(key.shape[1])
    share = heads // groups
    packed = query.reshape(rows, groups, share * width, depth)
    if width == 1 and query.device.type == "cpu" and query.dtype is torch.float32:
        output = _attend_once(packed, key, value, attention_mask, scaling, softcap)
        return output.reshape(rows, 1, heads, int(value.shape[-1])), None
    mask = attention_mask
    if share > 1 and width > 1:
        mask = attention_mask.repeat(1, 1, share, 1)
    if softcap is None:
        output = scaled_dot_product_attention(packed, key, value, mask, scale=scaling)
    else:
        scale = packed.shape[-1] ** -0.5 if scaling is None else scaling
        scores = torch.tanh(packed @ key.transpose(2, 3) * scale / softcap) * softcap
        scores = scores.masked_fill(~mask, -torch.inf).float().softmax(dim=-1)
        output = scores.to(value.dtype) @ value
    output = output.reshape(rows, heads, width, int(value.shape[-1]))
    return output.transpose(1, 2).contiguous(), None


def _attend_once(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    """Return (N * G, H / G, D) outputs of one query a row, in float32.

    Rows and key heads lie evenly in the cache, so they are one batch of small products; the flash
    kernel works in tiles of many queries and is slower at one.

    Args:
        query: (N, G, H / G, D).
        key: (N, G, K, D).
        value: (N, G, K, D).
        mask: (N, 1, 1, K) bool.
        scaling: multiplies the scores; None takes 1 / sqrt(D).
        softcap: squashes scores to +-softcap by tanh.
    """
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    additive = additive_mask(mask, int(key.shape[1]), int(query.shape[2]))
    query, key, value = query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1)
    if softcap is None:
        scores = torch.baddbmm(additive, query, key.transpose(1, 2), alpha=scale)
    else:
        scores = torch.bmm(query, key.transpose(1, 2)).mul_(scale / softcap)
        scores = scores.tanh_().mul_(softcap).add_(additive)
    return torch.bmm(scores.softmax(dim=-1), value)


AttentionInterface.register(RAGGED, ragged_attention)
AttentionMaskInterface.register(RAGGED, ragged_mask)


@contextmanager
def ragged_attention_of(module: PreTrainedModel) -> Iterator[None]:
    """Let `module` attend raggedly inside the block, and as before after it."""
    before = module.config._attn_implementation
    module.set_attn_implementation(RAGGED)
    try:
        yield
    finally:
        module.set_attn_implementation(before)
