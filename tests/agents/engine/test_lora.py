"""Adapters: they alone are trained, and what is decoded is exactly what is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("peft")
pytest.importorskip("deepspeed")

from safetensors.torch import load_file, save_file  # noqa: E402

from agents.engine.adapter import adapter_layers, has_adapter  # noqa: E402
from agents.engine.causal_lm import CausalLM  # noqa: E402
from agents.engine.hybrid import HybridEngineLM  # noqa: E402
from agents.engine.loading import load_lm  # noqa: E402
from agents.engine.local import LocalLM  # noqa: E402
from agents.engine.lora import add_lora, load_lora  # noqa: E402
from tests.agents.engine.rank_program import (  # noqa: E402
    CONFIG,
    first_log_prob,
    update,
)
from tests.agents.engine.toy import (  # noqa: E402
    VOCAB,
    batch_of,
    random_contexts,
    toy_lm,
    toy_model,
)

SHAPE = {"r": 4, "alpha": 8}
MASK = np.arange(7) >= 3


def build(stage: int | None, family: str = "llama-grouped", seed: int = 0) -> CausalLM:
    module = toy_model(family, seed)
    add_lora(module, SHAPE, seed=3)
    if stage is None:
        lm: CausalLM = LocalLM(module, name=family, has_value_head=True)
    else:
        config = {"zero_optimization": {"stage": stage}}
        lm = HybridEngineLM(
            module, name=family, has_value_head=True, deepspeed_config=config
        )
    lm.configure_training(CONFIG)
    return lm


def weights(lm: CausalLM) -> dict[str, torch.Tensor]:
    with lm._store.gathered():
        return {name: p.detach().clone() for name, p in lm.module.named_parameters()}


def log_probs(lm: CausalLM, *, is_reference: bool = False) -> torch.Tensor:
    batch = batch_of(random_contexts([7], 2), [MASK])
    with torch.no_grad():
        if is_reference:
            return lm.reference_log_probs(batch)
        return lm.evaluate(batch).log_probs


@pytest.mark.parametrize("family", ["llama-grouped", "gpt2", "opt"])
@pytest.mark.parametrize("stage", [None, 0, 1, 2, 3])
def test_adapters_alone_are_trained(stage: int | None, family: str) -> None:
    lm, local = build(stage, family), build(None, family)
    before = weights(lm)
    plain = toy_lm(family)
    # A fresh adapter says nothing.
    assert torch.equal(log_probs(lm), log_probs(plain))
    for number in range(2):
        norm, gap = update(lm, number)
        assert norm == pytest.approx(update(local, number)[0], rel=1e-4)
        assert gap <= 1e-5  # decoding is training
    after, expected = weights(lm), weights(local)
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved == {name for name in after if ".lora_" in name}
    for name in moved:
        assert (after[name] - expected[name]).abs().max() <= 1e-4
    assert all(
        torch.equal(after[name.replace("weight", "base_layer.weight")], p)
        for name, p in plain.module.named_parameters()
        if name.removesuffix(".weight") in adapter_layers(lm.module)
    )


@pytest.mark.parametrize("stage", [None, 0, 2, 3])
def test_the_reference_is_the_model_without_adapters(
    stage: int | None, tmp_path: Path
) -> None:
    lm = build(stage)
    lm.freeze_reference()
    start = log_probs(lm)
    update(lm, 0)
    assert torch.equal(log_probs(lm, is_reference=True), start)
    assert not torch.equal(log_probs(lm), start)
    assert lm._reference is lm.network  # no second copy
    said = log_probs(lm)
    lm.save(tmp_path)
    assert not (tmp_path / "reference.safetensors").exists()
    other = build(None, seed=5)
    other.load(tmp_path)
    assert torch.allclose(log_probs(other), said, atol=1e-6)
    assert torch.allclose(log_probs(other, is_reference=True), start, atol=1e-6)


def test_adapters_are_on_again_after_an_error() -> None:
    lm = build(None)
    lm.freeze_reference()
    update(lm, 0)
    said = log_probs(lm)
    with pytest.raises(ValueError, match="temperature"):
        batch = batch_of(random_contexts([7], 2), [MASK])
        lm.reference_log_probs(batch, temperature=0.0)
    assert torch.equal(log_probs(lm), said)


@pytest.mark.parametrize("family", ["llama-grouped", "gpt2"])
@pytest.mark.parametrize("stage", [None, 3])
def test_what_is_saved_is_merged_and_beside_it_exact(
    stage: int | None, family: str, tmp_path: Path
) -> None:
    lm = build(stage, family)
    update(lm, 0)
    said, before = log_probs(lm), weights(lm)
    lm.save_pretrained(tmp_path)
    after = weights(lm)
    assert all(torch.equal(after[name], p) for name, p in before.items())
    merged = load_lm(tmp_path, vocab_size=VOCAB, engine="local", device="cpu")
    assert not has_adapter(merged.module)
    assert torch.allclose(log_probs(merged), said, atol=1e-5)
    assert not torch.allclose(log_probs(merged), log_probs(toy_lm(family)), atol=1e-2)
    module = toy_model(family)
    load_lora(module, tmp_path / "adapter")
    exact = LocalLM(module, name="exact")
    mine = dict(exact.module.named_parameters())
    assert all(torch.equal(mine[name], p) for name, p in after.items())
    assert first_log_prob(exact) == pytest.approx(first_log_prob(lm), abs=1e-6)


def test_load_lm_makes_and_reads_adapters(tmp_path: Path) -> None:
    def tiny(**options: object) -> CausalLM:
        return load_lm("tiny", vocab_size=60, engine="local", device="cpu", **options)

    lm, again = (tiny(lora={"r": 2}, seed=4) for _ in range(2))
    layers = adapter_layers(lm.module)
    assert layers and all(layer.scaling["default"] == 2.0 for layer in layers.values())
    assert all(
        torch.equal(a, b)
        for a, b in zip(lm.module.parameters(), again.module.parameters(), strict=True)
    )
    lm.save_pretrained(tmp_path)
    assert has_adapter(tiny(lora=tmp_path / "adapter", seed=4).module)
    with pytest.raises(ValueError, match="holds an adapter, not a model.*lora="):
        load_lm(tmp_path / "adapter", engine="local", device="cpu")


def test_global_random_state_is_left_alone() -> None:
    state = torch.get_rng_state()
    add_lora(toy_model("llama"), SHAPE, seed=1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "rank r of at least 1"),
        ({"r": 0}, "rank r of at least 1"),
        ({"r": 2.5}, "rank r of at least 1"),
        ({"r": 4, "alhpa": 8}, "known are alpha, r, target_modules"),
        ({"r": 4, "alpha": 0}, "alpha must be a whole number above 0"),
    ],
)
def test_bad_shapes_are_refused(options: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        add_lora(toy_model("llama"), options, seed=0)


def test_bad_adapter_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="adapter_config.json"):
        load_lora(toy_model("llama"), tmp_path)
    lm = build(None)
    lm.save_pretrained(tmp_path)
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, path)
    with pytest.raises(ValueError, match="adapter of another model.*lora_A"):
        load_lora(toy_model("llama-grouped"), tmp_path / "adapter")
    path.unlink()
    with pytest.raises(FileNotFoundError, match="adapter_model.safetensors"):
        load_lora(toy_model("llama-grouped"), tmp_path / "adapter")
