"""Attention over packed dialogues (`agents.engine.packing`), for training and evaluation.

Everything else in a transformer treats tokens one by one and may see them end to end. Attention
gathers them: the tokens that a dialogue has alone attend to the whole dialogue, a shared prompt
attends to itself, once.

How a family's own forward brings the layout here without knowing of it: transformers asks the cache
for the queries' offset and hands it to the mask function, and hands whatever the mask function
returns to every attention layer. So `PackedLayout` poses as a cache, its "offset" is itself, and
the "mask" is a `PackedMask`, with the family's own rule (causal, sliding, chunked) evaluated at the
tokens' true positions.

Shape legend: B, S, T, P, L, Q as in `packing`; H query heads, G key heads, D head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import embedding
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import causal_mask_function

from agents.engine.attention import ragged_attention
from agents.engine.packing import PackedTokens

__all__ = ["PACKED", "PackedLayout", "PackedMask", "packed_attention_of"]

PACKED = "chat_envs_packed"
# What changes the result and the kernels for sequences do not know.
_BEYOND_KERNELS = ("softcap", "s_aux", "position_bias", "cache", "head_mask")


class PackedLayout:
    """Poses as a transformers cache that stores nothing, and carries the layout to the mask."""

    is_compileable = False

    def __init__(self, tokens: PackedTokens, num_layers: int) -> None:
        self.tokens = tokens
        self.is_sliding = [False] * num_layers

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the new keys and values as they are: there are no older ones."""
        return key, value

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """Return how many tokens there are, and 0."""
        return query_length, 0

    def get_query_offset(self, layer_idx: int = 0) -> PackedLayout:
        """Return the layout itself, which `packed_mask` gets as its `q_offset`."""
        return self

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return 0: positions are passed beside."""
        return 0


@dataclass(frozen=True)
class PackedMask:
    """What the attention layers get as their mask.

    Attributes:
        tokens: the layout.
        own: (B, 1, Q, S) bool, which tokens of its dialogue an unshared token sees.
        shared: (1, 1, L, L) bool, which tokens of its prompt a shared token sees.
        is_causal: whether the family's rule is that and no more, so that a kernel that knows it
            by itself may be used.
    """

    tokens: PackedTokens
    own: torch.Tensor
    shared: torch.Tensor
    is_causal: bool


def packed_mask(
    *,
    q_offset: PackedLayout | int | torch.Tensor = 0,
    mask_function: Callable[..., Any] | None = None,
    attention_mask: torch.Tensor | None = None,
    **_: Any,
) -> PackedMask:
    """Return the mask of a packed batch; called by transformers.

    Raises:
        ValueError: there is no layout, no rule, or a padding mask beside.
    """
    if (
        not isinstance(q_offset, PackedLayout)
        or attention_mask is not None
        or mask_function is None
    ):
        raise ValueError(
            "Packed attention needs a PackedLayout as past_key_values, position_ids, and "
            "attention_mask=None."
        )
    tokens = q_offset.tokens
    device = tokens.ids.device
    num_rows, num_columns = tokens.place.shape
    column_S = torch.arange(num_columns, device=device)
    # Nothing here depends on the row: transformers knows of one, that of all tokens.
    zero = torch.zeros((1, 1, 1, 1), dtype=torch.long, device=device)
    own = mask_function(zero, zero, tokens.own_positions[:, None, :, None], column_S)
    column_L = torch.arange(tokens.shared.shape[1], device=device)
    shared = mask_function(zero, zero, column_L[:, None], column_L)
    longest = len(column_L)
    return PackedMask(
        tokens,
        own.expand(num_rows, 1, -1, num_columns),
        shared.expand(1, 1, longest, longest),
        is_causal=mask_function is causal_mask_function,
    )


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: PackedMask | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Return (1, T, H, D) attention outputs and no weights.

    Args:
        module: the attention layer.
        query: (1, H, T, D).
        key: (1, G, T, D).
        value: (1, G, T, D).
        attention_mask: from `packed_mask`.
        **kwargs: as `ragged_attention` takes them.

    Raises:
        NotImplementedError: the family did not ask transformers for its mask, or passes something
            that would change the result.
    """
    if not isinstance(attention_mask, PackedMask):
        raise NotImplementedError(
            f"{type(module).__name__} did not ask transformers for its mask, so packed dialogues "
            "would see each other; this family cannot be trained here."
        )
    tokens = attention_mask.tokens
    if _has_kernel(query, attention_mask, kwargs):
        return (
            _attend_to_sequences(query, key, value, tokens, kwargs.get("scaling")),
            None,
        )
    output, _ = ragged_attention(
        module,
        _lanes(query, tokens.own),
        _lanes(key, tokens.place),
        _lanes(value, tokens.place),
        attention_mask.own,
        **kwargs,
    )
    width = output.shape[-2] * output.shape[-1]
    outputs = [output.reshape(-1, width)]
    if tokens.shared.numel():
        num_prompts = len(tokens.shared)
        prompt, _ = ragged_attention(
            module,
            _lanes(query, tokens.shared),
            _lanes(key, tokens.shared),
            _lanes(value, tokens.shared),
            attention_mask.shared.expand(num_prompts, -1, -1, -1),
            **kwargs,
        )
        outputs.append(prompt.reshape(-1, width))
    packed = torch.cat(outputs).index_select(0, tokens.source)
    return packed.view(1, len(tokens), *output.shape[-2:]), None


def _has_kernel(
    query: torch.Tensor, mask: PackedMask, options: Mapping[str, Any]
) -> bool:
    """Whether a kernel for sequences of any length does the same, without padding."""
    is_plain = mask.is_causal and all(
        options.get(name) is None for name in _BEYOND_KERNELS
    )
    is_half = query.dtype in (torch.bfloat16, torch.float16)
    return query.device.type == "cuda" and is_half and is_plain


def _attend_to_sequences(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    tokens: PackedTokens,
    scaling: float | None,
) -> torch.Tensor:
    """Return (1, T, H, D) by flash attention over sequences; the arguments as they come."""
    sequences = tokens.sequences
    query_THD, key_TGD, value_TGD = (x[0].transpose(0, 1) for x in (query, key, value))
    output: Any = varlen_attn(
        query_THD.index_select(0, sequences.queries),
        key_TGD.index_select(0, sequences.keys),
        value_TGD.index_select(0, sequences.keys),
        sequences.query_ends,
        sequences.key_ends,
        sequences.longest_query,
        sequences.longest_key,
        scale=scaling,
        window_size=(-1, 0),  # causal, the last query at the last key
        enable_gqa=query.shape[1] != key.shape[1],
    )
    packed: torch.Tensor = output.index_select(0, sequences.order)
    return packed.unsqueeze(0)


def _lanes(states: torch.Tensor, index_BS: torch.Tensor) -> torch.Tensor:
    """Return (B, heads, S, D) of (1, heads, T, D): the tokens that `index_BS` names.

    By `embedding`, whose backward adds rows up in parallel; that of indexing goes one by one.
    """
    _, heads, _, width = states.shape
    rows_TW = states[0].transpose(0, 1).reshape(-1, heads * width)
    lanes = embedding(index_BS, rows_TW)
    return lanes.view(*index_BS.shape, heads, width).transpose(1, 2)


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, packed_mask)


@contextmanager
def packed_attention_of(module: PreTrainedModel) -> Iterator[None]:
    """Let `module` attend to packed dialogues inside the block, and as before after it.

    The backward of a module that checkpoints its activations must run inside too.
    """
    before = module.config._attn_implementation
    module.set_attn_implementation(PACKED)
    try:
        yield
    finally:
        module.set_attn_implementation(before)
