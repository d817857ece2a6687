"""Players: what a job needs of an agent, whoever it is. Here: scripts, and language models.

A player plays whole episodes on given goals, and learns. `benchmarks.outside_player` has those
whose code is not ours.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from agents.engine.causal_lm import CausalLM
from agents.experience.collector import Collector
from agents.experience.dialogue import make_env, play_script, script_of
from agents.experience.micro_batch import micro_batches
from agents.experience.rollout import Rollout, gather_actions
from agents.experience.seeding import numpy_generator
from agents.iteration_report import IterationReport
from agents.observer import Observer
from agents.train import prepare
from agents.train_config import AGENTS, TrainConfig
from agents.warm_start import starting_lm
from benchmarks.cell import Curve, rounded
from benchmarks.job import Job, evaluation_kwargs, train_config

__all__ = [
    "AlgorithmPlayer",
    "CurveLog",
    "Goals",
    "ModelPlayer",
    "NUM_ENVS",
    "Player",
    "ScriptPlayer",
]

NUM_ENVS = 64  # dialogues at a time in an evaluation
_TOKEN_BUDGET = 16_384  # of a micro-batch


@dataclass(frozen=True, kw_only=True)
class Goals:
    """The episodes of an evaluation: seeds from 0 on, which are those of the anchors.

    Attributes:
        split: "train" or "test".
        number: how many seeds.
        repeats: episodes of each, one after the other.
        is_greedy: whether the likeliest replies are taken.
    """

    split: str
    number: int
    repeats: int = 1
    is_greedy: bool = False

    @property
    def seeds(self) -> list[int]:
        """The seed of each episode."""
        return [i // self.repeats for i in range(self.number * self.repeats)]

    def env_kwargs(self, job: Job) -> dict[str, Any]:
        """Return the keywords of the environment that it is played in."""
        return evaluation_kwargs(job.env_kwargs) | {"split": self.split}


class Player(Protocol):
    """What a job needs of an agent."""

    has_start: bool
    """Whether it can be scored before it has learned."""

    def play(self, goals: Goals) -> Rollout | None:
        """Return the episodes; None where it cannot play such ones."""

    def learn(self, total_tokens: int) -> Curve | None:
        """Learn; return how it went on the way, or None if nobody noted."""

    def mean_log_prob(self, rollout: Rollout) -> float | None:
        """Return the mean log-prob of a reply's token under the model before learning, in nats."""


class ScriptPlayer:
    """A script: it learns nothing."""

    has_start = False

    def __init__(self, job: Job) -> None:
        self._job = job

    def play(self, goals: Goals) -> Rollout:
        """Return the episodes."""
        seeds = goals.seeds
        env = make_env(
            self._job.env, min(NUM_ENVS, len(seeds)), **goals.env_kwargs(self._job)
        )
        script = script_of(self._job.base, numpy_generator(0, "script"))
        return play_script(env, seeds, script)

    def learn(self, total_tokens: int) -> None:
        """Do nothing."""

    def mean_log_prob(self, rollout: Rollout) -> None:
        """Return None: there is no model."""


class ModelPlayer:
    """The language model that the runs of a seed start from; it stays as it is."""

    has_start = True

    def __init__(self, job: Job, observer: Observer | None = None) -> None:
        self._job = job
        self._observer = observer or Observer()
        self._config: TrainConfig = train_config(job)
        lm = prepare(self._config)
        self.lm: CausalLM = starting_lm(self._config, lm, self._observer)
        self.lm.freeze_reference()

    def play(self, goals: Goals) -> Rollout:
        """Return the episodes, replies sampled at temperature 1 or greedy."""
        seeds = goals.seeds
        tokenizer = {"tokenizer": self._config.full_env_kwargs()["tokenizer"]}
        collector = Collector(
            self.lm,
            self._job.env,
            num_envs=min(NUM_ENVS, len(seeds)),
            env_kwargs=tokenizer | goals.env_kwargs(self._job),
        )
        sampling = replace(collector.sampling, is_greedy=goals.is_greedy)
        return collector.play(seeds, range(len(seeds)), 0, sampling)

    def learn(self, total_tokens: int) -> Curve | None:
        """Do nothing."""
        return None

    def mean_log_prob(self, rollout: Rollout) -> float:
        """Return the mean log-prob of a reply's token under the model before learning, in nats."""
        actions = rollout.actions(self.lm.device)
        total = 0.0
        everyone = np.arange(len(rollout))
        for micro in micro_batches(rollout, actions, everyone, _TOKEN_BUDGET):
            batch = rollout.token_batch(micro.rows, self.lm.device)
            log_probs_BS = self.lm.reference_log_probs(batch)
            said_BK = gather_actions(log_probs_BS, micro.actions)
            total += float(said_BK[micro.actions.mask].double().sum())
        return total / int(actions.lengths.sum())


class AlgorithmPlayer(ModelPlayer):
    """A language model that one of our algorithms trains."""

    def learn(self, total_tokens: int) -> Curve | None:
        """Train until so many tokens were generated; return a point for each update."""
        algorithm = AGENTS[self._config.agent](
            self.lm,
            self._config.env,
            self._config.agent_config(),
            env_kwargs=self._config.full_env_kwargs(),
        )
        log = CurveLog(is_paid_otherwise="reward" in self._job.env_kwargs)

        def callback(report: IterationReport) -> None:
            log.add(report.num_timesteps, report.num_tokens, report.metrics)
            words = f"return {report.metrics['return']:.2f}"
            self._observer.advance(report.num_tokens, words)

        self._observer.begin(self._job.agent, total_tokens, "tokens")
        algorithm.learn(total_tokens=total_tokens, callback=callback)
        self._observer.end()
        return log.curve()


class CurveLog:
    """Notes points on the way; makes a `Curve` of them.

    Args:
        is_paid_otherwise: whether something else than the task's own reward is paid.
    """

    def __init__(self, is_paid_otherwise: bool = False) -> None:
        self._is_paid_otherwise = is_paid_otherwise
        self._began = time.perf_counter()
        self._rows: list[tuple[float, float, float]] = []
        self._columns: dict[str, list[float | None]] = {
            name: [] for name in ("mean_return", "kl", "gold", "proxy")
        }

    def add(self, turns: float, tokens: float, metrics: Mapping[str, float]) -> None:
        """Note a point.

        Args:
            turns: played so far.
            tokens: generated so far.
            metrics: of the episodes since the last point: `return`, and where they are known
                `gold_return`, `env/gold` and `kl_per_reply`.
        """
        seconds = round(time.perf_counter() - self._began, 3)
        self._rows.append((turns, tokens, seconds))
        paid = metrics.get("return")
        # What the task itself is worth: its own reward, or a measure of it that nobody is paid.
        gold = metrics.get("gold_return") if self._is_paid_otherwise else None
        own = gold if self._is_paid_otherwise else paid
        values = {
            "mean_return": own,
            "kl": metrics.get("kl_per_reply"),
            "gold": metrics.get("env/gold", gold),
            "proxy": paid,
        }
        for name, value in values.items():
            self._columns[name].append(None if value is None else rounded(value))

    def curve(self) -> Curve | None:
        """Return the points; None where there is none."""
        if not self._rows:
            return None
        turns, tokens, seconds = zip(*self._rows, strict=True)
        columns = {
            name: tuple(values) if any(v is not None for v in values) else ()
            for name, values in self._columns.items()
        }
        if not columns["gold"]:
            columns["proxy"] = ()
        columns["mean_return"] = tuple(self._columns["mean_return"])
        return Curve(
            split="train", turns=turns, tokens=tokens, seconds=seconds, **columns
        )
