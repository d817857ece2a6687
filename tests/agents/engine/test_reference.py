"""The frozen copy: exactly the model of its moment, and of no other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.engine.language_model import TokenBatch, TrainingConfig
from agents.engine.loading import load_lm
from agents.engine.local import LocalLM
from tests.agents.engine.toy import (
    FAMILIES,
    batch_after,
    batch_of,
    greedy,
    random_contexts,
    toy_lm,
    toy_model,
)


def batch_for(lm: LocalLM) -> TokenBatch:
    contexts = random_contexts([9, 4])
    with lm.decoder(2) as decoder:
        return batch_after(contexts, decoder.generate(contexts, [0, 1], greedy(5)))


def update(lm: LocalLM, batch: TokenBatch) -> None:
    lm.backward(-lm.evaluate(batch).log_probs.sum())
    lm.step()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_divergence_from_the_reference_is_exactly_zero_at_the_start(
    family: str, temperature: float
) -> None:
    lm = toy_lm(family)
    batch = batch_for(lm)
    lm.freeze_reference()
    live = lm.evaluate(batch, temperature=temperature).log_probs
    assert torch.equal(lm.reference_log_probs(batch, temperature=temperature), live)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_zero_in_half_precision_too(dtype: torch.dtype) -> None:
    """A cast of the whole module would round the rotary frequencies of one of the two."""
    lm = load_lm("tiny", vocab_size=60, engine="local", device="cpu", dtype=dtype)
    ids = random_contexts([400])[0] % 60
    batch = batch_of([ids], [np.arange(400) > 300])
    lm.freeze_reference()
    live = lm.evaluate(batch).log_probs
    assert torch.equal(lm.reference_log_probs(batch), live)
    kinds = {p.dtype for p in lm._reference.parameters()}
    assert kinds == {dtype}


def test_rotary_frequencies_stay_float32_whatever_the_weights() -> None:
    exact = load_lm("tiny", vocab_size=60, engine="local", device="cpu")
    half = load_lm(
        "tiny", vocab_size=60, engine="local", device="cpu", dtype=torch.bfloat16
    )
    half.freeze_reference()
    expected = exact.module.model.rotary_emb.inv_freq
    for module in (half.module, half._reference.language_model):
        assert torch.equal(module.model.rotary_emb.inv_freq, expected)
    assert {p.dtype for p in half.module.parameters()} == {torch.bfloat16}


def test_a_model_of_two_dtypes_is_copied_as_it_is() -> None:
    """Some families keep a few layers in float32 beside bfloat16 weights."""
    module = toy_model("gpt2").bfloat16()
    module.transformer.wpe.float()
    module.transformer.wpe.register_forward_hook(lambda *args: args[-1].bfloat16())
    lm = LocalLM(module, name="mixed")
    lm.freeze_reference()
    pairs = zip(lm.module.parameters(), lm._reference.parameters(), strict=True)
    assert all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def test_eager_attention_is_kept() -> None:
    module = toy_model("llama")
    module.set_attn_implementation("eager")
    lm = LocalLM(module, name="eager")
    lm.freeze_reference()
    batch = batch_for(lm)
    assert torch.equal(lm.reference_log_probs(batch), lm.evaluate(batch).log_probs)


def test_it_stands_still_while_the_model_moves_and_moves_when_asked() -> None:
    lm = toy_lm()
    lm.configure_training(TrainingConfig(learning_rate=0.01))
    batch = batch_for(lm)
    lm.freeze_reference()
    frozen = [p.detach().clone() for p in lm._reference.parameters()]
    start = lm.reference_log_probs(batch)
    for _ in range(3):
        update(lm, batch)
        assert torch.equal(lm.reference_log_probs(batch), start)
    now = zip(frozen, lm._reference.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in now)
    assert (lm.evaluate(batch).log_probs - start).abs().max() > 0.1
    lm.freeze_reference()
    assert torch.equal(lm.reference_log_probs(batch), lm.evaluate(batch).log_probs)


def test_it_is_not_trained_not_counted_and_not_in_training_mode() -> None:
    lm = toy_lm(has_value_head=True)
    names = {name for name, _ in lm.network.named_parameters()}
    lm.freeze_reference()
    assert {name for name, _ in lm.network.named_parameters()} == names
    assert not any(p.requires_grad for p in lm._reference.parameters())
    lm.network.train()
    assert not lm._reference.training
    out = lm.reference_log_probs(batch_for(lm))
    assert not out.requires_grad and out.dtype == torch.float32
    assert lm._reference.value_head is None


def test_it_forbids_what_the_model_forbids_before_and_after() -> None:
    lm = toy_lm(vocab_size=50)
    lm.forbid([4])
    lm.freeze_reference()
    lm.forbid([5])
    assert torch.equal(lm._reference.forbidden_V, lm.network.forbidden_V)
    batch = batch_of([np.array([1, 7, 8])], [np.array([False, True, True])])
    assert torch.equal(lm.reference_log_probs(batch), lm.evaluate(batch).log_probs)
    batch.input_ids[0, 1] = 4
    with pytest.raises(ValueError, match=r"\[4\].*cannot say"):
        lm.reference_log_probs(batch)


def test_it_is_zero_off_the_mask() -> None:
    lm = toy_lm()
    lm.freeze_reference()
    batch = batch_for(lm)
    out = lm.reference_log_probs(batch)
    assert (out[~batch.action_mask] == 0).all()
    assert (out[batch.action_mask] < 0).all()


def test_a_reference_frozen_inside_a_decoder_block_is_the_plain_model() -> None:
    lm = toy_lm()
    context = random_contexts([5])
    with lm.decoder(1) as decoder:
        decoder.generate(context, [0], greedy(2))
        lm.freeze_reference()
        generation = decoder.generate(context, [0], greedy(4))
    batch = batch_after(context, generation)
    assert torch.equal(lm.reference_log_probs(batch), lm.evaluate(batch).log_probs)
    implementation = lm._reference.language_model.config._attn_implementation
    assert implementation == lm.module.config._attn_implementation == "sdpa"
