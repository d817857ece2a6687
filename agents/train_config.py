"""`TrainConfig`: all that determines a run, as plain data, checked before anything starts."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.algorithm_config import AlgorithmConfig
from agents.engine.loading import ENGINES, MODEL_NAMES
from agents.engine.tiny_model import TINY_SHAPES
from agents.export import check_model_name, tokenizer_name
from agents.hyperparameter import build_config, check_hyperparameters, hyperparameter
from agents.recipe import RECIPES, Recipe
from agents.sft import SFTConfig
from chat_envs.registration import find

__all__ = ["AGENTS", "TrainConfig"]

AGENTS: Mapping[str, Recipe] = RECIPES
_NOT_DATA = ("run",)  # where a run lies says nothing of what it is


def _mapping(summary: str) -> Any:
    return dataclasses.field(default_factory=dict, metadata={"summary": summary})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A run, from the random weights to the last evaluation.

    `hyperparameters` are fields of the agent's own config (`PPOConfig`, `GRPOConfig`), laid over
    what its recipe sets (`agents.recipe`);
    `warm_start` are fields of `SFTConfig`, or True for its defaults, False for no warm start, None
    for one where the model has random weights. The negative controls are hyperparameters like any
    other: `has_shuffled_rewards=True` and `learning_rate=0`.

    Raises:
        TypeError: an unknown field (the nearest is named), or a value of the wrong type.
        ValueError: a value out of range, or an unknown agent, environment or model.

    >>> config = TrainConfig(env="Echo-easy-v0", hyperparameters={"num_episodes": 16})
    >>> config.env, config.agent_config().num_episodes
    ('chat_envs/Echo-easy-v0', 16)
    """

    agent: str = hyperparameter("ppo", "who learns", choices=tuple(AGENTS))
    env: str = hyperparameter(
        "chat_envs/CustomerService-easy-v0", "id of the environment"
    )
    env_kwargs: Mapping[str, Any] = _mapping("keywords of the environment")
    lm: str = hyperparameter(
        "tiny", f"{', '.join(MODEL_NAMES)}, a Hugging Face directory or hub id"
    )
    engine: str = hyperparameter("auto", "what runs the model", choices=ENGINES)
    zero: int = hyperparameter(0, "ZeRO stage of the engine 'deepspeed'", low=0, high=3)
    total_timesteps: int = hyperparameter(
        20_000, "turns to learn from", unit="turns", low=1
    )
    seed: int = hyperparameter(0, "source of all randomness", low=0)
    run: str = hyperparameter("", "name below runs/; empty: made of agent, env, seed")
    warm_start: Mapping[str, Any] | bool | None = dataclasses.field(
        default=None, metadata={"summary": "imitation of a script before learning"}
    )
    hyperparameters: Mapping[str, Any] = _mapping("of the agent")
    critic: str = hyperparameter(
        "", "directory of a reward model whose head the critic begins as"
    )
    checkpoint_every: int = hyperparameter(
        10, "updates from one checkpoint to the next", low=1
    )
    num_checkpoints: int = hyperparameter(2, "newest checkpoints that are kept", low=1)
    num_transcripts: int = hyperparameter(
        4, "episodes of each update that are written down", low=0
    )
    num_eval_episodes: int = hyperparameter(
        200, "episodes of an evaluation; 0 for none", low=0
    )
    eval_split: str = hyperparameter(
        "test", "goals of the evaluation", choices=("train", "test")
    )
    has_start_evaluation: bool = hyperparameter(
        False, "evaluate the start model too, before learning"
    )
    num_threads: int | None = hyperparameter(
        None,
        "threads of one torch operation on the CPU; None leaves torch its choice",
        low=1,
        is_optional=True,
    )

    def __post_init__(self) -> None:
        check_hyperparameters(self)
        object.__setattr__(self, "env", find(self.env).id)
        check_model_name(self.lm)
        for name in ("env_kwargs", "hyperparameters"):
            _check_mapping(name, getattr(self, name))
        if self.num_eval_episodes == 1:
            raise ValueError(
                "num_eval_episodes must be 0 or at least 2: an interval needs two episodes."
            )
        if self.zero and self.engine != "deepspeed":
            raise ValueError(
                f"zero={self.zero} is a stage of DeepSpeed's ZeRO; it needs engine='deepspeed', "
                f"got engine={self.engine!r}."
            )
        if "seed" in self.hyperparameters:
            raise ValueError("hyperparameters.seed: a run has one seed; set 'seed'.")
        if self.warm_start is not None and not isinstance(self.warm_start, bool):
            _check_mapping("warm_start", self.warm_start)
        self.warm_start_config()
        agent_config = self.agent_config()
        if self.critic and not hasattr(agent_config, "value_coefficient"):
            raise ValueError(
                f"critic={self.critic!r}: the agent {self.agent!r} has no critic; leave it out, or "
                "take agent='ppo'."
            )

    @property
    def run_name(self) -> str:
        """`run`, or a name made of agent, environment and seed."""
        return self.run or f"{self.agent}-{self.env.rpartition('/')[2]}-{self.seed}"

    @property
    def has_random_weights(self) -> bool:
        """Whether the model knows nothing before it is trained."""
        return self.lm in TINY_SHAPES

    def agent_config(self) -> AlgorithmConfig:
        """Return the agent's hyperparameters, the run's seed among them."""
        values = dict(self.hyperparameters) | {"seed": self.seed}
        return AGENTS[self.agent].config(values)

    def warm_start_config(self) -> SFTConfig | None:
        """Return the hyperparameters of the warm start; None for no warm start.

        Its seed is the run's unless it is given.
        """
        asked = self.warm_start
        if asked is False or (asked is None and not self.has_random_weights):
            return None
        values = dict(asked) if isinstance(asked, Mapping) else {}
        return build_config(SFTConfig, {"seed": self.seed} | values)

    def full_env_kwargs(self) -> dict[str, Any]:
        """Return the environment's keywords, the model's own tokenizer among them."""
        tokenizer = tokenizer_name(self.lm)
        if os.path.isdir(self.lm):  # so that it can be found from elsewhere
            tokenizer = os.path.abspath(self.lm)
        return {"tokenizer": tokenizer} | dict(self.env_kwargs)

    def as_dict(self) -> dict[str, Any]:
        """Return the config as JSON, every default written out, so that it outlives them.

        `TrainConfig(**config.as_dict())` is the same run.
        """
        record = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in _NOT_DATA
        }
        warm_start = self.warm_start_config()
        agent_config = dataclasses.asdict(self.agent_config())
        del agent_config["seed"]
        if os.path.isdir(self.lm):  # so that it can be found from elsewhere
            record["lm"] = os.path.abspath(self.lm)
        if self.critic:
            record["critic"] = os.path.abspath(self.critic)
        return record | {
            "env_kwargs": self.full_env_kwargs(),
            "hyperparameters": agent_config,
            "warm_start": (
                False if warm_start is None else dataclasses.asdict(warm_start)
            ),
        }


def _check_mapping(name: str, value: Any) -> None:
    """Raise unless `value` is a mapping of names to JSON."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name} must map names to values, got {value!r}.")
    try:
        json.dumps(dict(value), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} must be JSON, so that config.json reproduces the run ({error}); give a reward "
            "by its id or as 'package.module:name'."
        ) from error
