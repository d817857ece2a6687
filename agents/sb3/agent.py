"""`SB3Agent`: an algorithm of Stable-Baselines3 as an agent of this suite."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import save_to_zip_file
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecMonitor

from agents.engine.causal_lm import CausalLM
from agents.evaluation import EvaluationResult
from agents.sb3.evaluation import evaluate_sb3
from agents.sb3.language_model_policy import LMActorCriticPolicy
from agents.sb3.language_model_source import LMSource
from agents.sb3.randomness import lent_randomness
from agents.sb3.token_features import TokenFeaturesExtractor
from agents.sb3.vector_environment import ChatVecEnv

__all__ = ["ALGORITHMS", "SB3Agent"]

# name -> where it is, its policy, hyperparameters that differ from its own defaults.
ALGORITHMS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "A2C": ("stable_baselines3", "MultiInputPolicy", {}),
    # Its buffer holds every context twice: a million of them would be gigabytes.
    "DQN": ("stable_baselines3", "MultiInputPolicy", {"buffer_size": 20_000}),
    "MaskablePPO": ("sb3_contrib", "MultiInputPolicy", {}),
    "PPO": ("stable_baselines3", "MultiInputPolicy", {}),
    "RecurrentPPO": ("sb3_contrib", "MultiInputLstmPolicy", {}),
}
_LM_ALGORITHMS = ("A2C", "PPO")
_SETTINGS_FILE, _WEIGHTS_FILE = "agent.json", "weights.zip"


class SB3Agent:
    """An algorithm of Stable-Baselines3 that trains on chat environments by their id.

    It writes token by token on a `ChatVecEnv`, sees contexts by a `TokenFeaturesExtractor`, or is
    a language model (`lm`), and its replies are evaluated as every agent's.

    A timestep is a token, as everywhere in Stable-Baselines3; a timestep of our own agents is a
    turn.

    Args:
        algorithm: a key of `ALGORITHMS`.
        num_envs: environments side by side.
        vocabulary: what may be written; "all" with a language model.
        env_kwargs: keywords of the environment.
        features: keywords of `TokenFeaturesExtractor`.
        lm: a language model to train, or its name or directory, with PPO or A2C; None for a small
            network.
        device: where the network is; a language model's stays where it is.
        **hyperparameters: keywords of the algorithm, and `policy_kwargs`; plain JSON, since they
            are saved as such.

    Raises:
        ValueError: if the algorithm is unknown, or cannot train a language model.
        TypeError: if a setting is not plain JSON.

    >>> agent = SB3Agent("PPO", num_envs=2, vocabulary="candidates", n_steps=16, batch_size=32)
    >>> agent = agent.learn("chat_envs/Echo-easy-v0", total_timesteps=32)
    >>> agent.evaluate(num_episodes=4).successes.shape
    (4,)
    """

    def __init__(
        self,
        algorithm: str = "PPO",
        *,
        num_envs: int = 16,
        vocabulary: str | Sequence[int] = "all",
        env_kwargs: Mapping[str, Any] | None = None,
        features: Mapping[str, Any] | None = None,
        lm: LMSource | CausalLM | str | Path | None = None,
        device: str = "cpu",
        **hyperparameters: Any,
    ) -> None:
        if algorithm not in ALGORITHMS:
            raise ValueError(
                f"algorithm must be one of {sorted(ALGORITHMS)}, got {algorithm!r}."
            )
        if lm is not None and algorithm not in _LM_ALGORITHMS:
            raise ValueError(
                f"{algorithm} cannot train a language model, {_LM_ALGORITHMS} can."
            )
        if lm is not None and (vocabulary != "all" or features):
            raise ValueError(
                "A language model says every id of its vocabulary and sees the context itself: "
                "leave vocabulary and features as they are."
            )
        self.source = lm if lm is None or isinstance(lm, LMSource) else LMSource(lm)
        self.settings: dict[str, Any] = {
            "algorithm": algorithm,
            "num_envs": num_envs,
            "vocabulary": (
                vocabulary if isinstance(vocabulary, str) else list(vocabulary)
            ),
            "env_kwargs": dict(env_kwargs or {}),
            "features": dict(features or {}),
            "device": device,
            "hyperparameters": hyperparameters,
        }
        _require_json(self.settings)
        self.env_id: str | None = None
        self._seed = 0
        self._model: BaseAlgorithm | None = None

    @property
    def name(self) -> str:
        """What results call it."""
        algorithm: str = self.settings["algorithm"]
        return f"sb3-{algorithm.lower()}" + ("-lm" if self.source else "")

    @property
    def model(self) -> BaseAlgorithm:
        """The algorithm of Stable-Baselines3 itself.

        Raises:
            RuntimeError: before `learn`.
        """
        if self._model is None:
            raise RuntimeError(
                "There is no model yet: call learn(env_id, ...) or load()."
            )
        return self._model

    def learn(
        self,
        env_id: str,
        total_timesteps: int,
        *,
        seed: int = 0,
        callback: MaybeCallback = None,
        progress_bar: bool = False,
    ) -> SB3Agent:
        """Train on an environment; called again, go on with the same weights.

        Args:
            env_id: of a chat environment.
            total_timesteps: tokens to write, at least; the algorithm ends its last rollout.
            seed: of the weights, the episodes and the sampling.
            callback: as Stable-Baselines3 takes it.
            progress_bar: show one; needs `tqdm` and `rich`.
        """
        with lent_randomness(seed, torch.device(self.settings["device"])):
            env = VecMonitor(self._make_env(env_id))
            try:
                if self._model is None:
                    self._model = self._build(env, seed)
                else:
                    env.seed(seed)
                    self._model.set_env(env)
                self.env_id, self._seed = env_id, seed
                self._model.learn(
                    total_timesteps,
                    callback=callback,
                    reset_num_timesteps=False,
                    progress_bar=progress_bar,
                )
            finally:
                env.close()
        return self

    def predict(
        self,
        observation: Mapping[str, npt.NDArray[Any]],
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Return the next token as an action, and the next state: as Stable-Baselines3 does it."""
        return self.model.predict(
            dict(observation), state, episode_start, deterministic
        )

    def evaluate(
        self,
        env_id: str | None = None,
        *,
        num_episodes: int = 200,
        split: str = "test",
        seed: int = 0,
        is_greedy: bool = False,
        num_envs: int = 64,
        progress: Callable[[int], None] | None = None,
    ) -> EvaluationResult:
        """Return how it fares on whole dialogues; `env_id` None takes what it was trained on."""
        model = self.model
        assert self.env_id is not None
        return evaluate_sb3(
            model,
            env_id or self.env_id,
            num_episodes=num_episodes,
            split=split,
            seed=seed,
            vocabulary=self.settings["vocabulary"],
            is_greedy=is_greedy,
            num_envs=num_envs,
            env_kwargs=self.settings["env_kwargs"],
            name=self.name,
            progress=progress,
        )

    def save(self, directory: str | Path) -> None:
        """Write settings as JSON and tensors as Stable-Baselines3 does; no objects are pickled.

        Replay buffers are not kept.

        Raises:
            RuntimeError: before `learn`.
        """
        model = self.model
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        record = {
            "settings": self.settings,
            "lm": None if self.source is None else self.source.shape(),
            "env_id": self.env_id,
            "seed": self._seed,
            "num_timesteps": model.num_timesteps,
        }
        save_to_zip_file(directory / _WEIGHTS_FILE, params=model.get_parameters())
        text = json.dumps(record, indent=1, sort_keys=True) + "\n"
        (directory / _SETTINGS_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> SB3Agent:
        """Return the agent that `save` wrote; tensors alone are read, so nothing can run.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if one is broken; it is named.
        """
        path = Path(directory) / _SETTINGS_FILE
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            settings = dict(record["settings"])
            hyperparameters = settings.pop("hyperparameters")
            source = None if record["lm"] is None else LMSource.of_shape(record["lm"])
            agent = cls(**settings, lm=source, **hyperparameters)
            agent.env_id, agent._seed = record["env_id"], record["seed"]
            num_timesteps = record["num_timesteps"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no saved SB3Agent: {error}") from error
        with lent_randomness(agent._seed, torch.device(settings["device"])):
            model = agent._build(agent._make_env(agent.env_id), agent._seed)
        weights = Path(directory) / _WEIGHTS_FILE
        if not weights.is_file():
            raise FileNotFoundError(f"{weights} is missing.")
        try:
            model.set_parameters(str(weights), device=model.device)
        except (KeyError, OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"{weights} does not fit {path}: {error}") from error
        model.num_timesteps = num_timesteps
        agent._model = model
        return agent

    def _make_env(self, env_id: str) -> ChatVecEnv:
        return ChatVecEnv(
            env_id,
            self.settings["num_envs"],
            vocabulary=self.settings["vocabulary"],
            **self.settings["env_kwargs"],
        )

    def _build(self, env: VecMonitor | ChatVecEnv, seed: int) -> BaseAlgorithm:
        package, policy, defaults = ALGORITHMS[self.settings["algorithm"]]
        # By name: what is in sb3-contrib is needed by those alone who ask for it.
        algorithm = getattr(
            importlib.import_module(package), self.settings["algorithm"]
        )
        keywords = {**defaults, **self.settings["hyperparameters"]}
        policy_kwargs = dict(keywords.pop("policy_kwargs", None) or {})
        chosen: str | type[LMActorCriticPolicy] = policy
        device = self.settings["device"]
        if self.source is None:
            policy_kwargs["features_extractor_class"] = TokenFeaturesExtractor
            policy_kwargs["features_extractor_kwargs"] = self.settings["features"]
        else:
            chosen = LMActorCriticPolicy
            (tokenizer,) = env.get_attr("tokenizer", [0])
            (template,) = env.get_attr("template", [0])
            policy_kwargs["lm"] = self.source
            policy_kwargs["forbidden_ids"] = sorted(
                tokenizer.control_ids - template.stop_ids
            )
            device = self.source.load(len(tokenizer)).device
        model: BaseAlgorithm = algorithm(
            chosen,
            env,
            seed=seed,
            device=device,
            policy_kwargs=policy_kwargs,
            **keywords,
        )
        return model


def _require_json(settings: Mapping[str, Any]) -> None:
    """Raise a `TypeError` that names the setting which is not plain JSON."""
    for group, value in settings.items():
        named = value if isinstance(value, dict) else {group: value}
        for name, one in named.items():
            try:
                json.dumps(one)
            except TypeError as error:
                raise TypeError(
                    f"{name}={one!r} is not plain JSON, as the settings of an SB3Agent are so "
                    "that they can be saved; call Stable-Baselines3 itself with it."
                ) from error
