"""A moving average of the weights: known numbers, swapped in and out, saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("deepspeed")

from agents.engine.causal_lm import CausalLM  # noqa: E402
from agents.engine.hybrid import HybridEngineLM  # noqa: E402
from agents.engine.language_model import TrainingConfig  # noqa: E402
from agents.engine.loading import load_lm  # noqa: E402
from agents.engine.local import LocalLM  # noqa: E402
from agents.engine.network import cast_parameters  # noqa: E402
from tests.agents.engine.rank_program import first_log_prob, update  # noqa: E402
from tests.agents.engine.toy import VOCAB, toy_model  # noqa: E402

DECAY = 0.75
STAGES = [None, 0, 1, 2, 3]
Weights = dict[str, torch.Tensor]


def build(
    stage: int | None,
    *,
    decay: float = DECAY,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> CausalLM:
    module = toy_model("llama-grouped", seed)
    cast_parameters(module, (dtype for _ in module.parameters()))
    if stage is None:
        lm: CausalLM = LocalLM(module, name="toy", has_value_head=True)
    else:
        config = {"zero_optimization": {"stage": stage}}
        lm = HybridEngineLM(
            module, name="toy", has_value_head=True, deepspeed_config=config
        )
    lm.configure_training(TrainingConfig(learning_rate=3e-3, ema_decay=decay))
    return lm


def weights(lm: CausalLM) -> Weights:
    with lm._store.gathered():
        return {name: p.detach().clone() for name, p in lm.network.named_parameters()}


def same(first: Weights, second: Weights) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.parametrize("stage", STAGES)
def test_the_average_is_the_one_computed_by_hand(stage: int | None) -> None:
    lm = build(stage)
    path = [weights(lm)]
    for number in range(3):
        update(lm, number)
        path.append(weights(lm))
    shares = [DECAY**3, 0.25 * DECAY**2, 0.25 * DECAY, 0.25]
    with lm.averaged_weights():
        average = weights(lm)
    for name, tensor in average.items():
        expected = sum(s * w[name].double() for s, w in zip(shares, path, strict=True))
        assert (tensor - expected).abs().max() <= 1e-6
    assert not same(average, path[-1])


@pytest.mark.parametrize("stage", STAGES)
def test_swapping_leaves_no_trace(stage: int | None) -> None:
    lm, other = build(stage), build(stage)
    for number in range(2):
        update(lm, number)
        update(other, number)
    before, said = weights(lm), first_log_prob(lm)
    with pytest.raises(ZeroDivisionError), lm.averaged_weights():
        assert first_log_prob(lm) != said  # caches of other weights are not used
        raise ZeroDivisionError
    assert same(weights(lm), before) and first_log_prob(lm) == said
    assert update(lm, 2) == update(other, 2)
    assert same(weights(lm), weights(other))


def test_bfloat16_weights_have_a_float32_average() -> None:
    lm = build(1, dtype=torch.bfloat16)
    before = weights(lm)
    for number in range(2):
        update(lm, number)
    average = lm._average
    assert average is not None
    assert {t.dtype for t in average.tensors.values()} == {torch.float32}
    assert any(
        not torch.equal(t, t.bfloat16().float()) for t in average.tensors.values()
    )
    with lm.averaged_weights():
        assert not same(weights(lm), before)


@pytest.mark.parametrize("stage", STAGES)
def test_it_is_saved_and_another_stage_goes_on(
    stage: int | None, tmp_path: Path
) -> None:
    lm, other = build(stage), build(2 if stage is None else None, seed=5)
    update(lm, 0)
    lm.save(tmp_path)
    other.load(tmp_path)
    for number in (1, 2):
        update(lm, number)
        update(other, number)
    with lm.averaged_weights(), other.averaged_weights():
        first, second = weights(lm), weights(other)
    for name, tensor in first.items():
        assert (tensor - second[name]).abs().max() <= 1e-5
    (tmp_path / "average.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="average.safetensors"):
        other.load(tmp_path)


@pytest.mark.parametrize("stage", [None, 3])
def test_the_average_is_what_save_pretrained_writes_inside(
    stage: int | None, tmp_path: Path
) -> None:
    lm = build(stage)
    update(lm, 0)
    with lm.averaged_weights():
        lm.save_pretrained(tmp_path)
        average = weights(lm)
    read = load_lm(
        tmp_path, vocab_size=VOCAB, engine="local", device="cpu", has_value_head=True
    )
    assert same(weights(read), average)


def test_training_waits_until_the_weights_are_back(tmp_path: Path) -> None:
    lm = build(None)
    update(lm, 0)
    with lm.averaged_weights():
        for forbidden in (lm.step, lambda: lm.save(tmp_path)):
            with pytest.raises(RuntimeError, match="leave the block"):
                forbidden()
        with pytest.raises(RuntimeError, match="in already"):
            with lm.averaged_weights():
                pass


def test_stage_3_refuses_to_swap_under_an_open_decoder() -> None:
    lm = build(3)
    with lm.decoder(1), pytest.raises(RuntimeError, match="Open `averaged_weights"):
        with lm.averaged_weights():
            pass


def test_there_is_none_unless_asked_for() -> None:
    lm = build(None, decay=0.0)
    with pytest.raises(RuntimeError, match="ema_decay above 0"):
        with lm.averaged_weights():
            pass


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_bad_decays_are_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="ema_decay must lie"):
        TrainingConfig(ema_decay=decay)
