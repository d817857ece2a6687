"""`Algorithm`: collect -> update, again and again. The one base class of all algorithms.

It owns what every algorithm shares (the language model, the collector, counters, the start model's
log-probs, bookkeeping); how a rollout becomes a better policy is the subclass's `update`.

Shape legend: N episodes of a rollout, B of a micro-batch, S tokens, K action tokens, T turns.
"""

from __future__ import annotations

import dataclasses
import json
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Callable, ClassVar, Mapping, Self

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from agents.algorithm_config import AlgorithmConfig
from agents.budget import Budget
from agents.checkpoint import DamagedFileError, read_json
from agents.engine import process_group
from agents.engine.language_model import LanguageModel, TrainingConfig
from agents.experience.action import actions_of, contexts_of
from agents.experience.collector import Collector
from agents.experience.micro_batch import micro_batches
from agents.experience.reward_log import RewardLog
from agents.experience.rollout import ActionTokens, Rollout, gather_actions
from agents.experience.seeding import numpy_generator, torch_generator
from agents.experience.summary import describe_rollout
from agents.experience.tally import Tally
from agents.hyperparameter import build_config
from agents.iteration_report import IterationReport
from agents.objective.kl import adapt_coefficient
from chat_envs.reward import StatefulScorer
from chat_envs.vector import ChatVectorEnv

__all__ = ["Algorithm", "IterationReport"]

ALGORITHM_FILE = "algorithm.json"


Callback = Callable[[IterationReport], bool | None]


