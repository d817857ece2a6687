"""One copy of the weights: generation reads the tensors that training writes, and makes no other.

Both engines; that of DeepSpeed is skipped where it is not installed.
"""

from __future__ import annotations

import gc
import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from agents.engine.causal_lm import CausalLM
from agents.engine.decoder import CachedDecoder
from agents.engine.language_model import Sampling, TrainingConfig
from agents.engine.loading import load_lm
from tests.agents.engine.toy import (
    batch_after,
    greedy,
    noise,
    random_contexts,
    toy_lm,
    toy_model,
)

ENGINES = ["local", "deepspeed"]
SAMPLING = Sampling(max_new_tokens=6, stop_ids=frozenset(range(6)))
# No width of any other tensor, so that a copy of a weight is known by its shape.
ODD = {"vocab_size": 89, "hidden_size": 56, "intermediate_size": 53}


@pytest.fixture(params=ENGINES)
def lm(request: pytest.FixtureRequest, tmp_path) -> CausalLM:
    """A model of odd widths, configured for training, on either engine."""
    if request.param == "deepspeed" and not importlib.util.find_spec("deepspeed"):
        pytest.skip("DeepSpeed is not installed")
    toy_model("llama", tie_word_embeddings=False, **ODD).save_pretrained(tmp_path)
    model = load_lm(tmp_path, engine=request.param, device="cpu", has_value_head=True)
    model.configure_training(TrainingConfig(learning_rate=0.01))
    return model


def dialogue(lm: CausalLM, decoder: CachedDecoder) -> Any:
    """Two turns in kept slots; return the batch to train on."""
    contexts = [ids % 89 for ids in random_contexts([7, 3, 11])]
    for turn in range(2):
        generation = decoder.generate(contexts, [2, 0, 1], SAMPLING, noise(turn))
        batch = batch_after(contexts, generation)
        contexts = [
            np.concatenate([ids, generation.reply(row), [row]])
            for row, ids in enumerate(contexts)
        ]
    return batch


def update(lm: CausalLM, batch: Any) -> None:
    out = lm.evaluate(batch)
    lm.backward(-out.log_probs.sum() + out.values.square().sum())
    lm.step()


class WeightCopies(TorchDispatchMode):
    """Records every operator that returns a tensor of a weight's shape elsewhere in memory."""

    def __init__(self, lm: CausalLM) -> None:
        super().__init__()
        parameters = list(lm.module.parameters())
        matrices = [tuple(p.shape) for p in parameters if p.dim() == 2]
        self.shapes = {shape for shape in matrices} | {
            shape[::-1] for shape in matrices
        }
        self.storages = {p.untyped_storage().data_ptr() for p in parameters}
        self.found: list[str] = []
        self.num_calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.num_calls += 1
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if not isinstance(tensor, torch.Tensor):
                continue
            is_own = tensor.untyped_storage().data_ptr() in self.storages
            if tuple(tensor.shape) in self.shapes and not is_own:
                self.found.append(str(func))
        return result


def test_no_operator_of_a_decode_copies_a_weight(lm: CausalLM) -> None:
    update(lm, dialogue_in_block(lm))
    with lm.decoder(3) as decoder, WeightCopies(lm) as copies:
        dialogue(lm, decoder)
    assert copies.num_calls > 500
    assert copies.found == []


def dialogue_in_block(lm: CausalLM) -> Any:
    with lm.decoder(3) as decoder:
        return dialogue(lm, decoder)


def test_that_watch_sees_a_copy() -> None:
    lm = toy_lm()
    with WeightCopies(lm) as copies:
        lm.module.get_input_embeddings().weight.detach().clone()
        lm.module.get_input_embeddings().weight.detach().t()
    assert copies.found == ["aten.clone.default"]


def live_bytes() -> int:
    """Return the bytes of all distinct storages that Python can reach."""
    gc.collect()
    sizes = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor):
            storage = thing.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
    return sum(sizes.values())


def test_decoding_keeps_nothing_but_its_caches_and_then_nothing(lm: CausalLM) -> None:
    update(lm, dialogue_in_block(lm))
    before = live_bytes()
    weights = sum(p.nbytes for p in lm.module.parameters())
    with lm.decoder(3) as decoder:
        dialogue(lm, decoder)
        during = live_bytes()
        pairs = decoder._cache._layers.values()
        caches = sum(key.nbytes + value.nbytes for key, value in pairs)
        assert 0 < caches < weights
        assert during - before <= caches + 10_000
        del pairs
    assert live_bytes() - before <= 1_000


def test_every_weight_is_read_where_the_optimizer_writes_it(lm: CausalLM) -> None:
    """Each tensor of the optimizer, perturbed in place, changes the next logits at once."""
    optimizer, _ = lm._ready()
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    own = {p.data_ptr(): name for name, p in lm.network.named_parameters()}
    assert {p.data_ptr() for p in trained} == set(own)
    contexts = [ids % 89 for ids in random_contexts([9, 4])]
    with lm.decoder(2) as decoder:

        def logits() -> np.ndarray:
            return decoder.generate(contexts, [0, 1], greedy(4)).log_probs

        start = logits()
        for parameter in trained:
            kept = parameter.detach().clone()
            with torch.no_grad():
                parameter.add_(torch.randn(kept.shape, generator=noise(1)))
            moved = np.abs(logits() - start).max()
            name = own[parameter.data_ptr()]
            assert (moved > 1e-4) != name.startswith("value_head"), name
            with torch.no_grad():
                parameter.copy_(kept)
            np.testing.assert_allclose(logits(), start, atol=2e-5)


def test_addresses_outlive_updates_saving_loading_and_references(
    lm: CausalLM, tmp_path
) -> None:
    def addresses() -> list[int]:
        return [p.data_ptr() for p in lm.network.parameters()]

    before = addresses()
    batch = dialogue_in_block(lm)
    update(lm, batch)
    lm.freeze_reference()
    lm.save(tmp_path / "saved")
    update(lm, batch)
    lm.load(tmp_path / "saved")
    lm.save_pretrained(tmp_path / "plain")
    dialogue_in_block(lm)
    assert addresses() == before
    reference = {p.data_ptr() for p in lm._reference.parameters()}
    assert reference.isdisjoint(before)


def test_gradients_are_gone_after_a_step(lm: CausalLM) -> None:
    update(lm, dialogue_in_block(lm))
    assert all(p.grad is None for p in lm.network.parameters())
