"""The DeepSpeed engine: the same numbers as `LocalLM`, from a real `DeepSpeedHybridEngine`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

deepspeed = pytest.importorskip("deepspeed")

from deepspeed.ops.op_builder.builder import OpBuilder  # noqa: E402
from deepspeed.runtime.hybrid_engine import DeepSpeedHybridEngine  # noqa: E402

from agents.engine.causal_lm import CausalLM  # noqa: E402
from agents.engine.deepspeed_config import merge_config  # noqa: E402
from agents.engine.hybrid import HybridEngineLM  # noqa: E402
from agents.engine.language_model import Sampling, TrainingConfig  # noqa: E402
from agents.engine.loading import load_lm  # noqa: E402
from agents.engine.local import LocalLM  # noqa: E402
from tests.agents.engine.toy import (  # noqa: E402
    batch_after,
    noise,
    packed_log_probs,
    random_contexts,
    replies,
    toy_model,
)

SAMPLING = Sampling(max_new_tokens=5, stop_ids=frozenset(range(10)))
CONFIG = TrainingConfig(learning_rate=3e-3, weight_decay=0.1, max_grad_norm=0.7)


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be compiled behind our back: it takes minutes and needs a compiler."""

    def refuse(self: OpBuilder, *_: object, **__: object) -> None:
        raise AssertionError(f"{self.name} would be compiled")

    monkeypatch.setattr(OpBuilder, "jit_load", refuse)


def build(
    kind: type[CausalLM], family: str = "llama-grouped", seed: int = 0
) -> CausalLM:
    lm = kind(toy_model(family, seed), name=family, has_value_head=True)
    lm.configure_training(CONFIG)
    return lm


def update(lm: CausalLM, number: int) -> tuple[float, list[list[int]]]:
    """One update of two micro-batches over two turns with kept caches."""
    contexts = random_contexts([4, 6, 3])
    with lm.decoder(3) as decoder:
        for turn in range(2):
            generator = noise(10 * number + turn)
            generation = decoder.generate(contexts, [0, 2, 1], SAMPLING, generator)
            batch = batch_after(contexts, generation)
            trained = lm.evaluate(batch).log_probs[batch.action_mask].detach().numpy()
            gap = np.abs(trained - packed_log_probs(generation)).max()
            assert gap <= 1e-5
            contexts = [
                np.concatenate([context, generation.reply(row)])
                for row, context in enumerate(contexts)
            ]
    for _ in range(2):
        out = lm.evaluate(batch)
        error = (out.values - 1.0).square().sum()
        lm.backward((out.log_probs.sum() + 0.1 * error) / 20)
    return lm.step(), replies(generation)


def largest_difference(first: CausalLM, second: CausalLM) -> float:
    pairs = zip(first.network.parameters(), second.network.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@pytest.mark.parametrize("family", ["llama-grouped", "gpt2", "gemma2"])
def test_updates_equal_the_local_engines(family: str) -> None:
    hybrid, local = build(HybridEngineLM, family), build(LocalLM, family)
    start = [p.detach().clone() for p in hybrid.network.parameters()]
    for number in range(3):
        norm, said = update(hybrid, number)
        expected_norm, expected = update(local, number)
        assert said == expected
        assert norm == pytest.approx(expected_norm, rel=1e-4) and norm > 0.7
        assert largest_difference(hybrid, local) <= 1e-4
    moved = zip(start, hybrid.network.parameters(), strict=True)
    assert max(float((a - b).detach().abs().max()) for a, b in moved) > 1e-3


def test_engine_is_a_hybrid_engine_that_injected_nothing() -> None:
    lm = build(HybridEngineLM)
    assert isinstance(lm.engine, DeepSpeedHybridEngine)
    assert lm.engine._inference_containers == [] and lm.engine.inference_policies == {}
    assert lm.engine.module is lm.network
    assert not hasattr(build(LocalLM), "engine")
    # deepspeed itself is left as it was.
    assert deepspeed.DeepSpeedHybridEngine is DeepSpeedHybridEngine


def test_gradients_flow_through_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = build(HybridEngineLM)
    calls = []
    for name in ("forward", "backward", "step", "train", "eval"):
        inner = getattr(lm.engine, name)

        def spy(*args, _inner=inner, _name=name, **kwargs):
            calls.append(_name)
            return _inner(*args, **kwargs)

        monkeypatch.setattr(lm.engine, name, spy)
    update(lm, 0)
    assert set(calls) == {"forward", "backward", "step", "train", "eval"}
    assert calls.count("backward") == 2 and calls.count("step") == 1


def test_decoder_reads_the_tensors_that_the_optimizer_updates() -> None:
    lm = build(HybridEngineLM)
    decoded = {p.data_ptr() for p in lm.module.parameters()}
    groups = lm.engine.optimizer.param_groups
    trained = {p.data_ptr() for group in groups for p in group["params"]}
    head = {p.data_ptr() for p in lm.network.value_head.parameters()}
    assert decoded == trained - head
    update(lm, 0)
    assert {p.data_ptr() for p in lm.module.parameters()} == decoded
    context = random_contexts([5])
    with lm.decoder(1) as decoder:
        before = decoder.generate(context, [0], SAMPLING, noise())
        with torch.no_grad():
            groups[0]["params"][0] *= 1.5
        after = decoder.generate(context, [0], SAMPLING, noise())
    assert abs(before.log_probs[0, 0] - after.log_probs[0, 0]) > 1e-4


def test_global_random_state_and_environment_are_left_alone() -> None:
    state, environment = torch.get_rng_state(), dict(os.environ)
    build(HybridEngineLM)
    assert torch.equal(torch.get_rng_state(), state)
    assert dict(os.environ) == environment


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    lm = build(HybridEngineLM)
    update(lm, 0)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    "kinds", [(HybridEngineLM, LocalLM), (LocalLM, HybridEngineLM)]
)
def test_checkpoints_move_between_engines(tmp_path: Path, kinds: tuple) -> None:
    writer, reader = build(kinds[0]), build(kinds[1], seed=5)
    writer.freeze_reference()
    update(writer, 0)
    writer.save(tmp_path)
    reader.load(tmp_path)
    assert largest_difference(writer, reader) == 0
    assert update(writer, 1)[1] == update(reader, 1)[1]
    assert largest_difference(writer, reader) <= 1e-6


