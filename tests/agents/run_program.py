"""What each of several processes runs in `test_ranks`, and how they are started.

The processes are forked from a server that has imported everything once, and find in their
environment what torchrun and the deepspeed launcher put there.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from deepspeed.runtime.hybrid_engine import DeepSpeedHybridEngine

from agents.algorithm import Algorithm
from agents.commands import train as train_command
from agents.engine import process_group
from agents.engine.causal_lm import CausalLM
from agents.engine.hybrid import HybridEngineLM
from agents.engine.loading import load_lm
from agents.experience import collector as collector_module
from agents.experience.collector import Collector
from agents.experience.exchange import from_bytes, gather_episodes, to_bytes
from agents.experience.rollout import Episode, Rollout
from agents.filtered_cloning import FilteredCloning
from agents.grpo import GRPO
from agents.observer import Observer
from agents.ppo import PPO
from agents.reinforce import REINFORCE
from agents.sft import SFT
from agents.train import TrainResult, train
from chat_envs.command_line import main
from tests.agents.small_run import carry_out
from tests.agents.toys import make_parrots

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.agents.small_run", "tests.agents.run_program"])

# What is learnt from the same episodes, by any number of processes; a budget of a few dialogues,
# so that a process has several micro-batches and the last rank fewer than the first.
_COMMON: dict[str, Any] = {"token_budget": 60, "num_episodes": 10, "num_envs": 4}
_PRICED = {"kl_coefficient": 0.2, "entropy_coefficient": 0.01, "learning_rate": 1e-4}
ALGORITHMS: dict[str, tuple[type[Algorithm], dict[str, Any]]] = {
    "reinforce": (
        REINFORCE,
        {"group_size": 2, "kl_placement": "loss", "kl_estimator": "k3", **_PRICED},
    ),
    "remax": (
        REINFORCE,
        {"group_size": 2, "kl_placement": "reward", "baseline": "greedy", **_PRICED},
    ),
    "ppo": (
        PPO,
        {
            "group_size": 2,
            "num_epochs": 2,
            "num_minibatches": 2,
            "kl_placement": "loss",
            "kl_estimator": "k2",
            **_PRICED,
        },
    ),
    "grpo": (
        GRPO,
        {
            "group_size": 2,
            "num_epochs": 2,
            "num_minibatches": 2,
            "ratio_level": "turn",
            "importance_cap": 2.0,
            "has_dynamic_sampling": True,
            "overlong_penalty": 0.1,
            "aggregation": "seq-mean-token-sum-norm",
            "kl_placement": "loss",
            "kl_estimator": "k3",
            **_PRICED,
        },
    ),
    "expert_iteration": (
        FilteredCloning,
        {"group_size": 2, "keep_share": 0.5, "learning_rate": 1e-4},
    ),
    "sft": (SFT, {"num_steps": 10, "num_warmup_steps": 2, "learning_rate": 1e-4}),
}


@dataclass(frozen=True)
class Ranks:
    """Processes that have been started.

    Attributes:
        directory: where each of them stands; it has their output, `stdout0` and so on.
        processes: by rank.
    """

    directory: Path
    processes: Sequence[BaseProcess]

    def finish(self, seconds: float = 1200) -> list[int]:
        """Wait for all, on a busy machine too; return their exit codes, negative for a signal."""
        try:
            for process in self.processes:
                process.join(seconds)
            codes = [process.exitcode for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
        assert None not in codes, f"a process hangs: {codes}\n{self.output()}"
        return [code for code in codes if code is not None]

    def output(self) -> str:
        """Return the end of what they wrote, for whoever looks for the reason of a failure."""
        files = sorted(self.directory.glob("std*"))
        return "\n".join(f"{file.name}: {file.read_text()[-3000:]}" for file in files)


def start_ranks(
    directory: Path,
    target: Callable[..., None],
    *arguments: Any,
    num_ranks: int = 2,
    environment: Mapping[str, str] | None = None,
) -> Ranks:
    """Start `target(*arguments)` in so many processes that stand in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes: list[BaseProcess] = []
    for rank in range(num_ranks):
        variables = {"DS_ACCELERATOR": "cpu", **(environment or {})}
        if num_ranks > 1:
            variables |= {
                "WORLD_SIZE": str(num_ranks),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
        process = _FORKS.Process(
            target=_run, args=(rank, directory, variables, target, arguments)
        )
        process.start()
        processes.append(process)
    return Ranks(directory, processes)


def run_ranks(
    directory: Path, target: Callable[..., None], *arguments: Any, **options: Any
) -> Ranks:
    """Start the processes, wait for them, and make sure that all went well."""
    ranks = start_ranks(directory, target, *arguments, **options)
    codes = ranks.finish()
    assert not any(codes), f"{codes}\n{ranks.output()}"
    return ranks


def _run(
    rank: int,
    directory: Path,
    variables: Mapping[str, str],
    target: Callable[..., None],
    arguments: Sequence[Any],
) -> None:
    os.environ.update(variables)
    os.chdir(directory)
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(f"{name}{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    torch.set_num_threads(1)
    target(*arguments)
    sys.stdout.flush()


def build(engine: str, stage: int = 0) -> CausalLM:
    """Return the random model that all processes begin with, with a critic that has opinions."""
    stages = {"zero_optimization": {"stage": stage}}
    lm = load_lm(
        "tiny",
        tokenizer=make_parrots(1).tokenizer,
        engine=engine,
        device="cpu",
        has_value_head=True,
        deepspeed_config=stages if stage else None,
    )
    assert lm.network.value_head is not None
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in lm.network.value_head.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.1 * noise)
    return lm


def play_some(lm: CausalLM) -> Rollout:
    """Return ten dialogues, of which one was cut off and one has a reward that is unknown."""
    rollout = Collector(lm, make_parrots(4), group_size=2).collect(10, 0)
    episodes = list(rollout.episodes)
    episodes[3] = replace(episodes[3], terminated=False, truncated=True)
    rewards, valid = episodes[6].rewards.copy(), episodes[6].reward_valid.copy()
    rewards[0], valid[0] = float("nan"), False
    episodes[6] = replace(episodes[6], rewards=rewards, reward_valid=valid)
    return Rollout(episodes)


def learn(lm: CausalLM, name: str, rollout: Rollout) -> dict[str, float]:
    """Return what was measured in the second update of one of `ALGORITHMS`.

    In the first one the start model is still the policy, which leaves no drift to pay for.
    """
    kind, hyperparameters = ALGORITHMS[name]
    algorithm = kind(lm, make_parrots(4), **(_COMMON | hyperparameters))
    # Some gradients are 0 but for rounding, which Adam would blow up to whole steps.
    lm.configure_training(replace(algorithm.training_config(), epsilon=1e-6))
    algorithm.update(rollout)
    return algorithm.update(rollout).result()


def learn_from(episodes: Path, stage: int, names: Sequence[str]) -> None:
    """Learn from the same episodes as everyone, by each algorithm from the same start."""
    everything = from_bytes(episodes.read_bytes())
    rollout = Rollout([everything[number] for number in range(len(everything))])
    rank, size = process_group.rank(), process_group.num_processes()
    for name in names:
        lm = build("deepspeed", stage)
        measured = learn(lm, name, rollout)
        lm.save(Path(f"{name}-{size}"))
        Path(f"{name}-{size}-{rank}.json").write_text(json.dumps(measured))


def play_together() -> None:
    """Write down the episodes that all have played, and which of them this process has."""
    lm = build("deepspeed")
    rank = process_group.rank()
    own: list[list[int]] = []

    def observed(episodes: Mapping[int, Episode]) -> dict[int, Episode]:
        own.append(sorted(episodes))
        return gather_episodes(episodes)

    collector_module.gather_episodes = observed  # type: ignore[attr-defined]
    collector = Collector(lm, make_parrots(4), group_size=2)
    plays = {
        "collected": collector.collect(10, 0),
        "one seed": collector.play([7] * 8, [0, 0, 1, 1, 2, 2, 3, 3], 0, _sampling(lm)),
        "too few": collector.play([3, 4], [0, 0], 0, _sampling(lm)),
    }
    for name, rollout in plays.items():
        Path(f"{name}-{rank}").write_bytes(to_bytes(dict(enumerate(rollout))))
    record = dict(zip(plays, own, strict=True))
    Path(f"own-{rank}.json").write_text(json.dumps(record))


def _sampling(lm: CausalLM) -> Any:
    return Collector(lm, make_parrots(1)).sampling


def carry_out_run(
    root: Path, kill_at: str, victim: int, nth: int, options: Mapping[str, Any]
) -> None:
    """Carry out the small run; kill the process `victim` the `nth` time that it is at a point."""
    rank, listener = process_group.rank(), Listener()
    kill_at = kill_at if rank == victim else ""
    carry_out(root, kill_at, nth, observer=listener, **options)
    Path(f"remarks{rank}.json").write_text(json.dumps(listener.remarks))


class Listener(Observer):
    """Remembers the remarks."""

    def __init__(self) -> None:
        self.remarks: list[str] = []

    def remark(self, text: str) -> None:
        self.remarks.append(text)


def command(*arguments: str) -> None:
    """Run `chat-envs`, and report the engine with which `train` has trained."""

    def observed(*args: Any, **options: Any) -> TrainResult:
        result = train(*args, **options)
        lm = result.lm
        assert isinstance(lm, HybridEngineLM), f"trained by a {type(lm).__name__}"
        assert isinstance(lm.engine, DeepSpeedHybridEngine)
        report = {
            "stage": lm.engine.zero_optimization_stage(),
            "processes": torch.distributed.get_world_size(),
            "updates": lm._num_updates,
            "iterations": result.num_iterations,
        }
        Path(f"engine{process_group.rank()}.json").write_text(json.dumps(report))
        return result

    train_command.train = observed  # type: ignore[attr-defined]
    sys.exit(main(arguments))
