"""Settings that are wrong are refused with the value, the range and the nearest name."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from agents.algorithm_config import AlgorithmConfig
from agents.filtered_cloning import FilteredCloningConfig
from agents.grpo import GRPOConfig
from agents.hyperparameter import build_config
from agents.ppo import PPOConfig
from agents.reinforce import REINFORCEConfig
from agents.sft import SFTConfig

CONFIGS = [
    AlgorithmConfig,
    REINFORCEConfig,
    PPOConfig,
    GRPOConfig,
    FilteredCloningConfig,
    SFTConfig,
]


@pytest.mark.parametrize("config_class", CONFIGS)
def test_every_field_says_what_it_is(config_class: type[Any]) -> None:
    config = config_class()
    for field in dataclasses.fields(config_class):
        assert field.metadata["help"], field.name
        assert field.kw_only
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 3


@pytest.mark.parametrize("config_class", CONFIGS)
def test_every_bounded_field_refuses_what_lies_outside(config_class: type[Any]) -> None:
    num_refused = 0
    for field in dataclasses.fields(config_class):
        low, high = field.metadata["low"], field.metadata["high"]
        is_integer = str(field.type).startswith("int")
        for bound, beyond in ((low, -1), (high, 1)):
            if bound is None:
                continue
            value = int(bound) + beyond if is_integer else bound + 0.5 * beyond
            with pytest.raises(
                ValueError, match=rf"{field.name} must lie in .*got {value}"
            ):
                build_config(config_class, {field.name: value})
            num_refused += 1
        if field.metadata["is_low_open"]:
            with pytest.raises(ValueError, match=rf"{field.name} must lie in \("):
                build_config(config_class, {field.name: low})
        if field.metadata["choices"]:
            with pytest.raises(ValueError, match=f"{field.name} must be one of"):
                build_config(config_class, {field.name: "nothing of the kind"})
    assert num_refused > 8


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"learning_rate": math.nan}, ValueError, "learning_rate must lie in"),
        ({"learning_rate": "fast"}, TypeError, "must be a number, got 'fast'"),
        ({"num_epochs": 1.5}, TypeError, "must be an integer, got 1.5"),
        ({"num_epochs": True}, TypeError, "must be an integer, got True"),
        ({"is_whitened": 1}, TypeError, "must be True or False, got 1"),
        ({"kl_estimator": "K3"}, ValueError, "one of k1, k2, k3; got 'K3'"),
        ({"leraning_rate": 1.0}, TypeError, "Did you mean 'learning_rate'"),
        ({"num_episodes": 10, "group_size": 4}, ValueError, "multiple of group_size=4"),
        (
            {"kl_placement": "loss", "kl_coefficient": 0.1},
            ValueError,
            "'k1' in the loss has a gradient of mean 0",
        ),
        ({"kl_target": 0.1}, ValueError, "needs a start above 0"),
        ({"num_minibatches": 65}, ValueError, "num_minibatches=65"),
        ({"temperature": 0.0}, ValueError, r"\(0, inf\)"),
    ],
)
def test_errors_teach(
    values: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build_config(PPOConfig, values)


def test_leave_one_out_needs_company() -> None:
    with pytest.raises(ValueError, match="at least 2, got 1"):
        REINFORCEConfig(group_size=1)
    assert REINFORCEConfig(group_size=1, baseline="batch_mean").group_size == 1


def test_none_turns_an_optional_field_off_and_no_other() -> None:
    assert PPOConfig(value_clip=None, target_kl=None).value_clip is None
    with pytest.raises(TypeError, match="num_epochs must be an integer, got None"):
        PPOConfig(num_epochs=None)  # type: ignore[arg-type]


def test_configs_survive_json_like_dictionaries() -> None:
    config = PPOConfig(kl_coefficient=0.1, kl_target=0.02, num_epochs=3)
    assert build_config(PPOConfig, dataclasses.asdict(config)) == config
