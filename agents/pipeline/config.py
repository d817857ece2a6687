"""`PipelineConfig`: what a pipeline file says, checked before anything starts."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.dialogue_data import ON_LONG, SourceName
from agents.engine.loading import ENGINES, MODEL_NAMES
from agents.fine_tuning import FineTuneConfig
from agents.hyperparameter import build_config, check_hyperparameters, hyperparameter
from agents.pair_collection import LABELS
from agents.reward_modeling import RewardModelConfig
from agents.tracking import check_run_name
from agents.train_config import TrainConfig
from chat_envs.record_file import ON_BROKEN
from chat_envs.registration import find

__all__ = [
    "ExportStep",
    "FineTuneStep",
    "PPOStep",
    "PairsStep",
    "PipelineConfig",
    "RewardModelStep",
    "STEPS",
]

STEPS = ("pretrain", "sft", "pairs", "reward_model", "ppo", "export")
"""All steps, in the order in which they are taken; a file has those that it names."""

REWARD_MODEL = "reward_model"  # in `ppo.reward`: what the step of that name made
_KINDS = ("lm", "ngram")
# Fields of a run that are the pipeline's, or that no step chooses.
_GIVEN = ("env", "lm", "engine", "seed", "run", "warm_start", "num_threads", "zero")


@dataclass(frozen=True, kw_only=True)
class FineTuneStep:
    """The steps `pretrain` and `sft`; further fields are those of `FineTuneConfig`."""

    data: Sequence[str] = ()
    max_length: int | None = hyperparameter(
        None, "most tokens of a row", low=2, is_optional=True
    )
    on_broken: str = hyperparameter(
        "stop", "what a broken record does", choices=ON_BROKEN
    )
    on_long: str = hyperparameter(
        "skip", "what a dialogue that is too long does", choices=ON_LONG
    )
    is_averaged: bool = hyperparameter(
        False, "hand on the average of the weights (ema_decay)"
    )
    settings: FineTuneConfig = FineTuneConfig()

    def __post_init__(self) -> None:
        check_hyperparameters(self)
        if not self.data or isinstance(self.data, str):
            raise ValueError(
                f"data must be a list of sources, got {self.data!r}; see `chat-envs sft --help`."
            )
        for text in self.data:
            SourceName.parse(text)
        if self.is_averaged and not self.settings.ema_decay:
            raise ValueError("is_averaged needs an ema_decay above 0.")


@dataclass(frozen=True, kw_only=True)
class PairsStep:
    """The step `pairs`: who answers, and how the answers are labelled."""

    num_pairs: int = hyperparameter(1000, "pairs", low=10)
    policies: Sequence[str] = ("sft", "edited")
    temperature: float = hyperparameter(
        1.0, "of the model's replies", low=0, is_low_open=True
    )
    label: str = hyperparameter("return", "gold of what", choices=LABELS)
    flip_rate: float = hyperparameter(
        0.0, "share of labels turned round", low=0, high=1
    )

    def __post_init__(self) -> None:
        check_hyperparameters(self)
        if isinstance(self.policies, str) or len(self.policies) < 2:
            raise ValueError(
                f"policies must be a list of two or more, got {self.policies!r}: 'sft' is the "
                "model, any other a script."
            )


@dataclass(frozen=True, kw_only=True)
class RewardModelStep:
    """The step `reward_model`; further fields, for the kind "lm", are `RewardModelConfig`'s."""

    kind: str = hyperparameter(
        "lm", "a language model with a scalar head, or n-grams in NumPy", choices=_KINDS
    )
    data: str = hyperparameter("", "pairs of one's own; empty: of the step `pairs`")
    config: RewardModelConfig | None = None

    def __post_init__(self) -> None:
        check_hyperparameters(self)


@dataclass(frozen=True, kw_only=True)
class PPOStep:
    """The step `ppo`: a run, of any agent.

    `reward` is the environment's `reward=`, in which `reward_model` means what that step made.
    With `has_critic_start` the critic begins as that model's scalar head.
    """

    agent: str = "ppo"
    reward: Mapping[str, Any] | None = None
    has_critic_start: bool = hyperparameter(
        False, "the critic begins as the reward model's head"
    )
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_hyperparameters(self)
        if self.reward is not None and not isinstance(self.reward, Mapping):
            raise TypeError(f"reward must map rewards to weights, got {self.reward!r}.")

    @property
    def reads_reward_model(self) -> bool:
        """Whether it needs what the step `reward_model` makes."""
        return self.has_critic_start or REWARD_MODEL in (self.reward or {})


