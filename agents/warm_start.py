"""The warm start: a small model imitates a script until it can hold the conversation.

Its result is kept in the user's cache under a hash of all that determines it, as a checkpoint of
the same kind as a run's: checksums, no pickle. The model that starts a run is always read back from
there, so a run is the same whether the cache was warm or cold.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from agents.algorithm import IterationReport
from agents.checkpoint import Checkpoint, checksum, newest_checkpoint, save_checkpoint
from agents.engine import process_group
from agents.engine.causal_lm import CausalLM
from agents.engine.language_model import TrainingConfig
from agents.engine.loading import load_lm
from agents.observer import Observer
from agents.reward_model import start_critic
from agents.sft import SFT, SFTConfig
from agents.tracking import RunError, hold_lock, machinery
from agents.train_config import TrainConfig
from chat_envs import anchors
from chat_envs.cache import cache_directory
from chat_envs.tokenizer import load_tokenizer

__all__ = ["build_lm", "starting_lm"]


def build_lm(config: TrainConfig) -> CausalLM:
    """Return the model of a run as it comes: random weights, or those of its directory.

    Every model has a critic, whatever its agent, so that one warm start serves all.
    """
    name = config.full_env_kwargs()["tokenizer"]
    try:
        tokenizer = load_tokenizer(name)
    except ValueError as error:
        if name not in (config.lm, os.path.abspath(config.lm)):
            raise
        raise ValueError(
            f"There is no language model {name!r} here. {error}"
        ) from error
    return load_lm(
        config.lm,
        tokenizer=tokenizer,
        engine=config.engine,
        seed=config.seed,
        has_value_head=True,
        deepspeed_config=(
            {"zero_optimization": {"stage": config.zero}} if config.zero else None
        ),
    )


def starting_lm(
    config: TrainConfig, lm: CausalLM, observer: Observer | None = None
) -> CausalLM:
    """Return the model that a run starts from, after its warm start if it has one.

    A critic that begins as a reward model's head does so last.

    Args:
        config: the run.
        lm: what `build_lm(config)` returned; it may be changed.
        observer: told how it goes.
    """
    sft = config.warm_start_config()
    if sft is not None:
        lm = _warm_started(config, sft, lm, observer or Observer())
    if config.critic:
        start_critic(lm, config.critic)
    return lm


def _warm_started(
    config: TrainConfig, sft: SFTConfig, lm: CausalLM, observer: Observer
) -> CausalLM:
    """Return the model after its warm start, which is read from the cache or put there."""
    root = cache_directory() / "warm_start" / _key(config, sft, lm)
    with ExitStack() as stack:
        if process_group.rank() == 0:
            root.mkdir(parents=True, exist_ok=True)
            # Of two runs that need the same weights one waits for the other.
            stack.enter_context(hold_lock(root / "lock", is_waiting=True))
        process_group.barrier()
        checkpoint, skipped = _newest(root)
        for reason in skipped:
            observer.remark(f"The cached warm start is made again: {reason}")
        if checkpoint is None:
            _imitate(lm, config, sft, observer)
            # The run gets an optimizer of its own: that of the imitation is not kept.
            lm.configure_training(TrainingConfig())
            save_checkpoint(root, sft.num_steps, lm.save, {}, num_kept=1)
            checkpoint, _ = _newest(root)
            assert checkpoint is not None
            lm = build_lm(config)
        lm.configure_training(TrainingConfig())
        lm.load(checkpoint.directory)
    return lm


def _newest(root: Path) -> tuple[Checkpoint | None, tuple[str, ...]]:
    """Return what `newest_checkpoint` does, after making sure that all processes see the same."""
    checkpoint, skipped = newest_checkpoint(root)
    if not process_group.is_same(str(checkpoint is None)):
        raise RunError(
            f"{root} is not the same in all processes: several machines must share the cache (set "
            "CHAT_ENVS_CACHE to a directory that they share)."
        )
    return checkpoint, skipped


def _imitate(
    lm: CausalLM, config: TrainConfig, sft: SFTConfig, observer: Observer
) -> None:
    def callback(report: IterationReport) -> None:
        loss = report.metrics["cross_entropy"]
        speed = report.timings["tokens_per_second"]
        words = f"cross-entropy {loss:.3f}, {speed:.0f} tokens/s"
        observer.advance(report.iteration + 1, words)

    observer.begin("warm start", sft.num_steps, "steps")
    # Nobody is paid for imitating: a reward that fails, or costs money, is not asked.
    SFT(lm, config.env, sft, env_kwargs=_told(config)).learn(callback=callback)
    observer.end()


def _key(config: TrainConfig, sft: SFTConfig, lm: CausalLM) -> str:
    """Return a hash of all that the weights after the warm start depend on."""
    identity: dict[str, Any] = {
        "lm": config.lm,
        "lm_files": _directory_checksums(Path(config.lm)),
        "engine": [type(lm).__name__, config.zero, str(lm.device)],
        "seed": config.seed,
        "env": [config.env, anchors.version(config.env), _told(config)],
        "sft": dataclasses.asdict(sft),
        "machinery": machinery() | {"git_commit": None},
    }
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


def _told(config: TrainConfig) -> dict[str, Any]:
    """Return the keywords that a script's dialogues depend on: what they earn is not among them."""
    return {
        name: value
        for name, value in config.full_env_kwargs().items()
        if name not in ("reward", "on_error", "timeout_s")
    }


def _directory_checksums(directory: Path) -> dict[str, str]:
    """Return the checksum of each of a model's files; empty where `lm` is a name."""
    if not directory.is_dir():
        return {}
    files = sorted([*directory.glob("*.safetensors"), *directory.glob("*.json")])
    return {path.name: checksum(path) for path in files}
