"""Toy models of many families and the batches that the engine's tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

from agents.engine.language_model import Generation, Sampling, TokenBatch
from agents.engine.local import LocalLM

VOCAB = 97
CONTEXT = 96

_BASE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
_GPT2 = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 2, "n_head": 4}
_NO_IDS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}

# Family -> its config class and what makes it a toy. Sliding windows are shorter than the tests'
# dialogues, so that a wrong window shows.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {**_BASE, "num_key_value_heads": 4}),
    "llama-grouped": ("LlamaConfig", _BASE),
    "qwen2": ("Qwen2Config", _BASE),
    "qwen3": ("Qwen3Config", {**_BASE, "head_dim": 8}),
    "gpt2": ("GPT2Config", {**_GPT2, **_NO_IDS, "n_positions": CONTEXT}),
    "gemma": ("GemmaConfig", {**_BASE, "num_key_value_heads": 1, "head_dim": 8}),
    "mistral": ("MistralConfig", {**_BASE, "sliding_window": 6}),
    "phi": ("PhiConfig", _BASE),
    "opt": (
        "OPTConfig",
        {
            **_BASE,
            "ffn_dim": 64,
            "word_embed_proj_dim": 32,
            "do_layer_norm_before": True,
        },
    ),
    "gpt-neox": ("GPTNeoXConfig", _BASE),
    # Beyond the nine that were promised: capped logits, scaled logits, two kinds of layers.
    "gemma2": ("Gemma2Config", {**_BASE, "head_dim": 8, "sliding_window": 6}),
    "cohere": ("CohereConfig", _BASE),
    "gemma3": ("Gemma3TextConfig", {**_BASE, "head_dim": 8, "sliding_window": 6}),
}


def toy_model(family: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """Return a random toy model; the weights are wide, so that logits differ clearly."""
    name, fields = FAMILIES[family]
    config = getattr(transformers, name)(
        **{**fields, "initializer_range": 0.2, **changes}
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config)


def toy_lm(family: str = "llama-grouped", seed: int = 0, **options: Any) -> LocalLM:
    """Return a `LocalLM` around a toy model."""
    return LocalLM(toy_model(family, seed), name=family, **options)


def random_contexts(lengths: list[int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, VOCAB, size=n) for n in lengths]


def greedy(tokens: int, stop_ids: frozenset[int] = frozenset()) -> Sampling:
    return Sampling(max_new_tokens=tokens, stop_ids=stop_ids, is_greedy=True)


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def replies(generation: Generation) -> list[list[int]]:
    return [generation.reply(row).tolist() for row in range(len(generation.lengths))]


def batch_of(dialogues: list[np.ndarray], masks: list[np.ndarray]) -> TokenBatch:
    """Return right-padded rows; padding is id 1, which must not matter."""
    width = max(len(ids) for ids in dialogues)
    input_ids = torch.ones((len(dialogues), width), dtype=torch.long)
    action_mask = torch.zeros((len(dialogues), width), dtype=torch.bool)
    for row, (ids, mask) in enumerate(zip(dialogues, masks, strict=True)):
        input_ids[row, : len(ids)] = torch.from_numpy(ids)
        action_mask[row, : len(ids)] = torch.from_numpy(mask)
    lengths = torch.tensor([len(ids) for ids in dialogues])
    return TokenBatch(input_ids, lengths, action_mask)


def batch_after(contexts: list[np.ndarray], generation: Generation) -> TokenBatch:
    """Return contexts with their replies, the replies marked as the agent's."""
    dialogues = [
        np.concatenate([context, generation.reply(row)])
        for row, context in enumerate(contexts)
    ]
    masks = [
        np.arange(len(ids)) >= len(context)
        for ids, context in zip(dialogues, contexts, strict=True)
    ]
    return batch_of(dialogues, masks)


def packed_log_probs(generation: Generation) -> np.ndarray:
    """Return the sampler's log-probs in the order of `tensor[action_mask]`."""
    rows = [
        generation.log_probs[row, :length]
        for row, length in enumerate(generation.lengths)
    ]
    return np.concatenate(rows)
