"""A critic that begins as a reward model's head: where it starts, and that it starts once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from agents.engine.loading import load_lm
from agents.engine.state_file import read_tensors
from agents.reward_model import VALUE_HEAD_FILE, RewardModel
from agents.tracking import read_lines
from agents.train import prepare, train
from agents.train_config import TrainConfig
from agents.warm_start import build_lm, starting_lm
from chat_envs.tokenizer import load_tokenizer
from tests.agents.small_run import NAME, small_config


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a reward model with a head of its own, mean 3 and std 2."""
    lm = load_lm(
        "tiny",
        vocab_size=len(load_tokenizer()),
        engine="local",
        device="cpu",
        has_value_head=True,
        seed=5,
    )
    assert lm.network.value_head is not None
    with torch.no_grad():  # it is all zeros before it is trained
        lm.network.value_head.weight.copy_(torch.linspace(-1, 1, 128))
    directory = tmp_path_factory.mktemp("critic") / "rm"
    model = RewardModel.of(lm, load_tokenizer())
    model.mean, model.std = 3.0, 2.0
    model.save(directory)
    return directory


def config_with(critic: Path | str, **fields: object) -> TrainConfig:
    return small_config(critic=str(critic), **fields)


def test_a_run_starts_with_the_scaled_head(reward_model: Path) -> None:
    lm = starting_lm(config := config_with(reward_model), build_lm(config))
    head = lm.network.value_head
    assert head is not None
    raw = read_tensors(reward_model / VALUE_HEAD_FILE)
    assert torch.equal(head.weight.detach().flatten(), raw["weight"].flatten() / 2)
    assert head.bias.item() == pytest.approx((raw["bias"].item() - 3) / 2)


def test_the_head_of_a_warm_start_is_replaced_too(
    reward_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_ENVS_CACHE", str(tmp_path))
    imitation = {"num_steps": 1, "script": "expert", "num_episodes": 2}
    heads = []
    for critic in (reward_model, ""):
        config = config_with(critic, warm_start=imitation)
        lm = starting_lm(config, build_lm(config))
        assert lm.network.value_head is not None
        heads.append(lm.network.value_head.weight.detach().flatten())
    raw = read_tensors(reward_model / VALUE_HEAD_FILE)["weight"].flatten()
    assert torch.equal(heads[0], raw / 2)
    assert not torch.equal(heads[1], raw / 2)


def test_the_first_update_values_contexts_by_it(
    reward_model: Path, tmp_path: Path
) -> None:
    means = {}
    for name, critic in (("with", reward_model), ("without", "")):
        train(config_with(critic, total_timesteps=4), root=tmp_path / name)
        means[name] = read_lines(tmp_path / name / NAME / "metrics.jsonl")[0]["value"]
    assert means["with"] < -1.0  # (about 0 - 3) / 2
    assert abs(means["without"]) < 0.5


def test_a_resumed_run_keeps_what_its_critic_has_learned(
    reward_model: Path, tmp_path: Path
) -> None:
    train(config_with(reward_model, total_timesteps=8), root=tmp_path / "cut")
    train(config_with(reward_model), root=tmp_path / "cut", is_resuming=True)
    train(config_with(reward_model), root=tmp_path / "whole")
    logs = [
        (tmp_path / name / NAME / "metrics.jsonl").read_bytes()
        for name in ("cut", "whole")
    ]
    assert logs[0] == logs[1]


def test_the_directory_is_stored_as_an_absolute_path(
    reward_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(reward_model.parent)
    assert config_with("rm").as_dict()["critic"] == str(reward_model)
    assert config_with("").as_dict()["critic"] == ""


def test_what_is_no_reward_model_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    with pytest.raises(FileNotFoundError, match="is missing: a critic starts from"):
        prepare(config_with(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="is missing: a critic starts from"):
        train(config_with(tmp_path / "nowhere"), root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_an_agent_without_a_critic_is_refused(reward_model: Path) -> None:
    with pytest.raises(ValueError, match="'reinforce' has no critic"):
        config_with(reward_model, agent="reinforce")
