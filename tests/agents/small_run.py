"""A run of a second, carried out in a process of its own that can be killed.

The processes are forked from a server that has imported everything once, so a kill costs a second
and not the seven that torch and transformers take to be imported.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from agents.train import train
from agents.train_config import TrainConfig

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.agents.small_run"])
NAME = "small"


def small_config(**fields: Any) -> TrainConfig:
    """Return a run of four updates with a checkpoint after each."""
    values: dict[str, Any] = {
        "agent": "ppo",
        "env": "chat_envs/CustomerService-easy-v0",
        "env_kwargs": {"max_turns": 2, "reply_length": 4},
        "run": NAME,
        "total_timesteps": 16,
        "warm_start": False,
        "hyperparameters": {"num_episodes": 2, "group_size": 2, "num_envs": 2},
        "checkpoint_every": 1,
        "num_eval_episodes": 0,
        "num_transcripts": 1,
    }
    return TrainConfig(**(values | fields))


def carry_out(
    root: Path,
    kill_at: str = "",
    nth: int = 1,
    fields: Mapping[str, Any] | None = None,
    **options: Any,
) -> None:
    """Carry out the run; kill this process the `nth` time that a save reaches `kill_at`."""
    torch.set_num_threads(1)
    seen = 0

    def at(point: str) -> None:
        nonlocal seen
        with (root / "points").open("a") as file:
            file.write(point + "\n")
        seen += point == kill_at
        if seen == nth and point == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    root.mkdir(parents=True, exist_ok=True)
    train(small_config(**(fields or {})), root=root, at=at, **options)


def start(root: Path, **options: Any) -> BaseProcess:
    """Return a process that carries out the run."""
    process = _FORKS.Process(target=carry_out, args=(root,), kwargs=options)
    process.start()
    return process


def finish(process: BaseProcess) -> int:
    """Wait for the process; return its exit code, negative for a signal."""
    process.join(timeout=120)
    assert process.exitcode is not None, "the run hangs"
    return process.exitcode


def kill_after(process: BaseProcess, seconds: float) -> None:
    """Kill the process from outside after a while, wherever it is."""
    time.sleep(seconds)
    process.kill()
    process.join()
