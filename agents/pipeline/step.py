"""How each step is made: one function a step, of the blocks that the single commands use."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.checkpoint import read_json
from agents.dialogue_data import SourceName, load_blend
from agents.evaluation import EvaluationResult, evaluate, gold_gain
from agents.experience.speaker import ModelPolicy
from agents.export import export_model, load_model
from agents.fine_tuning import fine_tune, save_fine_tuned
from agents.observer import Observer
from agents.pair_collection import collect_pairs
from agents.pipeline.artefact import checksums
from agents.pipeline.config import (
    REWARD_MODEL,
    ExportStep,
    FineTuneStep,
    PairsStep,
    PipelineConfig,
    PPOStep,
    RewardModelStep,
)
from agents.reliability import measure_reliability
from agents.report import write_report
from agents.reward_modeling import ngram_margins, train_reward_model
from agents.tracking import read_lines
from agents.train import load_run, prepare, train
from chat_envs import anchors
from chat_envs.preference_pair import read_pairs, write_pairs
from chat_envs.simulators.preference_model import train_reward
from chat_envs.tokenizer import load_tokenizer

__all__ = ["MAKERS", "PAIRS_FILE", "Workshop", "inputs_of", "outside_of"]

PAIRS_FILE = "pairs.jsonl"
NGRAM_FILE = "reward.json"


@dataclass(frozen=True)
class Workshop:
    """Where steps are made.

    Attributes:
        root: absolute directory of the pipeline; the artefact of a step is `root / step`.
        config: the pipeline.
        observer: told how it goes.
        is_resuming: whether what lies in the step's directory is the beginning of the same step.
        at: told of every step of every save of the run (see `save_checkpoint`).
    """

    root: Path
    config: PipelineConfig
    observer: Observer
    is_resuming: bool = False
    at: Callable[[str], None] = lambda point: None

    def lm_before(self, step: str) -> str:
        """Return the model that a step begins with: of the last step before it that made one."""
        makers = [name for name in inputs_of(self.config, step) if name in _TUNED]
        return str(self.root / makers[-1]) if makers else self.config.lm


_TUNED = ("pretrain", "sft")


def inputs_of(config: PipelineConfig, step: str) -> tuple[str, ...]:
    """Return the steps whose artefacts a step reads, in order."""
    tuned = tuple(name for name in _TUNED if name in config.steps)
    if step in _TUNED:
        return tuned[: tuned.index(step)][-1:]
    found = list(tuned[-1:])
    if step == "reward_model" and not config.step(step).data:
        found.append("pairs")
    if step == "ppo" and config.step(step).reads_reward_model:
        found.append(REWARD_MODEL)
    if step == "export" and "ppo" in config.steps:
        found.append("ppo")
    return tuple(found)


def outside_of(config: PipelineConfig, step: str) -> dict[str, Any]:
    """Return what a step reads that no step made: checksums of files, versions of environments."""
    found: dict[str, Any] = {"env": anchors.version(config.env)}
    if not inputs_of(config, step):
        found["lm"] = checksums(Path(config.lm)) or config.lm
    names: list[str] = []
    if step in _TUNED:
        names = list(config.step(step).data)
    if step == "ppo":
        run = config.train_config(config.step(step), config.lm, None, step)
        ptx_data = run.as_dict()["hyperparameters"].get("ptx_data", "")
        names = ptx_data.split(" + ") if ptx_data else []
        found["mixture"] = names
    if step == "reward_model" and config.step(step).data:
        found["pairs"] = checksums(Path(config.step(step).data))
    for text in names:
        source = SourceName.parse(text)
        if source.place.startswith("env:"):
            found[text] = anchors.version(source.place.removeprefix("env:"))
            continue
        for path in (source.place, source.options.get("valid")):
            if path is not None:
                found[str(path)] = checksums(Path(str(path)))
    return found


def _fine_tune(shop: Workshop, step: str) -> dict[str, Any]:
    settings: FineTuneStep = shop.config.step(step)
    lm, tokenizer = load_model(
        shop.lm_before(step),
        engine=shop.config.engine,
        seed=shop.config.seed,
        has_value_head=False,
    )
    blend = load_blend(
        settings.data,
        tokenizer,
        min(settings.max_length or lm.context_length, lm.context_length),
        seed=settings.settings.seed,
        on_broken=settings.on_broken,
        on_long=settings.on_long,
    )
    result = fine_tune(lm, blend, settings.settings, shop.observer, stage=step)
    save_fine_tuned(
        lm, tokenizer, result, shop.root / step, is_averaged=settings.is_averaged
    )
    return result.as_dict()


def _collect_pairs(shop: Workshop, step: str) -> dict[str, Any]:
    config, settings = shop.config, shop.config.step(step)
    assert isinstance(settings, PairsStep)
    name = shop.lm_before(step)
    lm, tokenizer = load_model(name, engine=config.engine, seed=config.seed)
    policies: list[str | ModelPolicy] = [
        ModelPolicy(lm, settings.temperature, policy) if policy == "sft" else policy
        for policy in settings.policies
    ]
    shop.observer.begin(step, settings.num_pairs, "pairs")
    found = collect_pairs(
        config.env,
        policies,
        num_pairs=settings.num_pairs,
        seed=config.seed,
        label=settings.label,
        flip_rate=settings.flip_rate,
        env_kwargs={"tokenizer": tokenizer} | dict(config.env_kwargs),
        progress=shop.observer.advance,
    )
    shop.observer.end()
    write_pairs(
        shop.root / step / PAIRS_FILE,
        [pair.pair for pair in found.pairs],
        [pair.note() for pair in found.pairs],
    )
    return found.as_dict()


def _train(shop: Workshop, step: str) -> dict[str, Any]:
    settings: PPOStep = shop.config.step(step)
    reward = settings.reward
    if reward is not None:
        reward = _with_reward_model(shop, reward)
    config = shop.config.train_config(settings, shop.lm_before(step), reward, step)
    if settings.has_critic_start:
        config = dataclasses.replace(config, critic=str(shop.root / REWARD_MODEL))
    lm = prepare(config)
    is_resuming = shop.is_resuming and (shop.root / step / "config.json").is_file()
    result = train(
        config,
        lm=lm,
        root=shop.root,
        is_resuming=is_resuming,
        is_replacing=not is_resuming,
        observer=shop.observer,
        at=shop.at,
    )
    write_report(result.directory, result.before, result.after)
    scores = read_json(result.directory / "evaluation.json")
    last = list(read_lines(result.directory / "metrics.jsonl"))[-1]
    figures: dict[str, Any] = {
        "updates": result.num_iterations,
        "timesteps": result.num_timesteps,
        "kl": last["kl"],
        "success": {
            when: scores[when]["sampled"]["success"]
            for when in ("before", "after")
            if when in scores
        },
        "return": {
            when: scores[when]["sampled"]["return"]
            for when in ("before", "after")
            if when in scores
        },
    }
    if result.before is not None and result.after is not None:
        figures["gold"] = _gold(result.before.sampled, result.after.sampled)
    return figures


def _export(shop: Workshop, step: str) -> dict[str, Any]:
    config, settings = shop.config, shop.config.step(step)
    assert isinstance(settings, ExportStep)
    start = shop.lm_before(step)
    if "ppo" not in config.steps:
        lm, tokenizer = load_model(start, engine=config.engine)
        export_model(lm, tokenizer, shop.root / step)
        return {"is_averaged": False}
    run, lm, _ = load_run(shop.root / "ppo", engine=config.engine)
    tokenizer = load_tokenizer(run.full_env_kwargs()["tokenizer"])
    export_model(lm, tokenizer, shop.root / step, is_averaged=settings.is_averaged)
    figures: dict[str, Any] = {"is_averaged": settings.is_averaged}
    if settings.is_averaged:  # a model that nobody has measured yet
        before, after = (
            _evaluate(shop, name) for name in (start, str(shop.root / step))
        )
        figures["gold"] = _gold(before, after)
    else:
        load_model(str(shop.root / step), engine=config.engine)  # raises if it is none
    return figures


def _evaluate(shop: Workshop, name: str) -> EvaluationResult:
    """Return how a model fares on the task's own reward, on the seeds of every evaluation."""
    config = shop.config
    lm, tokenizer = load_model(name, engine=config.engine, seed=config.seed)
    return evaluate(
        lm,
        config.env,
        num_episodes=config.num_eval_episodes,
        env_kwargs={"tokenizer": tokenizer} | dict(config.env_kwargs),
    )


