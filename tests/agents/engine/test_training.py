"""Updates, the reference, and continuing from disk as if nothing had happened."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from agents.engine.language_model import Sampling, TrainingConfig
from agents.engine.local import LocalLM
from tests.agents.engine.toy import (
    batch_after,
    noise,
    random_contexts,
    toy_lm,
    toy_model,
)

SAMPLING = Sampling(max_new_tokens=5, stop_ids=frozenset(range(10)))
CONFIG = TrainingConfig(learning_rate=3e-3, weight_decay=0.1, max_grad_norm=0.7)
FILES = ["model", "value_head", "reference", "optimizer"]


def train(lm: LocalLM, updates: int, first: int = 0) -> list[float]:
    """Sample, evaluate, update; everything depends on the weights and the update's number."""
    seen = []
    contexts = random_contexts([4, 6, 3])
    with lm.decoder(3) as decoder:
        for number in range(first, first + updates):
            generation = decoder.generate(contexts, [0, 1, 2], SAMPLING, noise(number))
            batch = batch_after(contexts, generation)
            for _ in range(2):  # two micro-batches of one update
                out = lm.evaluate(batch)
                error = (out.values - 1.0).square().sum()
                lm.backward((out.log_probs.sum() + 0.1 * error) / 20)
            seen += [lm.step(), float(generation.log_probs.sum())]
            if lm._reference is not None:
                seen.append(float(lm.reference_log_probs(batch).sum()))
    return seen


def fresh(seed: int = 0) -> LocalLM:
    lm = toy_lm(seed=seed, has_value_head=True)
    lm.configure_training(CONFIG)
    return lm


def weights(lm: LocalLM) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in lm.network.named_parameters()}


def test_step_is_torchs_adamw_on_clipped_gradients() -> None:
    lm, twin = fresh(), toy_lm(has_value_head=True)
    optimizer = torch.optim.AdamW(
        twin.network.parameters(),
        lr=3e-3,
        betas=(0.9, 0.95),
        eps=1e-8,
        weight_decay=0.1,
    )
    contexts = random_contexts([4, 6])
    with lm.decoder(2) as decoder:
        batch = batch_after(
            contexts, decoder.generate(contexts, [0, 1], SAMPLING, noise())
        )
    for _ in range(3):
        lm.backward(lm.evaluate(batch).log_probs.sum())
        norm = lm.step()
        twin.evaluate(batch).log_probs.sum().backward()
        expected = torch.nn.utils.clip_grad_norm_(twin.network.parameters(), 0.7)
        optimizer.step()
        optimizer.zero_grad()
        assert norm == pytest.approx(float(expected), rel=1e-6) and norm > 0.7
    for name, parameter in twin.network.named_parameters():
        torch.testing.assert_close(weights(lm)[name], parameter.detach())


def test_weights_stay_where_they_are() -> None:
    lm = fresh()
    before = [p.data_ptr() for p in lm.network.parameters()]
    lm.freeze_reference()
    train(lm, 2)
    assert [p.data_ptr() for p in lm.network.parameters()] == before


def test_learning_rate_zero_changes_nothing() -> None:
    lm = toy_lm(has_value_head=True)
    lm.configure_training(TrainingConfig(learning_rate=0.0, weight_decay=0.1))
    before = weights(lm)
    train(lm, 2)
    assert all(torch.equal(before[name], after) for name, after in weights(lm).items())


def test_value_head_has_its_own_learning_rate_when_asked() -> None:
    lm = toy_lm(has_value_head=True)
    lm.configure_training(TrainingConfig(learning_rate=0.0, value_learning_rate=0.1))
    before = weights(lm)
    lm.set_learning_rate(0.0)
    train(lm, 1)
    changed = {
        n for n, after in weights(lm).items() if not torch.equal(before[n], after)
    }
    assert changed == {"value_head.weight", "value_head.bias"}
    follower = fresh()
    follower.set_learning_rate(0.0)
    before = weights(follower)
    train(follower, 1)
    assert torch.equal(
        before["value_head.weight"], weights(follower)["value_head.weight"]
    )


def test_reference_does_not_move_and_shares_nothing() -> None:
    lm = fresh()
    contexts = random_contexts([4, 6])
    with lm.decoder(2) as decoder:
        batch = batch_after(
            contexts, decoder.generate(contexts, [0, 1], SAMPLING, noise())
        )
    with pytest.raises(RuntimeError, match="freeze_reference"):
        lm.reference_log_probs(batch)
    state = torch.get_rng_state()
    lm.freeze_reference()
    assert torch.equal(torch.get_rng_state(), state)
    start = lm.evaluate(batch, temperature=1.5).log_probs.detach()
    train(lm, 2)
    reference = lm.reference_log_probs(batch, temperature=1.5)
    assert torch.equal(reference, start) and not reference.requires_grad
    assert (lm.evaluate(batch, temperature=1.5).log_probs - start).abs().max() > 1e-3
    trained = {p.data_ptr() for p in lm.network.parameters()}
    assert not trained & {p.data_ptr() for p in lm._reference.parameters()}


@pytest.mark.parametrize("has_reference", [True, False])
def test_continuing_from_disk_is_bit_exact(tmp_path: Path, has_reference: bool) -> None:
    lm = fresh()
    if has_reference:
        lm.freeze_reference()
    train(lm, 2)
    lm.set_learning_rate(1.7e-3)
    lm.save(tmp_path)
    expected = train(lm, 3, first=2)
    other = fresh(seed=9)  # other weights, other optimizer state
    train(other, 1)
    other.load(tmp_path)
    assert train(other, 3, first=2) == expected
    for name, tensor in weights(lm).items():
        assert torch.equal(weights(other)[name], tensor)
    for run, directory in ((lm, "through"), (other, "resumed")):
        run.save(tmp_path / directory)
    for path in (tmp_path / "through").iterdir():
        assert path.read_bytes() == (tmp_path / "resumed" / path.name).read_bytes()


