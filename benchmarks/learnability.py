"""Does a small model learn in every environment? Imitation, then PPO, on seen and unseen goals.

    python -m benchmarks.learnability --write              # all, three seeds each: hours
    python -m benchmarks.learnability --envs Wordle-easy-v0 --seeds 0
    python -m benchmarks.learnability --rows rows --seeds 1   # beside another process, say

`tiny` imitates a script for a few steps, so that it can hold the conversation and is honestly
mediocre at it; then PPO learns from the environment's own reward, with the same hyperparameters
everywhere (the demo's). Scores are normalised by the anchors, of replies sampled at temperature 1
on the same episodes before and after: on goals of the training split, and on held-out goals, of
which some games have only unseen words and codes. `cpu_seconds` is the processor time of a run:
imitation, learning and the evaluations on held-out goals.

A row is kept in the directory `--rows` when its run has ended, and is not computed again; the
result has the rows of all seeds that are kept there.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.commands.demo import DEMO, demo_config
from agents.engine.causal_lm import CausalLM
from agents.evaluation import evaluate
from agents.train import TrainResult, train
from agents.train_config import TrainConfig
from agents.transcript import describe_episode
from agents.warm_start import build_lm, starting_lm
from benchmarks.measurement import write_result
from benchmarks.seed_row import kept_row, seed_interval
from benchmarks.task_setting import SETTINGS
from chat_envs.registration import find

__all__ = ["gains", "measure"]

CACHE = "CHAT_ENVS_CACHE"
_WHEN = ("before", "after")


def measure(env: str, seed: int, root: Path) -> dict[str, Any]:
    """Train once; return what the model scored before and after, and one of its dialogues."""
    setting = SETTINGS[env]
    config = demo_config(
        env=env,
        seed=seed,
        run=f"{env}-{seed}",
        total_timesteps=setting.total_timesteps,
        num_eval_episodes=setting.num_eval_episodes,
        warm_start={
            **DEMO["warm_start"],
            "script": setting.script,
            "num_steps": setting.num_steps,
        },
    )
    began = time.process_time()
    result = train(config, root=root)
    seconds = time.process_time() - began
    return {
        "env": find(env).id,
        "seed": seed,
        "cpu_seconds": round(seconds, 1),
        "num_timesteps": result.num_timesteps,
        "setting": asdict(setting),
        **_scores(result),
        "training_goals": {
            "before": _on_training_goals(starting_lm(config, build_lm(config)), config),
            "after": _on_training_goals(result.lm, config),
        },
    }


def _on_training_goals(lm: CausalLM, config: TrainConfig) -> dict[str, Any]:
    """Return what a model scores on goals like those that it learned from, of other seeds."""
    scored = evaluate(
        lm,
        config.env,
        num_episodes=config.num_eval_episodes,
        split="train",
        env_kwargs=config.full_env_kwargs(),
    )
    return scored.as_dict()


def _scores(result: TrainResult) -> dict[str, Any]:
    assert result.before is not None and result.after is not None
    return {
        "before": result.before.as_dict(),
        "after": result.after.as_dict(),
        "transcript": describe_episode(result.after.sampled.rollout.episodes[0]),
    }


def gains(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return, by id, the scores before and after and the gain, means over seeds with intervals.

    An interval is a percentile bootstrap over the training seeds, 10,000 replicates; of one seed
    there is none.
    """
    found: dict[str, dict[str, Any]] = {}
    for env in dict.fromkeys(row["env"] for row in rows):
        mine = [row for row in rows if row["env"] == env]
        found[env] = {"num_seeds": len(mine)}
        for goals in ("training", "held_out"):
            pairs = [[_score(row, when, goals) for when in _WHEN] for row in mine]
            found[env][goals] = {
                "before": seed_interval([before for before, _ in pairs]),
                "after": seed_interval([after for _, after in pairs]),
                "gain": seed_interval([after - before for before, after in pairs]),
            }
        found[env]["cpu_seconds"] = max(row["cpu_seconds"] for row in mine)
    return found


def _score(row: Mapping[str, Any], when: str, goals: str) -> float:
    scored = (
        row["training_goals"][when] if goals == "training" else row[when]["sampled"]
    )
    return float(scored["normalised_score"]["mean"])


def _line(env: str, figures: Mapping[str, Any]) -> str:
    cells = []
    for goals in ("training", "held_out"):
        before, after, gain = (
            figures[goals][name] for name in ("before", "after", "gain")
        )
        ends = (
            "" if gain["low"] is None else f" [{gain['low']:+.2f}, {gain['high']:+.2f}]"
        )
        cells.append(
            f"{goals.replace('_', '-')} goals {before['mean']:.2f} to {after['mean']:.2f}, gain "
            f"{gain['mean']:+.2f}{ends}"
        )
    return (
        f"{env.removeprefix('chat_envs/'):25s} {'; '.join(cells)}; {figures['num_seeds']} seeds, "
        f"{figures['cpu_seconds']:.0f} CPU seconds at the most"
    )


def _row(env: str, seed: int, rows: Path) -> dict[str, Any]:
    """Return a row, from its file if it was computed before."""

    def measured() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as root:
            os.environ[CACHE] = str(Path(root) / "cache")  # an imitation of its own
            return measure(env, seed, Path(root))

    return kept_row(rows / f"{env}-{seed}.json", measured)


def _kept(env: str, rows: Path) -> list[dict[str, Any]]:
    """Return the rows of all seeds of an environment that are kept."""
    paths = sorted(
        rows.glob(f"{env}-*.json"), key=lambda p: int(p.stem.rpartition("-")[2])
    )
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def main() -> None:
    """Train, print a line an environment and write the dated result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--envs", nargs="+", choices=list(SETTINGS), default=list(SETTINGS)
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", type=Path, help="where ended runs' rows are kept")
    parser.add_argument(
        "--write", action="store_true", help="leave benchmarks/results/DATE_..."
    )
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        kept = arguments.rows or Path(scratch)
        for env in arguments.envs:
            for seed in arguments.seeds:
                _row(env, seed, kept)
            mine = _kept(env, kept)
            rows += mine
            for name, figures in gains(mine).items():
                print(_line(name, figures), flush=True)
    if arguments.write:
        print(write_result("learnability", {"rows": rows, "gains": gains(rows)}))


if __name__ == "__main__":
    main()
