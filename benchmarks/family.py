"""Toy models of the families that the engine promises: random weights, seconds to check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

__all__ = ["CONTEXT_LENGTH", "FAMILIES", "VOCAB_SIZE", "build_toy"]

VOCAB_SIZE = 97
CONTEXT_LENGTH = 96

_COMMON: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT_LENGTH,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
    "initializer_range": 0.2,  # wide, so that logits differ clearly and ties are rare
}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT_LENGTH}
_OPT = {"ffn_dim": 64, "word_embed_proj_dim": 32}
_GPT2_DROPPED = (
    "hidden_size intermediate_size num_hidden_layers num_attention_heads"
    " num_key_value_heads max_position_embeddings"
)

# Family -> its config class in transformers and its fields. The window of Mistral is shorter than
# the dialogues that are checked, so that a wrong window shows.
FAMILIES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "llama": ("LlamaConfig", _COMMON),
    "qwen2": ("Qwen2Config", _COMMON),
    "qwen3": ("Qwen3Config", {**_COMMON, "head_dim": 8}),
    "mistral": ("MistralConfig", {**_COMMON, "sliding_window": 6}),
    "gemma": ("GemmaConfig", {**_COMMON, "num_key_value_heads": 1, "head_dim": 8}),
    "phi": ("PhiConfig", _COMMON),
    "opt": ("OPTConfig", {**_COMMON, **_OPT}),
    "gpt2": (
        "GPT2Config",
        {k: v for k, v in _COMMON.items() if k not in _GPT2_DROPPED.split()} | _GPT2,
    ),
    "gpt-neox": ("GPTNeoXConfig", _COMMON),
}


def build_toy(family: str, seed: int = 0) -> PreTrainedModel:
    """Return a random float32 model on the CPU; the same seed gives the same weights."""
    name, fields = FAMILIES[family]
    config = getattr(transformers, name)(**fields)
    factory: Any = AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = factory.from_config(config)
    return model