def test_load_drops_caches_in_an_open_decoder(tmp_path: Path) -> None:
    lm = fresh()
    lm.save(tmp_path)
    train(lm, 1)
    context = random_contexts([6])
    with lm.decoder(1) as decoder:
        trained = decoder.generate(context, [0], SAMPLING, noise())
        lm.load(tmp_path)
        restored = decoder.generate(context, [0], SAMPLING, noise())
    with fresh().decoder(1) as decoder:
        start = decoder.generate(context, [0], SAMPLING, noise())
    np.testing.assert_array_equal(restored.log_probs, start.log_probs)
    assert restored.log_probs.tolist() != trained.log_probs.tolist()


def test_nothing_but_safetensors_and_json_is_written(tmp_path: Path) -> None:
    lm = fresh()
    lm.freeze_reference()
    train(lm, 1)
    lm.save(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(
        [f"{name}.safetensors" for name in FILES] + ["training.json"]
    )
    json.loads((tmp_path / "training.json").read_text())


class Malicious:
    """A pickle that would leave a trace if anyone read it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize(
    "name", [*(f"{n}.safetensors" for n in FILES), "training.json"]
)
def test_damaged_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    lm = fresh()
    lm.freeze_reference()
    train(lm, 1)
    lm.save(tmp_path)
    path, trace = tmp_path / name, tmp_path / "trace"
    whole = path.read_bytes()
    for content in (pickle.dumps(Malicious(trace)), whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=path.stem):
            fresh().load(tmp_path)
    assert not trace.exists()
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.stem):
        fresh().load(tmp_path)


def test_checkpoints_of_other_models_are_refused(tmp_path: Path) -> None:
    fresh().save(tmp_path)
    narrow = LocalLM(toy_model("llama", hidden_size=16), name="n", has_value_head=True)
    narrow.configure_training(CONFIG)
    with pytest.raises(ValueError, match="model.safetensors belongs to another model"):
        narrow.load(tmp_path)
    other = toy_lm("gpt2", has_value_head=True)
    other.configure_training(CONFIG)
    with pytest.raises(ValueError, match="another model: missing"):
        other.load(tmp_path)
    headless = toy_lm()
    headless.configure_training(CONFIG)
    with pytest.raises(ValueError, match="has_value_head=True"):
        headless.load(tmp_path)


def test_optimizer_state_that_lacks_a_moment_is_refused(tmp_path: Path) -> None:
    lm = fresh()
    train(lm, 1)
    lm.save(tmp_path)
    path = tmp_path / "optimizer.safetensors"
    state = load_file(path)
    name = sorted(state)[0]
    save_file({key: t for key, t in state.items() if key != name}, path)
    with pytest.raises(ValueError, match="not whole"):
        fresh().load(tmp_path)
    save_file({**state, "nobody.exp_avg": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="nobody.exp_avg"):
        fresh().load(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", -1.0),
        ("value_learning_rate", float("inf")),
        ("weight_decay", float("nan")),
        ("betas", (0.9, 1.0)),
        ("betas", (0.9,)),
        ("epsilon", 0.0),
        ("max_grad_norm", 0.0),
    ],
)
def test_settings_out_of_range_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{field} must be"):
        TrainingConfig(**{field: value})


def test_an_infinite_norm_turns_clipping_off() -> None:
    lm = fresh()
    lm.configure_training(TrainingConfig(max_grad_norm=float("inf")))
    lm.backward(100 * lm.network.value_head.bias.sum())
    assert lm.step() == pytest.approx(100)


def test_calls_out_of_order_say_what_comes_first(tmp_path: Path) -> None:
    lm = toy_lm()
    for call in (
        lambda: lm.backward(torch.zeros((), requires_grad=True)),
        lm.step,
        lambda: lm.set_learning_rate(0.1),
        lambda: lm.save(tmp_path),
        lambda: lm.load(tmp_path),
    ):
        with pytest.raises(RuntimeError, match="configure_training"):
            call()
    lm.configure_training(CONFIG)
    with pytest.raises(RuntimeError, match="backward"):
        lm.step()
    with pytest.raises(ValueError, match="engine_options.*zero"):
        lm.configure_training(TrainingConfig(engine_options={"zero": 1}))


def test_a_gradient_that_is_not_finite_leaves_the_weights_alone() -> None:
    lm = fresh()
    before = weights(lm)
    lm.backward(lm.network.value_head.bias.sum() * torch.nan)
    with pytest.raises(FloatingPointError, match="norm is nan"):
        lm.step()
    assert all(torch.equal(before[name], after) for name, after in weights(lm).items())
    assert all(np.isfinite(train(lm, 1)))  # the bad gradient is gone


def test_configuring_again_starts_afresh() -> None:
    once, twice = fresh(), fresh()
    twice.backward(twice.evaluate(_any_batch(twice)).log_probs.sum())
    twice.configure_training(CONFIG)
    assert train(once, 2) == train(twice, 2)


def _any_batch(lm: LocalLM):
    contexts = random_contexts([4])
    with lm.decoder(1) as decoder:
        return batch_after(contexts, decoder.generate(contexts, [0], SAMPLING, noise()))
