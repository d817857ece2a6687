"""The warm start: cached by all that determines it, and the same whether cached or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from agents.engine.causal_lm import CausalLM
from agents.observer import Observer
from agents.train_config import TrainConfig
from agents.warm_start import build_lm, starting_lm
from tests.agents.damage import ACCIDENTS, malicious_pickle
from tests.agents.small_run import small_config

WARM_START = {"num_steps": 2, "num_episodes": 2, "num_envs": 2}


class Watcher(Observer):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.steps: list[int] = []
        self.remarks: list[str] = []

    def begin(self, stage: str, total: int, unit: str) -> None:
        self.stages.append(f"{stage}: {total} {unit}")

    def advance(self, done: int, words: str = "") -> None:
        self.steps.append(done)

    def remark(self, text: str) -> None:
        self.remarks.append(text)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHAT_ENVS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def warm(**fields: Any) -> TrainConfig:
    return small_config(**({"warm_start": WARM_START} | fields))


def start(config: TrainConfig) -> tuple[CausalLM, Watcher]:
    watcher = Watcher()
    return starting_lm(config, build_lm(config), watcher), watcher


def weights(lm: CausalLM) -> dict[str, torch.Tensor]:
    return dict(lm.module.state_dict())


def are_equal(one: CausalLM, other: CausalLM) -> bool:
    first, second = weights(one), weights(other)
    return all(first[name].equal(second[name]) for name in first)


def test_the_second_time_the_cache_gives_the_same_weights() -> None:
    first, watcher = start(warm())
    assert watcher.stages == ["warm start: 2 steps"] and watcher.steps == [1, 2]
    second, watcher = start(warm())
    assert watcher.stages == []
    assert are_equal(first, second)
    assert not are_equal(first, build_lm(warm()))


def test_without_a_warm_start_the_weights_are_those_of_the_model(cache: Path) -> None:
    lm, watcher = start(small_config(warm_start=False))
    assert are_equal(lm, build_lm(small_config()))
    assert watcher.stages == [] and not cache.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 1},
        {"warm_start": WARM_START | {"learning_rate": 1e-3}},
        {"warm_start": WARM_START | {"script": "careless"}},
        {"env_kwargs": {"max_turns": 2, "reply_length": 5}},
    ],
)
def test_what_determines_the_weights_is_in_the_key(
    cache: Path, fields: dict[str, Any]
) -> None:
    start(warm())
    _, watcher = start(warm(**fields))
    assert watcher.stages == ["warm start: 2 steps"]
    assert len(list((cache / "warm_start").iterdir())) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"agent": "reinforce"},
        {"total_timesteps": 99},
        {"run": "other"},
        {"hyperparameters": {"learning_rate": 0.5}},
    ],
)
def test_what_comes_later_is_not_in_the_key(fields: dict[str, Any]) -> None:
    first, _ = start(warm())
    second, watcher = start(warm(**fields))
    assert watcher.stages == [] and are_equal(first, second)


def refuse(reply: str) -> float:
    raise AssertionError(f"asked about {reply!r}")


def test_a_reward_is_not_asked_about_an_imitation() -> None:
    paid = {"reward": "tests.agents.test_warm_start:refuse"}
    assert start(warm(env_kwargs=paid))[1].steps == [1, 2]


@pytest.mark.parametrize("accident", [*ACCIDENTS, "pickle"])
def test_a_damaged_cache_is_made_again_and_that_is_said(
    cache: Path, tmp_path: Path, accident: str
) -> None:
    first, _ = start(warm())
    (path,) = cache.rglob("model.safetensors")
    if accident == "pickle":
        path.write_bytes(malicious_pickle(tmp_path / "proof"))
    else:
        ACCIDENTS[accident](path)
    second, watcher = start(warm())
    assert are_equal(first, second)
    assert watcher.stages and "model.safetensors" in watcher.remarks[0]
    assert not (tmp_path / "proof").exists()


def test_the_imitation_leaves_no_optimizer_behind(cache: Path) -> None:
    start(warm())
    (path,) = cache.rglob("optimizer.safetensors")
    assert path.stat().st_size < 100, "an empty safetensors file"
