"""A job: one agent on one task with one seed, as plain data that another process can carry out."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.experience.script import check_script
from agents.hyperparameter import build_config
from agents.train_config import AGENTS, TrainConfig
from benchmarks.contestant import Contestant, Family, check_overrides
from benchmarks.own_agent import find_own_agent
from benchmarks.suite import EvaluationPlan, Suite, Task

__all__ = [
    "Job",
    "check_job",
    "evaluation_kwargs",
    "make_sb3_agent",
    "plan_jobs",
    "train_config",
]

_TRAINED = ("agent", "lm", "engine", "warm_start", "hyperparameters")
# What is paid instead of the task's own reward, and how: no part of what is scored.
_PAID = ("reward", "on_error", "timeout_s")


@dataclass(frozen=True, kw_only=True)
class Job:
    """One cell to be made.

    Attributes:
        agent: name of the contestant.
        base: its name without settings and suffix.
        family: how it is run.
        kind: which of `benchmarks.cell.KINDS` it is.
        settings: hyperparameters.
        env: full id.
        env_kwargs: keywords of the environment.
        seed: of the run.
        budget: reply tokens that it may generate.
        lm: the language model of those who train one.
        warm_start: fields of `SFTConfig`, or False.
        evaluation: how models are scored.
        command: the command line that makes this cell alone.
    """

    agent: str
    base: str
    family: Family
    kind: str
    settings: Mapping[str, Any]
    env: str
    env_kwargs: Mapping[str, Any]
    seed: int
    budget: int
    lm: str
    warm_start: Mapping[str, Any] | bool
    evaluation: EvaluationPlan
    command: str

    @property
    def key(self) -> tuple[str, str, int]:
        """Agent, environment and seed."""
        return self.agent, self.env, self.seed

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Job:
        """Return the job that `as_dict` described."""
        plan = build_config(EvaluationPlan, record["evaluation"])
        return cls(**{**record, "evaluation": plan})

    def config(self) -> dict[str, Any]:
        """Return all that determines the cell: what `Cell.config` holds.

        The defaults of an algorithm are written out, so that the record outlives them.
        """
        record = self.as_dict()
        del record["command"]
        if self.family in ("algorithm", "sft"):
            trained = train_config(self).as_dict()
            record["trained"] = {name: trained[name] for name in _TRAINED}
        return record


def plan_jobs(
    suite: Suite,
    contestants: Sequence[Contestant],
    seeds: Sequence[int],
    *,
    budget: int | None = None,
    envs: Sequence[str] | None = None,
) -> list[Job]:
    """Return all jobs, seed by seed, so that a part of them is whole seeds.

    Of one seed an agent has all its tasks in turn: neighbours need different imitations, and so do
    not wait for each other. A script has one run a task: it draws the same with every seed.

    Args:
        suite: the tasks.
        contestants: the agents.
        seeds: of the runs.
        budget: reply tokens of every run; None takes each task's own.
        envs: these tasks alone; None takes all.

    Raises:
        ValueError: a job cannot be; says why.
    """
    check_overrides(suite)
    tasks = suite.tasks if envs is None else [suite.task(env) for env in envs]
    jobs = [
        _job(suite, one, task, seed, budget)
        for seed in seeds
        for one in contestants
        for task in tasks
        if one.family != "script" or seed == seeds[0]
    ]
    for job in jobs:
        if job.seed == seeds[0]:
            check_job(job)
    return jobs


def _job(
    suite: Suite, one: Contestant, task: Task, seed: int, budget: int | None
) -> Job:
    tokens = task.budget if budget is None else budget
    words = ["--suite", suite.name, "--agents", one.name, "--env", task.env]
    words += ["--seed-list", str(seed), "--budget", str(tokens), "--out", "rerun"]
    return Job(
        agent=one.name,
        base=one.base,
        family=one.family,
        kind=one.kind,
        settings=one.settings_on(suite, task),
        env=task.env,
        env_kwargs=task.env_kwargs,
        seed=seed,
        budget=tokens,
        lm=suite.lm,
        warm_start=task.warm_start,
        evaluation=task.evaluation,
        command=f"chat-envs bench {shlex.join(words)}",
    )


def check_job(job: Job) -> None:
    """Raise what is wrong with a job as far as it can be seen before it is begun.

    Raises:
        ValueError, TypeError: says what, with the agent and the environment.
    """
    try:
        if job.family in ("algorithm", "sft"):
            train_config(job).agent_config()
        elif job.family == "script":
            check_script(job.base, job.env)
        elif job.family == "own":
            signature = inspect.signature(find_own_agent(job.base))
            signature.bind(job.env, job.seed, job.env_kwargs, **job.settings)
        elif job.family == "sb3":
            _check_sb3(job)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{job.agent} on {job.env}: {error}") from error


def make_sb3_agent(job: Job) -> Any:
    """Return the agent of Stable-Baselines3 that a job is about, before it has learned.

    Raises:
        ValueError, TypeError: a setting is wrong, or the package is not installed.
    """
    try:
        sb3 = importlib.import_module("agents.sb3")  # by name: it is optional
    except ImportError as error:
        raise ValueError(f"it needs `pip install chat-envs[sb3]` ({error})") from error
    return sb3.make_agent(job.base, env_kwargs=dict(job.env_kwargs), **job.settings)


def _check_sb3(job: Job) -> None:
    agent = make_sb3_agent(job)
    # What it may write is known of an environment alone.
    make_env = importlib.import_module("agents.sb3").ChatVecEnv
    words = agent.settings["vocabulary"]
    make_env(job.env, 1, vocabulary=words, **job.env_kwargs).close()


def train_config(job: Job) -> TrainConfig:
    """Return the run of a job that trains the language model, or begins as those do."""
    is_trained = job.family == "algorithm"
    return build_config(
        TrainConfig,
        {
            "agent": job.base if is_trained else next(iter(AGENTS)),
            "env": job.env,
            "env_kwargs": job.env_kwargs,
            "lm": job.lm,
            "seed": job.seed,
            "warm_start": job.warm_start,
            "hyperparameters": job.settings if is_trained else {},
            "num_threads": 1,
        },
    )


def evaluation_kwargs(env_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of an environment that pays the task's own reward.

    >>> evaluation_kwargs({"reward": "sentiment", "max_turns": 3})
    {'max_turns': 3}
    """
    return {k: v for k, v in env_kwargs.items() if k not in _PAID}
