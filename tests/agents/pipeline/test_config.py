"""What a pipeline file may say; everything wrong is named before anything starts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.hyperparameter import build_config
from agents.pipeline.config import PipelineConfig
from tests.agents.pipeline.small_pipeline import small_pipeline

SOURCE = "env:CustomerService-easy-v0?script=careless"


def test_steps_are_taken_in_their_order_whatever_the_files() -> None:
    config = build_config(
        PipelineConfig, {"name": "x", "export": {}, "ppo": {}, "sft": {"data": ["d"]}}
    )
    assert config.steps == ("sft", "ppo", "export")


def test_a_config_is_json_and_the_same_again() -> None:
    config = small_pipeline()
    record = config.as_dict()
    assert PipelineConfig(**json.loads(json.dumps(record))) == PipelineConfig(**record)
    for step in config.steps:
        json.dumps(config.settings(step), allow_nan=False)


def test_the_seed_is_every_steps_unless_it_has_its_own() -> None:
    config = small_pipeline(seed=7)
    assert config.step("sft").settings.seed == 7
    assert config.step("reward_model").config.seed == 7
    other = small_pipeline(seed=7, sft={"data": [SOURCE], "seed": 3})
    assert other.step("sft").settings.seed == 3


def test_the_mixture_of_the_run_is_the_data_of_sft_unless_it_is_given() -> None:
    settings = {"ptx_coefficient": 0.1}
    config = small_pipeline(ppo={"hyperparameters": settings})
    run = config.train_config(config.step("ppo"), "tiny", None, "ppo")
    assert run.as_dict()["hyperparameters"]["ptx_data"] == " + ".join(
        config.step("sft").data
    )
    config = small_pipeline(ppo={"hyperparameters": settings | {"ptx_data": SOURCE}})
    run = config.train_config(config.step("ppo"), "tiny", None, "ppo")
    assert run.as_dict()["hyperparameters"]["ptx_data"] == SOURCE


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"nmae": "x"}, "name"),
        ({"name": "../x"}, "run's name"),
        ({"env": "CustomerServise-v0"}, "CustomerService"),
        ({"sft": ["d"]}, "sft must map"),
        ({"sft": {}}, "sft: data must be a list"),
        ({"sft": {"data": "d.jsonl"}}, "sft: data must be a list"),
        ({"sft": {"data": [SOURCE], "num_step": 1}}, "sft: .*num_steps"),
        ({"sft": {"data": [SOURCE], "is_averaged": True}}, "ema_decay"),
        ({"pairs": {"policies": ["sft"]}}, "pairs: policies"),
        ({"pairs": {"flip_rate": 2}}, "pairs: .*flip_rate"),
        ({"reward_model": {"kind": "lstm"}}, "reward_model: .*kind"),
        ({"reward_model": {"kind": "ngram", "num_epochs": 1}}, "no settings"),
        ({"pairs": None}, "reward_model needs the step pairs"),
        ({"ppo": {"lm": "small"}}, "ppo: 'lm' is the pipeline's"),
        ({"ppo": {"agent": "pbo"}}, "ppo: .*agent"),
        ({"ppo": {"hyperparameters": {"trance": 1}}}, "ppo: .*trace"),
        ({"ppo": {"reward": 3}}, "ppo: reward must map"),
        (
            {"reward_model": None, "ppo": {"reward": {"reward_model": 1.0}}},
            "no such step",
        ),
        (
            {"reward_model": {"kind": "ngram"}, "ppo": {"has_critic_start": True}},
            "kind 'lm'",
        ),
        ({"ppo": {}, "export": {"is_averaged": True}}, "export.is_averaged"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], words: str) -> None:
    values = small_pipeline().as_dict()
    with pytest.raises((TypeError, ValueError), match=words):
        build_config(PipelineConfig, values | fields)


def test_a_pipeline_without_a_step_is_none() -> None:
    with pytest.raises(ValueError, match="no step"):
        PipelineConfig(name="x")
