"""A pipeline of a few seconds, carried out in a process of its own that can be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from agents.observer import Observer
from agents.pipeline import PipelineConfig, run_pipeline

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.agents.pipeline.small_pipeline"])
NAME = "small"
ENV = {"max_turns": 6}


def small_pipeline(**fields: Any) -> PipelineConfig:
    """Return a pipeline of all steps but pretraining, none of which does much."""
    values: dict[str, Any] = {
        "name": NAME,
        "env": "chat_envs/CustomerService-easy-v0",
        "env_kwargs": ENV,
        "engine": "local",
        "num_eval_episodes": 2,
        "sft": {
            "data": ["env:CustomerService-easy-v0?script=careless&episodes=12"],
            "num_steps": 1,
            "num_rows": 4,
        },
        "pairs": {"num_pairs": 12, "policies": ["expert", "edited"]},
        "reward_model": {"num_epochs": 1},
        "ppo": {
            "total_timesteps": 16,
            "checkpoint_every": 1,
            "reward": {"task": 1.0, "reward_model": 0.5},
            "hyperparameters": {"num_episodes": 2, "group_size": 2, "num_envs": 2},
        },
        "export": {},
    }
    return PipelineConfig(**(values | fields))


class Listener(Observer):
    """Remembers stages and remarks."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.remarks: list[str] = []

    def begin(self, stage: str, total: int, unit: str) -> None:
        self.stages.append(stage)

    def remark(self, text: str) -> None:
        self.remarks.append(text)


def carry_out(
    root: Path, kill_at: str = "", fields: Mapping[str, Any] | None = None
) -> None:
    """Carry out the pipeline; kill this process when it comes to `kill_at`."""
    torch.set_num_threads(1)

    def at(point: str) -> None:
        if point == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    run_pipeline(small_pipeline(**(fields or {})), root=root, at=at)


def start(root: Path, kill_at: str = "") -> BaseProcess:
    """Return a process that carries out the pipeline."""
    process = _FORKS.Process(target=carry_out, args=(root, kill_at))
    process.start()
    return process


def finish(process: BaseProcess) -> int:
    """Wait for the process; return its exit code, negative for a signal."""
    process.join(timeout=240)
    assert process.exitcode is not None, "the pipeline hangs"
    return process.exitcode