class Algorithm(ABC):
    """Base class: a language model, an environment, hyperparameters.

    Args:
        lm: the policy; it is changed in place.
        env: the id of a chat environment, or a `ChatVectorEnv` with autoreset disabled.
        config: all hyperparameters; or give them as keywords.
        env_kwargs: keywords of the environment, where `env` is an id.
        **hyperparameters: fields of the algorithm's config.

    Raises:
        TypeError: on an unknown hyperparameter, or both `config` and hyperparameters.
        ValueError: on a hyperparameter out of range.
    """

    config_class: ClassVar[type[AlgorithmConfig]] = AlgorithmConfig
    # Whether the start model is kept, to measure drift; whether `is_finished` comes true by itself.
    has_reference: ClassVar[bool] = True
    has_end: ClassVar[bool] = False

    def __init__(
        self,
        lm: LanguageModel,
        env: str | ChatVectorEnv,
        config: AlgorithmConfig | None = None,
        *,
        env_kwargs: Mapping[str, Any] | None = None,
        **hyperparameters: Any,
    ) -> None:
        if config is not None and hyperparameters:
            raise TypeError(
                f"Give either config or hyperparameters, not both; got {sorted(hyperparameters)} "
                "beside config."
            )
        self.config = config or build_config(self.config_class, hyperparameters)
        if not isinstance(self.config, self.config_class):
            raise TypeError(
                f"{type(self).__name__} takes a {self.config_class.__name__}, got "
                f"{type(self.config).__name__}."
            )
        self.lm = lm
        self.collector = Collector(
            lm,
            env,
            num_envs=min(self.config.num_envs, self.config.num_episodes),
            group_size=self.config.group_size,
            temperature=self.config.temperature,
            max_reply_tokens=self.config.max_reply_tokens,
            seed=self.config.seed,
            env_kwargs=env_kwargs,
        )
        self.env = self.collector.env
        self._reward_log = RewardLog(self.env.scorer)
        self.iteration = 0
        self.num_timesteps = 0
        self.num_tokens = 0
        self.kl_coefficient = self.config.kl_coefficient
        if self.has_reference:
            lm.freeze_reference()
        lm.configure_training(self.training_config())

    def training_config(self) -> TrainingConfig:
        """Return the optimizer's settings."""
        return TrainingConfig(
            learning_rate=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            max_grad_norm=self.config.max_grad_norm,
            ema_decay=self.config.ema_decay,
        )

    @abstractmethod
    def update(self, rollout: Rollout) -> Tally:
        """Improve the policy by one rollout; return what was measured on the way."""

    def collect(self) -> Rollout:
        """Return the episodes of the present iteration."""
        return self.play(self.config.num_episodes)

    def play(
        self, num_episodes: int, *, first_group: int = 0, draw: int = 0
    ) -> Rollout:
        """Return episodes of the present iteration; arguments as for `Collector.collect`."""
        rollout = self.collector.collect(
            num_episodes, self.iteration, first_group=first_group, draw=draw
        )
        if self.config.has_shuffled_rewards:
            counters = (self.iteration, draw) if draw else (self.iteration,)
            rng = numpy_generator(self.config.seed, "shuffle", *counters)
            rollout = rollout.with_shuffled_rewards(rng)
        return rollout

    @property
    def episode_limit(self) -> int:
        """The most tokens that the agent may write in an episode."""
        return self.collector.sampling.max_new_tokens * self.env.envs[0].max_turns

    def iterate(self) -> IterationReport:
        """Collect once, update once, and report."""
        collector = self.collector
        num_turns, num_tokens = collector.num_turns, collector.num_tokens
        generation_seconds = collector.generation_seconds
        began = time.perf_counter()
        rollout = self.collect()
        collected = time.perf_counter()
        failures, reward_seconds = self._reward_log.since_last()
        tally = self.update(rollout)
        updated = time.perf_counter()
        tally.merge(describe_rollout(rollout))
        tally.merge(failures)
        tally.add_ratio("kl_coefficient", self.kl_coefficient, 1)
        metrics = tally.result()
        if self.config.kl_target is not None:
            self.kl_coefficient = adapt_coefficient(
                self.kl_coefficient, metrics["kl"], self.config.kl_target
            )
        num_turns = collector.num_turns - num_turns
        num_tokens = collector.num_tokens - num_tokens
        generation_seconds = collector.generation_seconds - generation_seconds
        timings = {
            "collect_seconds": collected - began,
            "generate_seconds": generation_seconds,
            "update_seconds": updated - collected,
            "generated_tokens_per_second": num_tokens / max(generation_seconds, 1e-9),
            "tokens_per_second": num_tokens / max(updated - began, 1e-9),
        }
        if reward_seconds > 0:  # the environment's own reward is not timed
            timings |= {"reward_seconds": reward_seconds}
        self.num_timesteps += num_turns
        self.num_tokens += num_tokens
        place = (self.iteration, self.num_timesteps, self.num_tokens)
        report = IterationReport(*place, metrics, timings, rollout)
        self.iteration += 1
        return report

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to learn, whatever `learn` is asked for."""
        return False

    def learn(
        self,
        total_timesteps: int | None = None,
        callback: Callback | None = None,
        progress_bar: bool = False,
        *,
        total_iterations: int | None = None,
        total_tokens: int | None = None,
    ) -> Self:
        """Iterate until a total is reached, whichever comes first; return self.

        All totals count from the beginning of the run, so a resumed run goes on to the same end.
        The last iteration is played whole. A linear schedule of the step size falls towards the
        total that is nearest its end.

        Args:
            total_timesteps: turns played. None for no such end.
            callback: called with each report; returning False stops.
            progress_bar: show progress and rate on the terminal.
            total_iterations: iterations. None for no such end.
            total_tokens: reply tokens generated. None for no such end.

        Raises:
            TypeError, ValueError: if a total is no count, or nothing would ever end it.
        """
        budget = Budget(
            timesteps=total_timesteps, iterations=total_iterations, tokens=total_tokens
        )
        if budget.is_endless and not self.has_end:
            raise ValueError(
                "learn() needs an end: total_timesteps or total_iterations or total_tokens."
            )
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        is_hidden = not progress_bar or process_group.rank() > 0
        with Progress(*columns, TimeRemainingColumn(), disable=is_hidden) as progress:
            bar = progress.add_task(type(self).__name__, total=None)
            while not self.is_finished:
                left = budget.share_left(**self._counters())
                if left <= 0:
                    break
                if self.config.learning_rate_schedule == "linear":
                    self.lm.set_learning_rate(self.config.learning_rate * left)
                report = self.iterate()
                words = (
                    f"{type(self).__name__} {report.iteration}: "
                    f"return {report.metrics['return']:.3f}, "
                    f"success {report.metrics['success']:.2f}, "
                    f"{report.timings['tokens_per_second']:.0f} tokens/s"
                )
                done, total = budget.progress(**self._counters())
                progress.update(bar, completed=done, total=total, description=words)
                if callback is not None and callback(report) is False:
                    break
        return self

    def _counters(self) -> dict[str, int]:
        """Return how much was done since the beginning of the run."""
        return {
            "timesteps": self.num_timesteps,
            "iterations": self.iteration,
            "tokens": self.num_tokens,
        }

    def predict(
        self, observation: Mapping[str, npt.NDArray[Any]], deterministic: bool = False
    ) -> tuple[npt.NDArray[np.int64], None]:
        """Return an action for an observation (or one for each of a batch), and None (no state).

        Args:
            observation: `input_ids` and `attention_mask`, each (C,) or (N, C).
            deterministic: take the likeliest tokens instead of sampling.

        Returns:
            (R,) or (N, R) int64 ids, padded as the environment pads. Draws are a function of the
            seed, the iteration and the contexts' lengths: the same call gives the same reply.
        """
        contexts = contexts_of(observation)
        generator = torch_generator(
            self.config.seed,
            "predict",
            self.iteration,
            *map(len, contexts),
            device=self.lm.device,
        )
        sampling = dataclasses.replace(self.collector.sampling, is_greedy=deterministic)
        with self.lm.decoder(len(contexts)) as decoder:
            generation = decoder.generate(
                contexts, range(len(contexts)), sampling, generator
            )
        actions = actions_of(
            generation, self.env.reply_length, self.env.tokenizer.pad_id
        )
        return (actions if observation["input_ids"].ndim == 2 else actions[0]), None

    def reference_log_probs(
        self, rollout: Rollout, actions: ActionTokens
    ) -> torch.Tensor:
        """Return (N, K) log-probs of the agent's tokens under the start model."""
        reference_NK = torch.zeros_like(actions.log_probs)
        everyone = np.arange(len(rollout))
        for micro in micro_batches(
            rollout, actions, everyone, self.config.token_budget
        ):
            log_probs_BS = self.lm.reference_log_probs(
                rollout.token_batch(micro.rows, self.lm.device),
                temperature=self.config.temperature,
            )
            micro.put(reference_NK, gather_actions(log_probs_BS, micro.actions))
        process_group.add_up(reference_NK)
        return reference_NK

    def state_dict(self) -> dict[str, Any]:
        """Return the counters, plain JSON: with the weights they are all of a run's state.

        What the rewards have learned is among them; of several processes the first one's.
        """
        state: dict[str, Any] = {
            "iteration": self.iteration,
            "num_timesteps": self.num_timesteps,
            "num_tokens": self.num_tokens,
            "kl_coefficient": self.kl_coefficient,
        }
        scorer = self.env.scorer
        if isinstance(scorer, StatefulScorer):
            state["reward"] = scorer.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: if an entry is missing, unknown or of another reward.
        """
        if set(state) != set(self.state_dict()):
            raise ValueError(
                f"The state must have exactly {sorted(self.state_dict())}, got {sorted(state)}."
            )
        scorer = self.env.scorer
        if isinstance(scorer, StatefulScorer):
            scorer.load_state_dict(state["reward"])
        self.iteration = int(state["iteration"])
        self.num_timesteps = int(state["num_timesteps"])
        self.num_tokens = int(state["num_tokens"])
        self.kl_coefficient = float(state["kl_coefficient"])

    def save(self, path: str | Path) -> None:
        """Write model, training state, hyperparameters and counters to a directory."""
        directory = Path(path)
        directory.mkdir(parents=True, exist_ok=True)
        self.lm.save_pretrained(directory / "model")
        self.lm.save(directory / "training")
        record = {
            "algorithm": type(self).__name__,
            "config": dataclasses.asdict(self.config),
            "state": self.state_dict(),
        }
        (directory / ALGORITHM_FILE).write_text(
            json.dumps(record, indent=2, sort_keys=True)
        )

    @classmethod
    def load(
        cls,
        path: str | Path,
        lm: LanguageModel,
        env: str | ChatVectorEnv,
        *,
        env_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return the algorithm that `save` wrote, ready to go on learning.

        Args:
            path: the directory.
            lm: a model of the saved one's shape (`load_lm(path / "model", ...)` gives one); its
                weights are replaced.
            env: as for the constructor.
            env_kwargs: as for the constructor.

        Raises:
            FileNotFoundError: if there is no such directory.
            ValueError: if it holds another algorithm, or a damaged file, which is named.
        """
        directory = Path(path)
        if not directory.is_dir():
            raise FileNotFoundError(f"There is no directory {directory} to load from.")
        record = read_json(directory / ALGORITHM_FILE)
        if record.keys() != {"algorithm", "config", "state"}:
            raise DamagedFileError(
                f"{directory / ALGORITHM_FILE} has {sorted(record)}; `save` writes algorithm, "
                "config and state."
            )
        if record["algorithm"] != cls.__name__:
            raise ValueError(
                f"{directory} holds a {record['algorithm']}, not a {cls.__name__}: load it with "
                f"{record['algorithm']}.load."
            )
        config = build_config(cls.config_class, record["config"])
        algorithm = cls(lm, env, config, env_kwargs=env_kwargs)
        lm.load(directory / "training")
        algorithm.load_state_dict(record["state"])
        return algorithm
