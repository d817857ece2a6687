"""A suite that takes a moment, and jobs of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.contestant import read_contestants
from benchmarks.job import Job, plan_jobs
from benchmarks.suite import read_suite

AGENTS = "tests.benchmarks.small_agents"
SMALL = """
tasks:
  - env: Echo-easy-v0
    budget: 200
    warm_start: {script: expert+blind, num_steps: 2, num_episodes: 4}
    env_kwargs: {reply_length: 6}
  - env: KeywordBandit-v0
    budget: 100
    warm_start: false
hyperparameters: {num_episodes: 8, group_size: 4, learning_rate: 1e-3}
evaluation: {num_episodes: 6, num_side_episodes: 4, num_trial_goals: 2, num_trials: 2}
"""


def write_suite(directory: Path, text: str = SMALL) -> str:
    """Return the path of a suite's file."""
    path = directory / "small.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def jobs_of(directory: Path, *agents: str, seeds: int = 1, **options: Any) -> list[Job]:
    """Return the jobs of some agents; those of `small_agents` by their class's name."""
    names = [f"{AGENTS}:{name}" if name[0].isupper() else name for name in agents]
    suite = read_suite(write_suite(directory))
    return plan_jobs(suite, read_contestants(names), range(seeds), **options)


def job_of(directory: Path, agent: str, env: str = "KeywordBandit-v0") -> Job:
    """Return one job, of seed 0."""
    (job,) = jobs_of(directory, agent, envs=[env])
    return job
