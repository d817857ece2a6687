"""Small Llama models from a config alone: no download, seconds to train on a laptop."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

__all__ = ["TINY_SHAPES", "build_tiny"]

# About 0.6 and 5 million parameters with the built-in tokenizer's 1,024 ids.
TINY_SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    },
    "small": {
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 5,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
    },
}


def build_tiny(
    name: str, *, vocab_size: int, seed: int, context_length: int = 1024
) -> LlamaForCausalLM:
    """Return a randomly initialised model; the same seed gives the same weights.

    The global random state is left as it was.

    Args:
        name: a key of `TINY_SHAPES`.
        vocab_size: ids of the tokenizer.
        seed: of the initial weights.
        context_length: positions; rotary, so they cost no parameters.

    >>> model = build_tiny("tiny", vocab_size=512, seed=0)
    >>> sum(p.numel() for p in model.parameters())
    492160
    """
    shape = TINY_SHAPES[name]
    config = LlamaConfig(
        vocab_size=vocab_size,
        # 1 / sqrt(width), not the 0.02 of wide models: at 0.02 a width of 128 needs many hundred
        # steps before attention begins to copy a name from its context, here about fifty.
        initializer_range=shape["hidden_size"] ** -0.5,
        max_position_embeddings=context_length,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        **shape,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return LlamaForCausalLM(config)
