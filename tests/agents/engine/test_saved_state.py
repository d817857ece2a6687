"""A saved state goes bad in every way that we can think of: named, refused, nothing changed."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from agents.engine.causal_lm import CausalLM
from agents.engine.language_model import TrainingConfig
from agents.engine.local import LocalLM
from agents.engine.optimizer import adamw_state
from agents.engine.state_file import TrainingRecord, read_tensors, write_tensors
from tests.agents.damage import malicious_pickle
from tests.agents.engine.toy import (
    batch_after,
    greedy,
    random_contexts,
    toy_lm,
    toy_model,
)

CONFIG = TrainingConfig(learning_rate=0.01)
TENSOR_FILES = ["model", "value_head", "reference", "optimizer"]
ALL_FILES = [*(f"{name}.safetensors" for name in TENSOR_FILES), "training.json"]
Tensors = dict[str, torch.Tensor]


def trained(
    seed: int = 0, updates: int = 1, kind: type[CausalLM] = LocalLM
) -> CausalLM:
    lm = kind(toy_model("llama-grouped", seed), name="toy", has_value_head=True)
    lm.configure_training(CONFIG)
    lm.freeze_reference()
    contexts = random_contexts([5, 3])
    for _ in range(updates):
        with lm.decoder(2) as decoder:
            generation = decoder.generate(contexts, [0, 1], greedy(4))
        out = lm.evaluate(batch_after(contexts, generation))
        lm.backward(out.log_probs.sum() + (out.values - 1).square().sum())
        lm.step()
    return lm


def state(lm: CausalLM) -> Tensors:
    """Everything that `load` may write, as copies."""
    optimizer, _ = lm._ready()
    tensors = {name: p for name, p in lm.network.named_parameters()}
    tensors |= {f"r.{name}": p for name, p in lm._reference.named_parameters()}
    tensors |= adamw_state(optimizer, lm.network)
    rates = [group["lr"] for group in optimizer.param_groups]
    tensors["rates"] = torch.tensor([*rates, lm._num_updates], dtype=torch.float64)
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def same(first: Tensors, second: Tensors) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(tensor, second[name]) for name, tensor in first.items()
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    trained(updates=2).save(tmp_path)
    return tmp_path


@pytest.fixture
def other() -> CausalLM:
    return trained(seed=7)


def refused(lm: CausalLM, directory: Path, match: str) -> None:
    """Loading fails by that name and leaves everything as it was; the repaired state loads."""
    before = state(lm)
    with pytest.raises((ValueError, FileNotFoundError), match=match):
        lm.load(directory)
    assert same(state(lm), before)


def truncated(data: bytes) -> bytes:
    return data[:-1]


def header_only(data: bytes) -> bytes:
    return data[: 8 + int.from_bytes(data[:8], "little")]


def padded(data: bytes) -> bytes:
    return data + b"\0"


def huge_header(data: bytes) -> bytes:
    return (2**62).to_bytes(8, "little") + data[8:]


def text(_: bytes) -> bytes:
    return b"[]\n"


@pytest.mark.parametrize("name", ALL_FILES)
@pytest.mark.parametrize(
    "damage",
    [truncated, header_only, padded, huge_header, text],
    ids=lambda damage: damage.__name__,
)
def test_bytes_gone_wrong_are_refused_whole(
    saved: Path, other: CausalLM, name: str, damage: Callable[[bytes], bytes]
) -> None:
    path = saved / name
    data = path.read_bytes()
    broken = damage(data)
    if name == "training.json" and damage in (truncated, huge_header, header_only):
        broken = data[: len(data) // 2]
    path.write_bytes(broken)
    refused(other, saved, name)
    path.write_bytes(data)
    other.load(saved)
    assert same(state(other), state(trained(updates=2)))


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_pickle_in_any_place_is_refused_unread(
    saved: Path, other: CausalLM, name: str
) -> None:
    proof = saved / "proof"
    (saved / name).write_bytes(malicious_pickle(proof))
    refused(other, saved, name)
    assert not proof.exists()


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_missing_file_is_named(saved: Path, other: CausalLM, name: str) -> None:
    (saved / name).unlink()
    refused(other, saved, f"{name} is missing")


def renamed(tensors: Tensors) -> Tensors:
    name = sorted(tensors)[0]
    return {
        **{k: t for k, t in tensors.items() if k != name},
        f"x.{name}": tensors[name],
    }


def reshaped(tensors: Tensors) -> Tensors:
    name = max(tensors, key=lambda key: tensors[key].numel())
    return {**tensors, name: tensors[name].reshape(-1)[:-1].contiguous()}


def added(tensors: Tensors) -> Tensors:
    return {**tensors, "one.more": torch.zeros(2)}


def rounded(tensors: Tensors) -> Tensors:
    name = sorted(tensors)[0]
    return {**tensors, name: tensors[name].to(torch.bfloat16)}


@pytest.mark.parametrize("name", TENSOR_FILES)
@pytest.mark.parametrize(
    ("change", "match"),
    [
        (renamed, "another model"),
        (reshaped, "another model"),
        (added, "another model"),
        (rounded, "bfloat16.*dtype"),
    ],
    ids=["renamed", "reshaped", "added", "rounded"],
)
def test_tensors_of_another_model_are_refused_and_none_is_taken(
    saved: Path,
    other: CausalLM,
    name: str,
    change: Callable[[Tensors], Tensors],
    match: str,
) -> None:
    path = saved / f"{name}.safetensors"
    save_file(change(load_file(path)), path)
    refused(other, saved, rf"{name}\.safetensors.*{match}")


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("format", 2, "has format 2; this version reads 1"),
        ("format", None, "has format None"),
        ("has_value_head", 1, "has_value_head is 1"),
        ("has_value_head", False, "has_value_head=False.*construct it like"),
        ("has_reference", "yes", "has_reference is 'yes'"),
        ("num_updates", 1.5, "num_updates is 1.5"),
        ("num_updates", True, "num_updates is True"),
        ("learning_rates", [0.1], r"learning_rates is \[0.1\]"),
        ("learning_rates", [0.1, float("nan")], "learning_rates is"),
        ("learning_rates", [-0.1, 0.1], "learning_rates is"),
        ("learning_rates", "fast", "learning_rates is 'fast'"),
        ("surplus", 1, r"damaged.*\['surplus'\] are unknown"),
    ],
)
def test_records_that_make_no_sense_are_refused_by_field(
    saved: Path, other: CausalLM, field: str, value: object, match: str
) -> None:
    path = saved / "training.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, field: value}))
    refused(other, saved, f"training.json.*{match}")


@pytest.mark.parametrize(
    "field", ["has_value_head", "has_reference", "num_updates", "learning_rates"]
)
def test_records_that_lack_a_field_say_which(
    saved: Path, other: CausalLM, field: str
) -> None:
    path = saved / "training.json"
    record = json.loads(path.read_text())
    del record[field]
    path.write_text(json.dumps(record))
    refused(other, saved, rf"training.json is damaged: it lacks \['{field}'\]")


def test_a_record_comes_back_as_it_went(tmp_path: Path) -> None:
    record = TrainingRecord(
        has_value_head=True,
        has_reference=False,
        num_updates=7,
        learning_rates=(1 / 3, 0.0),
    )
    record.write(tmp_path / "training.json")
    assert TrainingRecord.read(tmp_path / "training.json") == record


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_tensors_come_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    values = torch.tensor([1 / 3, -0.0, torch.inf, torch.nan, 1e-40]).to(dtype)
    views = {"all": values, "step": values[::2], "t": values.repeat(3, 1).t()}
    write_tensors(tmp_path / "x.safetensors", views)
    back = read_tensors(tmp_path / "x.safetensors")
    for name, tensor in views.items():
        got, expected = back[name].contiguous(), tensor.contiguous()
        assert got.dtype == dtype and got.shape == tensor.shape
        assert got.numpy(force=True).tobytes() if dtype != torch.bfloat16 else True
        assert torch.equal(got.view(torch.uint8), expected.view(torch.uint8))


def test_loading_drops_gradients_that_were_not_applied(saved: Path) -> None:
    lm = trained(seed=7)
    lm.backward(1e3 * lm.network.value_head.weight.sum())
    lm.load(saved)
    assert all(p.grad is None for p in lm.network.parameters())
    with pytest.raises(RuntimeError, match="without backward"):
        lm.step()


def test_loading_a_state_without_a_reference_leaves_none(tmp_path: Path) -> None:
    plain = toy_lm(has_value_head=True)
    plain.configure_training(CONFIG)
    plain.save(tmp_path)
    lm = trained(seed=7)
    contexts = random_contexts([4])
    lm.load(tmp_path)
    with lm.decoder(1) as decoder:
        batch = batch_after(contexts, decoder.generate(contexts, [0], greedy(2)))
    with pytest.raises(RuntimeError, match="freeze_reference"):
        lm.reference_log_probs(batch)
    optimizer, _ = lm._ready()
    assert not optimizer.state  # saved before its first update


def test_saving_changes_nothing_and_over_an_older_state_is_whole(
    tmp_path: Path,
) -> None:
    lm = trained()
    before = state(lm)
    lm.save(tmp_path)
    assert same(state(lm), before)
    later = trained(updates=3)
    later.save(tmp_path)
    lm.load(tmp_path)
    assert same(state(lm), state(later))


def test_a_state_moves_between_engines_and_back(tmp_path: Path) -> None:
    """Local, hybrid, local: moments, reference, step sizes and the next update survive both."""
    if not importlib.util.find_spec("deepspeed"):
        pytest.skip("DeepSpeed is not installed")
    hybrid_lm = importlib.import_module("agents.engine.hybrid").HybridEngineLM
    first, last = trained(updates=2), trained(seed=8)
    first.set_learning_rate(0.004)
    first.save(tmp_path / "a")
    between = trained(seed=7, kind=hybrid_lm)
    between.load(tmp_path / "a")
    assert same(state(between), state(first))
    between.save(tmp_path / "b")
    last.load(tmp_path / "b")
    assert same(state(last), state(first))
    for name in ALL_FILES:
        assert (tmp_path / "a" / name).read_bytes() == (
            tmp_path / "b" / name
        ).read_bytes()
    contexts = random_contexts([5, 3])
    for lm in (first, between, last):
        with lm.decoder(2) as decoder:
            generation = decoder.generate(contexts, [0, 1], greedy(4))
        lm.backward(lm.evaluate(batch_after(contexts, generation)).log_probs.sum())
        lm.step()
    assert same(state(last), state(first))
    gaps = [(state(between)[name] - t).abs().max() for name, t in state(first).items()]
    assert np.max(gaps) <= 1e-6


def test_a_value_head_of_another_width_is_refused_by_file(tmp_path: Path) -> None:
    lm = toy_lm(has_value_head=True)
    path = tmp_path / "value_head.safetensors"
    write_tensors(path, {"weight": torch.zeros(3), "bias": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"value_head.safetensors.*shape \(3,\)"):
        lm.load_value_head(path)
    with pytest.raises(ValueError, match="has no value head"):
        toy_lm().load_value_head(path)