@dataclass(frozen=True, kw_only=True)
class ExportStep:
    """The step `export`."""

    is_averaged: bool = hyperparameter(False, "the average of the weights (ema_decay)")

    def __post_init__(self) -> None:
        check_hyperparameters(self)


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """A pipeline: what all steps share, and each step's own settings.

    Raises:
        TypeError: an unknown field (the nearest is named), or a value of the wrong type.
        ValueError: a value out of range, or a step without what it needs.
    """

    name: str = hyperparameter("", "directory below runs/")
    env: str = hyperparameter("chat_envs/CustomerService-easy-v0", "the environment")
    env_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    lm: str = hyperparameter(
        "tiny", f"the base model: {', '.join(MODEL_NAMES)}, or a directory"
    )
    engine: str = hyperparameter("auto", "what runs the model", choices=ENGINES)
    seed: int = hyperparameter(0, "source of all randomness", low=0)
    num_threads: int | None = hyperparameter(
        1, "threads of one torch operation", low=1, is_optional=True
    )
    num_eval_episodes: int = hyperparameter(
        200, "episodes of each evaluation on gold", low=2
    )
    pretrain: Mapping[str, Any] | None = None
    sft: Mapping[str, Any] | None = None
    pairs: Mapping[str, Any] | None = None
    reward_model: Mapping[str, Any] | None = None
    ppo: Mapping[str, Any] | None = None
    export: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_hyperparameters(self)
        check_run_name(self.name)
        object.__setattr__(self, "env", find(self.env).id)
        for step in STEPS:
            value = getattr(self, step)
            if value is not None and not isinstance(value, Mapping):
                raise TypeError(
                    f"{step} must map settings to values, got {value!r}; leave the step out, or "
                    "write {} for its defaults."
                )
        if not self.steps:
            raise ValueError(f"There is no step; there are {', '.join(STEPS)}.")
        for step in self.steps:
            try:
                self.step(step)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{step}: {error}") from error
        self._check_order()

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the steps to be taken, in order."""
        return tuple(step for step in STEPS if getattr(self, step) is not None)

    def step(self, name: str) -> Any:
        """Return the settings of a step, checked."""
        values = dict(getattr(self, name) or {})
        if name in ("pretrain", "sft"):
            own = _taken(values, FineTuneStep)
            settings = build_config(FineTuneConfig, {"seed": self.seed} | values)
            return FineTuneStep(settings=settings, **own)
        if name == "pairs":
            return build_config(PairsStep, values)
        if name == "reward_model":
            own = _taken(values, RewardModelStep)
            if own.get("kind", "lm") == "ngram":
                if values:
                    raise ValueError(
                        f"the kind 'ngram' has no settings, got {sorted(values)}."
                    )
                return RewardModelStep(**own)
            config = build_config(RewardModelConfig, {"seed": self.seed} | values)
            return RewardModelStep(config=config, **own)
        if name == "export":
            return build_config(ExportStep, values)
        own = _taken(values, PPOStep)
        for given in _GIVEN:
            if given in values:
                raise ValueError(
                    f"{given!r} is the pipeline's: leave it out of the step."
                )
        step = PPOStep(settings=values, **own)
        self.train_config(step, self.lm, None, "ppo")  # raises where it is wrong
        return step

    def train_config(
        self, step: PPOStep, lm: str, reward: Mapping[str, Any] | None, run: str
    ) -> TrainConfig:
        """Return the run of the step `ppo`, from the model `lm`, paid `reward`."""
        settings = dict(step.settings)
        hyperparameters = dict(settings.pop("hyperparameters", {}))
        if hyperparameters.get("ptx_coefficient") and self.sft is not None:
            hyperparameters.setdefault("ptx_data", " + ".join(self.step("sft").data))
        kwargs = dict(self.env_kwargs) | ({} if reward is None else {"reward": reward})
        values = {
            "has_start_evaluation": True,
            "num_eval_episodes": self.num_eval_episodes,
            **settings,
            "agent": step.agent,
            "env": self.env,
            "env_kwargs": kwargs,
            "lm": lm,
            "engine": self.engine,
            "seed": self.seed,
            "num_threads": self.num_threads,
            "run": run,
            "warm_start": False,
            "hyperparameters": hyperparameters,
        }
        return build_config(TrainConfig, values)

    def settings(self, name: str) -> dict[str, Any]:
        """Return all that a step is asked for, as plain JSON, defaults written out."""
        own = dataclasses.asdict(self.step(name))
        shared = ("env", "env_kwargs", "engine", "seed", "num_threads")
        record = own | {key: getattr(self, key) for key in shared}
        if name in ("ppo", "export"):
            record["num_eval_episodes"] = self.num_eval_episodes
        plain: dict[str, Any] = json.loads(json.dumps(record))
        return plain

    def as_dict(self) -> dict[str, Any]:
        """Return the config as plain JSON."""
        record = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        if os.path.isdir(self.lm):
            record["lm"] = os.path.abspath(self.lm)
        plain: dict[str, Any] = json.loads(json.dumps(record))
        return plain

    def _check_order(self) -> None:
        """Raise where a step lacks another one that it is made from."""
        if self.reward_model is not None and self.pairs is None:
            if not self.step("reward_model").data:
                raise ValueError(
                    "reward_model needs the step pairs, or `data: FILE` of its own."
                )
        if self.ppo is not None:
            step: PPOStep = self.step("ppo")
            if step.reads_reward_model and self.reward_model is None:
                raise ValueError(
                    "ppo needs what the step reward_model makes, but there is no such step."
                )
            if step.has_critic_start and self.step(REWARD_MODEL).kind != "lm":
                raise ValueError(
                    "has_critic_start needs a reward_model of the kind 'lm'."
                )
        if self.export is not None and self.ppo is None and self.sft is None:
            raise ValueError("export needs the step ppo or sft.")
        if self.export is not None and self.step("export").is_averaged:
            if self.ppo is None or not self._ppo_ema_decay():
                raise ValueError(
                    "export.is_averaged needs ppo.hyperparameters.ema_decay above 0."
                )

    def _ppo_ema_decay(self) -> float:
        run = self.train_config(self.step("ppo"), self.lm, None, "ppo")
        return run.agent_config().ema_decay


def _taken(values: dict[str, Any], step: type) -> dict[str, Any]:
    """Remove from `values` the fields of a step's own class, and return them."""
    own = {f.name for f in dataclasses.fields(step)} - {"settings", "config"}
    return {name: values.pop(name) for name in sorted(own & values.keys())}
