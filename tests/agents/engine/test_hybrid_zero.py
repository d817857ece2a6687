"""ZeRO stages 0 to 3 in one process: the same numbers as `LocalLM`, on the weights that train."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("deepspeed")

from deepspeed.runtime.hybrid_engine import DeepSpeedHybridEngine  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from agents.engine.causal_lm import CausalLM  # noqa: E402
from agents.engine.hybrid import HybridEngineLM  # noqa: E402
from agents.engine.language_model import TrainingConfig  # noqa: E402
from agents.engine.local import LocalLM  # noqa: E402
from agents.engine.network import cast_parameters  # noqa: E402
from tests.agents.engine.rank_program import (  # noqa: E402
    CONFIG,
    addresses,
    first_log_prob,
    update,
)
from tests.agents.engine.toy import (  # noqa: E402
    batch_of,
    greedy,
    random_contexts,
    toy_model,
)

STAGES = [0, 1, 2, 3]
OFFLOAD = {"offload_optimizer": {"device": "cpu"}}


def build(
    stage: int | None,
    family: str = "llama-grouped",
    *,
    seed: int = 0,
    has_value_head: bool = True,
    dtype: torch.dtype = torch.float32,
    **zero: object,
) -> CausalLM:
    """Return a model that is ready to train: `LocalLM` at stage None."""
    module = toy_model(family, seed)
    cast_parameters(module, (dtype for _ in module.parameters()))
    if stage is None:
        lm = LocalLM(module, name=family, has_value_head=has_value_head)
    else:
        lm = HybridEngineLM(
            module,
            name=family,
            has_value_head=has_value_head,
            deepspeed_config={"zero_optimization": {"stage": stage, **zero}},
        )
    lm.configure_training(CONFIG)
    return lm


def largest_difference(first: CausalLM, second: CausalLM) -> float:
    with first._store.gathered(), second._store.gathered(), torch.no_grad():
        pairs = zip(
            first.network.parameters(), second.network.parameters(), strict=True
        )
        return max(float((a - b).float().abs().max()) for a, b in pairs)


def any_loss(lm: CausalLM, factor: float = 1.0) -> torch.Tensor:
    mask = np.arange(6) >= 3
    out = lm.evaluate(batch_of(random_contexts([6]), [mask]))
    return factor * (out.log_probs.sum() + out.values.sum())


@pytest.mark.parametrize("family", ["llama-grouped", "gpt2", "gemma2"])
@pytest.mark.parametrize("stage", STAGES)
def test_updates_equal_the_local_engines(stage: int, family: str) -> None:
    lm, local, start = build(stage, family), build(None, family), build(None, family)
    assert isinstance(lm.engine, DeepSpeedHybridEngine)
    assert lm.engine.zero_optimization_stage() == stage
    for number in range(3):
        norm, gap = update(lm, number)
        assert norm == pytest.approx(update(local, number)[0], rel=1e-4)
        assert norm > CONFIG.max_grad_norm and gap <= 1e-5
        assert largest_difference(lm, local) <= 1e-4
    assert largest_difference(local, start) > 1e-3


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_the_decoder_reads_what_the_optimizer_writes(stage: int) -> None:
    lm = build(stage)
    before, said = addresses(lm), first_log_prob(lm)
    update(lm, 0)
    assert addresses(lm) == before
    assert abs(first_log_prob(lm) - said) > 1e-4
    with lm.decoder(1) as decoder:
        # No parameter is copied for the decoder: it has the network itself.
        assert decoder._network is lm.network and addresses(lm) == before
    if stage:
        flat = lm.engine.optimizer.bit16_groups_flat
        inside = [
            any(
                group.data_ptr()
                <= pointer
                < group.data_ptr() + group.numel() * group.element_size()
                for group in flat
            )
            for pointer in before
        ]
        assert all(inside)  # of what ZeRO's step writes


@pytest.mark.parametrize("stage", STAGES)
def test_a_parameter_written_in_place_changes_the_next_logits(stage: int) -> None:
    lm = build(stage)
    with lm.decoder(1) as decoder:
        context = random_contexts([5])
        before = decoder.generate(context, [0], greedy(1)).log_probs
        with torch.no_grad():
            next(lm.module.parameters()).mul_(1.5)
        after = decoder.generate(context, [0], greedy(1)).log_probs
    assert abs(before[0, 0] - after[0, 0]) > 1e-4


@pytest.mark.parametrize("stage", STAGES)
def test_saved_states_go_round_every_stage(stage: int, tmp_path: Path) -> None:
    lm, local = build(stage), build(None)
    update(lm, 0)
    lm.freeze_reference()
    lm.save(tmp_path / "a")
    local.load(tmp_path / "a")
    assert largest_difference(lm, local) == 0
    update(local, 1)
    local.save(tmp_path / "b")
    other = build((stage + 1) % 4, seed=7)
    other.load(tmp_path / "b")
    assert largest_difference(other, local) == 0
    assert update(other, 2)[0] == pytest.approx(update(local, 2)[0], rel=1e-5)
    assert largest_difference(other, local) <= 1e-5
    # Loading is exact: going on from the file is going on.
    again = build(stage, seed=9)
    again.load(tmp_path / "a")
    assert update(again, 3) == update(lm, 3)
    assert largest_difference(again, lm) == 0


@pytest.mark.parametrize("stage", STAGES)
def test_a_state_from_before_the_first_step_loads(stage: int, tmp_path: Path) -> None:
    lm, other = build(stage), build(stage, seed=7)
    lm.save(tmp_path)
    update(other, 0)
    other.load(tmp_path)
    assert update(other, 1) == update(lm, 1)
    assert largest_difference(other, lm) == 0


@pytest.mark.parametrize("stage", STAGES)
def test_another_models_state_is_refused_and_nothing_changes(
    stage: int, tmp_path: Path
) -> None:
    lm, other = build(stage), build(stage)
    build(None, "gpt2").save(tmp_path)
    with pytest.raises(ValueError, match="model.safetensors belongs to another model"):
        lm.load(tmp_path)
    assert largest_difference(lm, other) == 0


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_unlike_step_counts_are_refused_where_one_is_kept(
    stage: int, tmp_path: Path
) -> None:
    local = build(None)
    update(local, 0)
    local.save(tmp_path)
    path = tmp_path / "optimizer.safetensors"
    tensors = load_file(path)
    tensors["value_head.bias.step"] += 1
    save_file(tensors, path)
    local.load(tmp_path)
    with pytest.raises(ValueError, match="different numbers of steps.*stage 0"):
        build(stage).load(tmp_path)


@pytest.mark.parametrize("stage", STAGES)
def test_a_gradient_that_is_not_finite_changes_nothing(stage: int) -> None:
    lm, other = build(stage), build(stage)
    lm.backward(any_loss(lm, torch.nan))
    with pytest.raises(FloatingPointError, match="not changed"):
        lm.step()
    assert largest_difference(lm, other) == 0
    assert update(lm, 0) == update(other, 0)


@pytest.mark.parametrize(
    ("stage", "zero"),
    [(0, {}), (1, {}), (2, {}), (3, {}), (1, OFFLOAD), (2, OFFLOAD), (3, OFFLOAD)],
)
def test_loading_drops_gradients_that_wait(
    stage: int, zero: dict, tmp_path: Path
) -> None:
    lm, other = build(stage, **zero), build(stage, **zero)
    update(lm, 0)
    lm.save(tmp_path)
    other.load(tmp_path)
    for _ in range(2):
        lm.backward(any_loss(lm, 100.0))
    lm.load(tmp_path)
    assert update(lm, 1) == update(other, 1)


@pytest.mark.parametrize("stage", STAGES)
def test_configuring_again_starts_afresh(stage: int) -> None:
    lm, other = build(stage), build(stage)
    lm.backward(any_loss(lm))
    lm.configure_training(CONFIG)
    assert update(lm, 0)[0] == pytest.approx(update(other, 0)[0], rel=1e-6)
    assert largest_difference(lm, other) <= 1e-5


@pytest.mark.parametrize("stage", STAGES)
def test_without_a_critic_there_is_one_step_size(stage: int, tmp_path: Path) -> None:
    lm, local = (build(at, has_value_head=False) for at in (stage, None))
    for each in (lm, local):
        each.set_learning_rate(0.01)
        each.backward(any_loss(each))
        each.step()
    assert largest_difference(lm, local) <= 1e-4
    lm.save(tmp_path)
    rates = json.loads((tmp_path / "training.json").read_text())["learning_rates"]
    assert rates == [0.01, 0.01]
    local.load(tmp_path)


@pytest.mark.parametrize("stage", STAGES)
def test_step_sizes_of_weights_and_critic_are_their_own(stage: int) -> None:
    lm, local = build(stage), build(None)
    config = TrainingConfig(learning_rate=0.0, value_learning_rate=0.1)
    for each in (lm, local):
        each.configure_training(config)
        each.backward(any_loss(each))
        each.step()
    assert largest_difference(lm, local) <= 1e-5
    with lm._store.gathered():
        assert lm.network.value_head.bias.item() != 0
        pairs = zip(lm.module.parameters(), build(None).module.parameters())
        assert all(torch.equal(a, b) for a, b in pairs)


def test_stage_3_evaluates_without_gradient_while_it_decodes() -> None:
    lm = build(3)
    with lm.decoder(1):
        loss = any_loss(lm)
        assert not loss.requires_grad
        with pytest.raises(ValueError, match="depends on the weights"):
            lm.backward(loss)
        lm.freeze_reference()  # blocks may be nested
    assert next(lm.module.parameters()).numel() == 0  # a shard again
    lm.backward(any_loss(lm))
    lm.step()


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_printed(stage: int, capfd: pytest.CaptureFixture[str]) -> None:
    update(build(stage), 0)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_optimizer_may_lie_in_host_memory(stage: int, tmp_path: Path) -> None:
    lm, local = build(stage, **OFFLOAD), build(None)
    for number in range(2):
        assert update(lm, number)[0] == pytest.approx(
            update(local, number)[0], rel=1e-4
        )
    assert largest_difference(lm, local) <= 1e-4
    lm.save(tmp_path)
    other = build(stage, seed=3, **OFFLOAD)
    other.load(tmp_path)
    assert update(other, 2) == update(lm, 2)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_bfloat16_trains_float32_masters(stage: int, tmp_path: Path) -> None:
    lm = build(stage, dtype=torch.bfloat16)
    assert {p.dtype for p in lm.network.parameters()} == {torch.bfloat16}
    kept = [b for b in lm.network.buffers() if b.is_floating_point()]
    assert kept and {b.dtype for b in kept} == {torch.float32}  # rotary frequencies
    for number in range(2):
        norm, gap = update(lm, number)
        assert norm > 0 and gap <= 0.1
    lm.freeze_reference()
    lm.save(tmp_path)
    # The masters are what is saved: steps that bfloat16 would round away are in the file.
    local = build(None)
    local.load(tmp_path)
    with lm._store.gathered(), torch.no_grad():
        pairs = list(zip(lm.module.parameters(), local.module.parameters()))
        assert all(torch.equal(low, high.bfloat16()) for low, high in pairs)
    assert any(not torch.equal(high, high.bfloat16().float()) for _, high in pairs)
    other = build(stage, seed=4, dtype=torch.bfloat16)
    other.load(tmp_path)
    assert update(other, 2) == update(lm, 2)


def test_bfloat16_is_at_stage_1_unless_told_otherwise() -> None:
    module = toy_model("llama")
    cast_parameters(module, (torch.bfloat16 for _ in module.parameters()))
    lm = HybridEngineLM(module, name="llama")
    lm.configure_training(CONFIG)
    assert lm.engine.zero_optimization_stage() == 1
    lm.backward(any_loss(lm, torch.nan))
    with pytest.raises(FloatingPointError, match="stage 1"):
        lm.step()
