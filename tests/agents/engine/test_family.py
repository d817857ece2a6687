"""Any family is either decoded exactly or refused when it is constructed: never silently wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

from agents.engine.language_model import Sampling
from agents.engine.loading import load_lm
from agents.engine.local import LocalLM
from tests.agents.engine.oracle import check_generation
from tests.agents.engine.toy import (
    _BASE,
    _GPT2,
    _NO_IDS,
    CONTEXT,
    VOCAB,
    batch_after,
    noise,
    packed_log_probs,
    random_contexts,
    toy_model,
)

_HEADS = {**_BASE, "head_dim": 8}
_SLIDING = {**_BASE, "sliding_window": 6}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
# Beyond `toy.FAMILIES`: shared experts, partial rotation, no positions in some layers, chunks,
# multi-query attention, differential attention, capped or scaled everything.
DECODED: dict[str, dict[str, Any]] = {
    "Phi3": _BASE,
    "StableLm": _BASE,
    "Starcoder2": _BASE,
    "Olmo2": _BASE,
    "Olmo3": _SLIDING,
    "Granite": _BASE,
    "SmolLM3": _BASE,
    "Mixtral": {**_BASE, "num_local_experts": 4},
    "Qwen3Moe": {**_HEADS, **_EXPERTS},
    "Cohere2": _SLIDING,
    "Nemotron": _BASE,
    "GPTBigCode": {**_GPT2, **_NO_IDS, "n_positions": CONTEXT},
    "Llama4Text": {
        **_HEADS,
        "num_local_experts": 2,
        "intermediate_size_mlp": 64,
        "attention_chunk_size": 8,
    },
    "Glm4": _HEADS,
    "DiffLlama": _BASE,
    "Persimmon": _BASE,
}
REFUSED: dict[str, dict[str, Any]] = {
    "GPTJ": {**_GPT2, **_NO_IDS, "n_positions": CONTEXT, "rotary_dim": 4},
    "CodeGen": {**_GPT2, **_NO_IDS, "n_positions": CONTEXT, "rotary_dim": 4},
    "Mpt": {"vocab_size": VOCAB, "d_model": 32, "n_layers": 2, "n_heads": 4},
    "OpenAIGPT": {**_GPT2, "n_positions": CONTEXT},
    # A state instead of keys and values.
    "RecurrentGemma": _BASE,
    "Jamba": _BASE,
    "Lfm2": {**_BASE, "layer_types": ["conv", "full_attention"]},
    "Qwen3Next": {**_HEADS, **_EXPERTS},
    # An encoder, a mask that is built elsewhere, keys and values of two widths.
    "Bart": {
        "vocab_size": VOCAB,
        "d_model": 32,
        "decoder_layers": 2,
        "decoder_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
    },
    "Doge": _BASE,
    "BioGpt": _BASE,
}


def model_of(name: str, fields: dict[str, Any]) -> PreTrainedModel:
    config = getattr(transformers, f"{name}Config")(
        **{**fields, "initializer_range": 0.2}
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        return AutoModelForCausalLM.from_config(config)


def turns(lm: LocalLM, contexts: list[np.ndarray], tokens: int) -> float:
    """Return the largest gap to the trainer over three turns in the same slots."""
    sampling = Sampling(max_new_tokens=tokens, stop_ids=frozenset(range(8)))
    gaps = []
    with lm.decoder(len(contexts)) as decoder:
        for turn in range(3):
            slots = range(len(contexts))[::-1]
            generation = decoder.generate(contexts, slots, sampling, noise(turn))
            check_generation(lm, contexts, generation, sampling, turn)
            batch = batch_after(contexts, generation)
            trained = lm.evaluate(batch).log_probs[batch.action_mask].detach().numpy()
            gaps.append(np.abs(trained - packed_log_probs(generation)).max())
            contexts = [
                np.concatenate([context, generation.reply(row), [row + 1]])
                for row, context in enumerate(contexts)
            ]
    return float(max(gaps))


@pytest.mark.parametrize("name", DECODED)
def test_further_families_are_decoded_exactly(name: str) -> None:
    lm = LocalLM(model_of(name, DECODED[name]), name=name)
    assert turns(lm, random_contexts([5, 2, 14, 40]), 7) <= 1e-5


@pytest.mark.parametrize("name", REFUSED)
def test_families_that_cannot_be_decoded_are_refused_by_name(name: str) -> None:
    model = model_of(name, REFUSED[name])
    with pytest.raises(ValueError, match=type(model).__name__):
        LocalLM(model, name=name)


def rotated(kind: str, **more: Any) -> PreTrainedModel:
    rotary = {"rope_type": kind, "rope_theta": 1e4, **more}
    return toy_model("llama-grouped", rope_parameters=rotary)


@pytest.mark.parametrize(
    "model",
    [
        rotated("linear", factor=4.0),
        rotated("yarn", factor=3.0, original_max_position_embeddings=32),
        rotated("dynamic", factor=2.0),
        rotated(
            "llama3",
            factor=4.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=32,
        ),
    ],
    ids=["linear", "yarn", "dynamic", "llama3"],
)
def test_scaled_rotations_are_exact_to_the_last_position(
    model: PreTrainedModel,
) -> None:
    lm = LocalLM(model, name="rotated")
    assert lm.context_length == CONTEXT
    assert turns(lm, random_contexts([CONTEXT - 22, 3]), 6) <= 1e-5


def test_rotations_that_change_with_length_end_the_context_where_they_do() -> None:
    """Long rope turns all positions anew past the original length: no cache survives that."""
    longer = {"long_factor": [4.0] * 4, "short_factor": [1.0] * 4}
    model = rotated(
        "longrope", factor=3.0, original_max_position_embeddings=32, **longer
    )
    lm = LocalLM(model, name="long")
    assert lm.context_length == 32
    assert turns(lm, random_contexts([10, 3]), 5) <= 1e-5
    # One row past it would change what every other row says.
    ids = random_contexts([40])[0]
    short = torch.from_numpy(ids[:10])[None]
    with torch.no_grad():
        alone = lm.module(short).logits
        rows = torch.from_numpy(np.stack([ids, ids]))
        together = lm.module(rows).logits[:1, :10]
    assert (alone - together).abs().max() > 0.1
    with lm.decoder(1) as decoder:
        with pytest.raises(ValueError, match="40 tokens.*attends to 32"):
            decoder.generate([ids], [0], Sampling(max_new_tokens=1, stop_ids=set()))


@pytest.mark.parametrize("name", ["float64", "bfloat16", "float16"])
def test_other_precisions_agree_within_their_rounding(name: str) -> None:
    dtype = getattr(torch, name)
    lm = load_lm("tiny", vocab_size=60, engine="local", device="cpu", dtype=dtype)
    contexts = [ids % 60 for ids in random_contexts([200, 30])]
    sampling = Sampling(max_new_tokens=10, stop_ids=frozenset())
    with lm.decoder(2) as decoder:
        generation = decoder.generate(contexts, [0, 1], sampling, noise())
    batch = batch_after(contexts, generation)
    trained = lm.evaluate(batch).log_probs[batch.action_mask].detach().numpy()
    gap = np.abs(trained - packed_log_probs(generation)).max()
    bound = {"float64": 1e-6, "float16": 1e-2, "bfloat16": 5e-2}[name]
    assert gap <= bound
    assert generation.log_probs.dtype == np.float32