def test_continuing_is_bit_exact(tmp_path: Path) -> None:
    lm, other = build(HybridEngineLM), build(HybridEngineLM, seed=5)
    update(lm, 0)
    lm.save(tmp_path)
    other.load(tmp_path)
    assert update(lm, 1) == update(other, 1)
    assert largest_difference(lm, other) == 0


def test_a_gradient_that_is_not_finite_leaves_the_weights_alone() -> None:
    lm, other = build(HybridEngineLM), build(HybridEngineLM)
    lm.backward(lm.network.value_head.bias.sum() * torch.nan)
    with pytest.raises(FloatingPointError, match="norm is nan"):
        lm.step()
    assert largest_difference(lm, other) == 0
    assert update(lm, 0) == update(other, 0)


def test_configuring_again_starts_afresh() -> None:
    once, twice = build(HybridEngineLM), build(HybridEngineLM)
    twice.backward(twice.network.value_head.bias.sum())
    twice.configure_training(CONFIG)
    assert update(once, 0) == update(twice, 0)


def test_there_is_no_engine_before_training_but_it_generates() -> None:
    lm = load_lm("tiny", vocab_size=60, engine="deepspeed", device="cpu")
    assert isinstance(lm, HybridEngineLM)
    with pytest.raises(RuntimeError, match="configure_training"):
        lm.engine
    context = [np.array([1, 2, 3])]
    with lm.decoder(1) as decoder:
        generation = decoder.generate(context, [0], SAMPLING, noise())
    lm.evaluate(batch_after(context, generation))


def test_generate_of_the_engine_is_transformers_on_the_same_weights() -> None:
    lm = build(HybridEngineLM)
    ids = torch.tensor([[5, 6, 7]])
    lm.engine.eval()
    output = lm.engine.generate(ids, max_new_tokens=4, do_sample=False)
    greedy = Sampling(max_new_tokens=4, stop_ids=frozenset(), is_greedy=True)
    with lm.decoder(1) as decoder:
        generation = decoder.generate([ids[0].numpy()], [0], greedy)
    assert output[0, 3:].tolist() == generation.reply(0).tolist()


@pytest.mark.parametrize(
    ("theirs", "match"),
    [
        ({"zero_optimization": {"stage": 4}}, "stage must be 0, 1, 2 or 3, got 4"),
        ({"optimizer": {"type": "Adam"}}, "section 'optimizer'.*TrainingConfig"),
        (
            {"bf16": {"enabled": True}},
            "enables bf16, but the weights are torch.float32",
        ),
        ({"hybrid_engine": {"enabled": False}}, "hybrid_engine.*enabled.*False.*True"),
        ({"gradient_clipping": 5.0}, "gradient_clipping.*5.0.*needs 0.7"),
    ],
)
def test_contradicting_configurations_are_named(theirs: dict, match: str) -> None:
    lm = HybridEngineLM(toy_model("llama"), name="llama", deepspeed_config=theirs)
    with pytest.raises(ValueError, match=match):
        lm.configure_training(CONFIG)
    other = HybridEngineLM(toy_model("llama"), name="llama")
    with pytest.raises(ValueError, match=match):
        other.configure_training(
            TrainingConfig(max_grad_norm=0.7, engine_options=theirs)
        )


def test_configurations_that_agree_are_merged_without_aliasing() -> None:
    ours, theirs = {"a": {"b": 1}}, {"a": {"b": 1, "c": [2]}, "d": 3}
    merged = merge_config(ours, theirs)
    assert merged == {"a": {"b": 1, "c": [2]}, "d": 3}
    merged["a"]["c"].append(9)
    assert theirs["a"]["c"] == [2] and ours == {"a": {"b": 1}}


def test_several_processes_without_a_launcher_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm = HybridEngineLM(toy_model("llama"), name="llama")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(ValueError, match="MASTER_ADDR, MASTER_PORT.*torchrun"):
        lm.configure_training(CONFIG)
