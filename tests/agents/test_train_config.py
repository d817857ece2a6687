"""`TrainConfig`: everything wrong with it is said before anything starts."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from agents.hyperparameter import build_config
from agents.ppo import PPOConfig
from agents.reinforce import REINFORCEConfig
from agents.sft import SFTConfig
from agents.train_config import AGENTS, TrainConfig


def test_the_defaults_are_a_run() -> None:
    config = TrainConfig()
    assert config.agent_config() == PPOConfig()
    assert config.run_name == "ppo-CustomerService-easy-v0-0"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"agent": "pp0"}, "Did you mean 'ppo'"),
        ({"agent": "reinforse"}, "Did you mean 'reinforce'"),
        ({"env": "CustomerServise-easy-v0"}, "chat_envs/CustomerService-easy-v0"),
        ({"lm": "tinny"}, "Did you mean 'tiny'"),
        ({"lm": "smollm2"}, "Did you mean 'smollm2-135m'"),
        ({"engine": "deepsped"}, "Did you mean 'deepspeed'"),
        ({"total_timestep": 3}, "Did you mean 'total_timesteps'"),
        ({"hyperparameters": {"learning_rat": 1}}, "Did you mean 'learning_rate'"),
        ({"warm_start": {"num_step": 1}}, "Did you mean 'num_steps'"),
        ({"eval_split": "tset"}, "Did you mean 'test'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(
    fields: dict[str, Any], words: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        build_config(TrainConfig, fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"total_timesteps": 0}, "total_timesteps must lie in"),
        ({"total_timesteps": 1.5}, "total_timesteps must be an integer"),
        ({"seed": -1}, "seed must lie in"),
        ({"seed": True}, "seed must be an integer"),
        ({"env": 3}, "env must be a string"),
        ({"zero": 4}, "zero must lie in"),
        ({"zero": 2}, "needs engine='deepspeed'"),
        ({"num_eval_episodes": 1}, "two episodes"),
        ({"checkpoint_every": 0}, "checkpoint_every must lie in"),
        ({"hyperparameters": {"seed": 3}}, "set 'seed'"),
        ({"hyperparameters": {"learning_rate": -1}}, "learning_rate must lie in"),
        ({"hyperparameters": [1]}, "must map names"),
        ({"hyperparameters": {1: 2}}, "must map names"),
        ({"env_kwargs": {"reward": lambda reply: 0.0}}, "must be JSON"),
        ({"env_kwargs": {"timeout_s": float("inf")}}, "must be JSON"),
        ({"warm_start": 3}, "must map names"),
        ({"has_start_evaluation": 1}, "must be True or False"),
    ],
)
def test_a_bad_value_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        TrainConfig(**fields)


@pytest.mark.parametrize("agent", AGENTS)
def test_as_dict_is_json_and_the_same_run(agent: str) -> None:
    config = TrainConfig(
        agent=agent,
        seed=7,
        env_kwargs={"max_turns": 3},
        hyperparameters={"has_shuffled_rewards": True, "learning_rate": 0},
        warm_start={"script": "careless"},
    )
    record = json.loads(json.dumps(config.as_dict(), allow_nan=False))
    again = build_config(TrainConfig, record)
    assert again.as_dict() == config.as_dict()
    assert again.agent_config() == config.agent_config()
    assert again.warm_start_config() == config.warm_start_config()


def test_as_dict_writes_every_default_out() -> None:
    record = TrainConfig().as_dict()
    names = {field.name for field in dataclasses.fields(PPOConfig)}
    assert set(record["hyperparameters"]) == names - {"seed"}
    assert set(record["warm_start"]) == {f.name for f in dataclasses.fields(SFTConfig)}
    assert record["env_kwargs"] == {"tokenizer": "builtin"}
    assert "run" not in record, "where a run lies says nothing of what it is"


def test_one_seed_rules_all() -> None:
    config = TrainConfig(agent="reinforce", seed=5)
    assert config.agent_config() == REINFORCEConfig(seed=5)
    assert config.warm_start_config() == SFTConfig(seed=5)
    own = TrainConfig(seed=5, warm_start={"seed": 1}).warm_start_config()
    assert own is not None and own.seed == 1


@pytest.mark.parametrize(
    ("lm", "warm_start", "is_on"),
    [
        ("tiny", None, True),
        ("small", None, True),
        ("smollm2-135m", None, False),
        ("tiny", False, False),
        ("smollm2-135m", True, True),
        ("smollm2-135m", {}, True),
    ],
)
def test_random_weights_are_warm_started(lm: str, warm_start: Any, is_on: bool) -> None:
    config = TrainConfig(lm=lm, warm_start=warm_start)
    assert (config.warm_start_config() is not None) is is_on


def test_a_model_brings_its_tokenizer() -> None:
    assert TrainConfig(lm="smollm2-135m").full_env_kwargs() == {
        "tokenizer": "smollm2-135m"
    }
    own = TrainConfig(env_kwargs={"tokenizer": "builtin"}, lm="smollm2-135m")
    assert own.full_env_kwargs() == {"tokenizer": "builtin"}


def test_a_directory_is_remembered_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    record = TrainConfig(lm="model").as_dict()
    assert record["lm"] == str(tmp_path / "model")


def test_short_ids_are_completed() -> None:
    short, whole = TrainConfig(env="Echo-easy-v0"), TrainConfig(
        env="chat_envs/Echo-easy-v0"
    )
    assert short == whole