def _gold(before: EvaluationResult, after: EvaluationResult) -> dict[str, Any]:
    """Return the gold return before and after, and the gain, paired by seed, with intervals."""
    return {
        "episodes": len(after.rollout),
        "before": before.as_dict()["gold_return"],
        "after": after.as_dict()["gold_return"],
        "gain": gold_gain(before, after).as_dict(),
    }


def _with_reward_model(shop: Workshop, reward: Mapping[str, Any]) -> dict[str, Any]:
    """Return `ppo.reward` with what the step before has made in the place of its name."""
    found = dict(reward)
    if REWARD_MODEL in found:
        value = found.pop(REWARD_MODEL)
        options = dict(value) if isinstance(value, Mapping) else {"weight": value}
        target, kwargs = _reward_of(shop)
        found[target] = {**options, "kwargs": kwargs}
    return found


def _reward_of(shop: Workshop) -> tuple[str, dict[str, Any]]:
    """Return the reward that the step `reward_model` has made, and its arguments."""
    place = shop.root / REWARD_MODEL
    if shop.config.step(REWARD_MODEL).kind == "ngram":
        path = str(place / NGRAM_FILE)
        return "chat_envs.simulators.preference_model:NGramReward", {"path": path}
    return "agents.reward_model:RewardModel", {"directory": str(place)}


def _train_reward_model(shop: Workshop, step: str) -> dict[str, Any]:
    config, settings = shop.config, shop.config.step(step)
    assert isinstance(settings, RewardModelStep)
    path = settings.data or shop.root / "pairs" / PAIRS_FILE
    learnt, valid = (read_pairs(path, split=split) for split in ("train", "test"))
    valid = valid if len(valid) > 1 else ()  # one pair tells nothing
    if settings.kind == "ngram":
        ngram = train_reward(learnt, seed=config.seed)
        held_out = None
        if valid:
            margins = ngram_margins(ngram, valid)
            held_out = measure_reliability(margins, seed=config.seed).as_dict()
        (shop.root / step).mkdir(parents=True, exist_ok=True)
        ngram.save(shop.root / step / NGRAM_FILE, {"held_out": held_out})
        return {"num_train_pairs": len(learnt), "held_out": held_out}
    lm, tokenizer = load_model(
        shop.lm_before(step),
        engine=config.engine,
        seed=config.seed,
        has_value_head=True,
    )
    result = train_reward_model(
        lm, tokenizer, learnt, valid, settings.config, observer=shop.observer
    )
    result.model.save(shop.root / step, result.notes())
    return result.notes()


MAKERS: Mapping[str, Callable[[Workshop, str], dict[str, Any]]] = {
    "pretrain": _fine_tune,
    "sft": _fine_tune,
    "pairs": _collect_pairs,
    "reward_model": _train_reward_model,
    "ppo": _train,
    "export": _export,
}
"""Each makes `root / step` and returns its figures."""
