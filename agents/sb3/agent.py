"""`SB3Agent`: an algorithm of Stable-Baselines3 as an agent of this suite."""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any, Mapping, Sequence

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import save_to_zip_file
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.vec_env import VecMonitor

from agents.checkpoint import DamagedFileError, checksum, read_json, write_json
from agents.engine.causal_lm import CausalLM
from agents.evaluation import EvaluationResult
from agents.experience.seeding import episode_seed
from agents.sb3.evaluation import evaluate_sb3
from agents.sb3.language_model_policy import LMActorCriticPolicy
from agents.sb3.language_model_source import LMSource
from agents.sb3.randomness import lent_randomness
from agents.sb3.setting import ALGORITHMS, check_keywords, plain
from agents.sb3.token_features import TokenFeaturesExtractor
from agents.sb3.vector_environment import ChatVecEnv
from chat_envs.spelling import nearest

__all__ = ["SB3Agent", "make_agent"]

_SETTINGS_FILE, _WEIGHTS_FILE = "agent.json", "weights.zip"


def make_agent(name: str, **settings: Any) -> SB3Agent:
    """Return the agent that benchmarks call `name`: "sb3-ppo", "sb3-recurrent-ppo", and so on.

    Args:
        name: as `SB3Agent.name` says it.
        **settings: further arguments of `SB3Agent`.

    Raises:
        ValueError: if there is none of that name; the nearest is proposed.

    >>> make_agent("sb3-maskable-ppo").name
    'sb3-maskable-ppo'
    """
    classes = {found.label: class_ for class_, found in ALGORITHMS.items()}
    if name not in classes:
        raise ValueError(f"There is no agent {name!r}.{nearest(name, classes)}")
    return SB3Agent(classes[name], **settings)


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
        TypeError: if a keyword is unknown (the nearest is proposed), or no plain JSON.

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
                f"There is no algorithm {algorithm!r}.{nearest(algorithm, ALGORITHMS)}"
            )
        if lm is not None and not ALGORITHMS[algorithm].has_language_model:
            able = [n for n, found in ALGORITHMS.items() if found.has_language_model]
            raise ValueError(f"{algorithm} cannot train a language model, {able} can.")
        if lm is not None and (vocabulary != "all" or features):
            raise ValueError(
                "A language model says every id of its vocabulary and sees the context itself: "
                "leave vocabulary and features as they are."
            )
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}.")
        if not isinstance(vocabulary, str):
            vocabulary = [operator.index(one) for one in vocabulary]
        torch.device(device)  # an unknown one is refused here
        self.source = lm if lm is None or isinstance(lm, LMSource) else LMSource(lm)
        given = {
            "algorithm": algorithm,
            "num_envs": num_envs,
            "vocabulary": vocabulary,
            "env_kwargs": env_kwargs or {},
            "features": features or {},
            "device": device,
            "hyperparameters": hyperparameters,
        }
        self.settings: dict[str, Any] = {n: plain(n, one) for n, one in given.items()}
        check_keywords(
            algorithm,
            self.settings["hyperparameters"],
            self.settings["features"],
            has_language_model=lm is not None,
        )
        self.env_id: str | None = None
        self._seed = 0
        # What each action writes, since it first learnt: "candidates" differ from id to id.
        self._vocabulary: str | list[int] = self.settings["vocabulary"]
        self._model: BaseAlgorithm | None = None

    @property
    def name(self) -> str:
        """What results call it."""
        label = ALGORITHMS[self.settings["algorithm"]].label
        return label + ("-lm" if self.source else "")

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
            total_timesteps: tokens to write, at least; the algorithm ends its last rollout. With 0
                it is built and nothing more.
            seed: of the weights, the episodes and the sampling; the same one goes on with new
                episodes.
            callback: as Stable-Baselines3 takes it.
            progress_bar: show one; needs `tqdm` and `rich`.

        Raises:
            ValueError: if a number is negative, or a later environment has other spaces.
        """
        if total_timesteps < 0:
            raise ValueError(f"total_timesteps must be >= 0, got {total_timesteps}.")
        env = VecMonitor(self._make_env(env_id))
        try:
            with lent_randomness(self._next_seed(seed), self._device(env)):
                if self._model is None:
                    self._model = self._build(env, seed)
                else:
                    env.seed(self._next_seed(seed))
                    self._model.set_env(env)
                self._settle(env_id, seed, env)
                self._model.learn(
                    total_timesteps,
                    callback=callback,
                    reset_num_timesteps=False,
                    progress_bar=progress_bar,
                )
        finally:
            env.close()
        return self

    def _next_seed(self, seed: int) -> int:
        """Return the seed of what is learnt next; never twice the same for a model."""
        num_timesteps = 0 if self._model is None else self._model.num_timesteps
        return episode_seed(seed, num_timesteps, 0) if num_timesteps else seed

    def _settle(self, env_id: str, seed: int, env: VecMonitor) -> None:
        """Note what it learns on, from now on."""
        self.env_id, self._seed = env_id, seed
        if self._vocabulary != "all":
            self._vocabulary = env.get_attr("ids", [0])[0].tolist()

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
        seeds: Sequence[int] | None = None,
        split: str = "test",
        seed: int = 0,
        is_greedy: bool = False,
        num_envs: int = 64,
        env_kwargs: Mapping[str, Any] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> EvaluationResult:
        """Return how it fares on whole dialogues; arguments as for `evaluate_sb3`.

        Without `env_id` and `env_kwargs` it is played where it was trained.
        """
        model = self.model
        assert self.env_id is not None
        return evaluate_sb3(
            model,
            env_id or self.env_id,
            num_episodes=num_episodes,
            seeds=seeds,
            split=split,
            seed=seed,
            vocabulary=self._vocabulary,
            is_greedy=is_greedy,
            num_envs=num_envs,
            env_kwargs=(
                self.settings["env_kwargs"] if env_kwargs is None else env_kwargs
            ),
            name=self.name,
            progress=progress,
        )

    def save(self, directory: str | Path) -> None:
        """Write settings as JSON and tensors as Stable-Baselines3 does; no objects are pickled.

        A kill on the way leaves what was there, or what `load` refuses. Replay buffers are not
        kept.

        Raises:
            RuntimeError: before `learn`.
        """
        model, directory = self.model, Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        aside = directory / f".{_WEIGHTS_FILE}"
        save_to_zip_file(aside, params=model.get_parameters())
        record = {
            "settings": self.settings,
            "vocabulary": self._vocabulary,
            "lm": None if self.source is None else self.source.shape(),
            "env_id": self.env_id,
            "seed": self._seed,
            "num_timesteps": model.num_timesteps,
            "exploration_rate": getattr(model, "exploration_rate", None),
            "sha256": checksum(aside),
        }
        settings_aside = directory / f".{_SETTINGS_FILE}"
        write_json(settings_aside, record)
        aside.replace(directory / _WEIGHTS_FILE)
        settings_aside.replace(directory / _SETTINGS_FILE)

    @classmethod
    def load(cls, directory: str | Path) -> SB3Agent:
        """Return the agent that `save` wrote.

        JSON and tensors alone are read, so nothing in the files can run; rewards that the settings
        name are imported, as they are by `gymnasium.make`.

        Raises:
            DamagedFileError: if a file is missing or broken; it is named.
        """
        path, weights = (
            Path(directory) / _SETTINGS_FILE,
            Path(directory) / _WEIGHTS_FILE,
        )
        record = read_json(path)
        try:
            agent = cls._of_record(record)
        except (
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
            gymnasium.error.Error,
        ) as error:
            raise DamagedFileError(f"{path} is no saved SB3Agent: {error!r}") from error
        if not weights.is_file():
            raise DamagedFileError(f"{weights} is missing.")
        if checksum(weights) != record.get("sha256"):
            raise DamagedFileError(
                f"{weights} is damaged, or was not written with {path}: its SHA-256 is another."
            )
        try:
            agent.model.set_parameters(str(weights), device=agent.model.device)
        except Exception as error:  # whatever a forged file brings torch to raise
            raise DamagedFileError(f"{weights} does not fit {path}: {error}") from error
        return agent

    @classmethod
    def _of_record(cls, record: Mapping[str, Any]) -> SB3Agent:
        """Return an agent with random weights, as a file says."""
        settings = dict(record["settings"])
        hyperparameters = settings.pop("hyperparameters")
        source = None if record["lm"] is None else LMSource.of_shape(record["lm"])
        agent = cls(**settings, lm=source, **hyperparameters)
        agent.env_id, agent._seed = record["env_id"], record["seed"]
        agent._vocabulary = record["vocabulary"]
        env = agent._make_env(record["env_id"])
        try:
            with lent_randomness(agent._seed, agent._device(env)):
                agent._model = agent._build(env, agent._seed)
        finally:
            env.close()
        agent._model.num_timesteps = operator.index(record["num_timesteps"])
        if record["exploration_rate"] is not None:
            vars(agent._model)["exploration_rate"] = float(record["exploration_rate"])
        return agent

    def _make_env(self, env_id: str) -> ChatVecEnv:
        return ChatVecEnv(
            env_id,
            self.settings["num_envs"],
            vocabulary=self._vocabulary,
            **self.settings["env_kwargs"],
        )

    def _device(self, env: VecMonitor | ChatVecEnv) -> torch.device:
        if self.source is None:
            return torch.device(self.settings["device"])
        (tokenizer,) = env.get_attr("tokenizer", [0])
        return self.source.load(len(tokenizer)).device

    def _build(self, env: VecMonitor | ChatVecEnv, seed: int) -> BaseAlgorithm:
        name: str = self.settings["algorithm"]
        found = ALGORITHMS[name]
        keywords = {**found.keywords, **self.settings["hyperparameters"]}
        if isinstance(keywords.get("train_freq"), list):
            keywords["train_freq"] = tuple(keywords["train_freq"])
        policy_kwargs = dict(keywords.pop("policy_kwargs", None) or {})
        policy: str | type[LMActorCriticPolicy] = found.policy
        if self.source is None:
            policy_kwargs["features_extractor_class"] = TokenFeaturesExtractor
            policy_kwargs["features_extractor_kwargs"] = self.settings["features"]
        else:
            policy = LMActorCriticPolicy
            (tokenizer,) = env.get_attr("tokenizer", [0])
            (template,) = env.get_attr("template", [0])
            policy_kwargs["lm"] = self.source
            policy_kwargs["forbidden_ids"] = sorted(
                tokenizer.control_ids - template.stop_ids
            )
        build: Callable[..., BaseAlgorithm] = found.load(name)
        return build(
            policy,
            env,
            seed=seed,
            device=self._device(env),
            policy_kwargs=policy_kwargs,
            **keywords,
        )
