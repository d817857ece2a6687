"""What optimising a proxy costs: gold against proxy as the policy leaves its start.

    python -m benchmarks.overoptimization --write             # all, three seeds: an hour of CPU
    python -m benchmarks.overoptimization --cases lexicon --seeds 0
    python -m benchmarks.overoptimization --rows rows --seeds 1   # beside another process, say
    python -m benchmarks.overoptimization --plot docs/overoptimization.svg   # of the newest result

Every case is a proxy for a known gold reward, in dialogues of one turn: a sentiment lexicon;
reward models of 100 to 3,000 pairs, some with flipped labels; gold with a clause removed. `tiny`
imitates a mediocre script and then maximises the proxy without any price of drift. Each update is
a point: the KL of its replies from the start, their proxy and their gold reward. Best-of-n of the
start model is the curve beside it. The remedies are variations of one case.

A row is kept in the directory `--rows` when its run has ended, and is not computed again.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agents.best_of_n import best_of_n, best_of_n_kl
from agents.commands.demo import DEMO, demo_config
from agents.experience.collector import Collector
from agents.tracking import read_lines
from agents.train import train
from agents.train_config import TrainConfig
from agents.warm_start import build_lm, starting_lm
from benchmarks.measurement import newest, write_result
from benchmarks.overoptimization_curve import (
    BEST_OF_N,
    REINFORCEMENT,
    fit_curve,
    over_optimisation_index,
    smooth,
)
from benchmarks.overoptimization_plot import draw_curves
from benchmarks.seed_row import kept_row, seed_interval
from chat_envs.message import user
from chat_envs.preference_pair import PreferencePair
from chat_envs.simulators.preference_gold import draw_pairs
from chat_envs.simulators.preference_model import train_reward

__all__ = ["CASES", "Case", "measure", "summarise"]

CACHE = "CHAT_ENVS_CACHE"
NUM_PROMPTS, NUM_REPLIES = 64, 64
BEST_OF = (1, 2, 4, 8, 16, 32, 64)
KL_BUDGET = 2.0  # nats a reply, where the remedy "early stop" ends
LEAST_RISE = 0.03  # of gold, whose best is about 1 in each case; less is noise
NUM_LAST = 5  # updates that the end of a run is averaged over
_NGRAM = "chat_envs.simulators.preference_model:NGramReward"


@dataclass(frozen=True)
class Case:
    """A proxy, and where it is optimised.

    Attributes:
        env: id without its namespace.
        script: who is imitated first.
        env_kwargs: of the environment.
        gold: the metric that is gold; None for the task's own reward.
        num_pairs: of each reward model's training; 0 where the proxy is no reward model.
        flip_rate: share of its labels that are wrong.
        num_models: reward models, of which the least counts.
        reward: what is paid; "model" in it stands for the reward model.
        kl_coefficient: price of drift.
        total_timesteps: replies to learn from.
    """

    env: str
    script: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    gold: str | None = None
    num_pairs: int = 0
    flip_rate: float = 0.0
    num_models: int = 1
    reward: Any = None
    kl_coefficient: float = 0.0
    total_timesteps: int = 5_000


def _model(num_pairs: int, **changes: Any) -> Case:
    return Case(
        env="Preference-v0",
        script="expert+expert+guess",
        gold="gold",
        num_pairs=num_pairs,
        **changes,
    )


CASES: Mapping[str, Case] = {
    "lexicon": Case(
        env="SocialChat-easy-v0",
        script="expert+generic+question+praise",
        env_kwargs={"max_turns": 1},
        reward="proxy:vader",
    ),
    "clause_kept": Case(
        env="ProxyFlaw-easy-v0",
        script="expert+effusive+blind",
        env_kwargs={"strength": 0.0},
        gold="gold",
    ),
    "clause_removed": Case(
        env="ProxyFlaw-easy-v0",
        script="expert+effusive+blind",
        env_kwargs={"strength": 1.0},
        gold="gold",
    ),
    "model_100": _model(100),
    "model_300": _model(300),
    "model_1000": _model(1000),
    "model_3000": _model(3000),
    "model_1000_noise_30": _model(1000, flip_rate=0.3),
    "remedy_kl": _model(100, kl_coefficient=0.1),
    "remedy_minimum": _model(100, num_models=3),
    "remedy_length": _model(
        100,
        reward={
            "model": 1.0,
            "length_band": {"weight": 2.0, "kwargs": {"low": 3, "high": 10}},
        },
    ),
}
"""What is measured; the last three are `model_100` with a remedy."""


def measure(name: str, seed: int, root: Path) -> dict[str, Any]:
    """Train once on the proxy; return the curve, and best-of-n of the start beside it."""
    case = CASES[name]
    reward = _reward(case, seed, root)
    kwargs = dict(case.env_kwargs) | ({} if reward is None else {"reward": reward})
    config = demo_config(
        env=case.env,
        env_kwargs=kwargs,
        seed=seed,
        run=f"{name}-{seed}",
        total_timesteps=case.total_timesteps,
        num_eval_episodes=0,
        has_start_evaluation=False,
        warm_start={**DEMO["warm_start"], "script": case.script, "num_steps": 300},
        hyperparameters={
            **DEMO["hyperparameters"],
            "num_episodes": 128,
            "group_size": 1,
            "kl_coefficient": case.kl_coefficient,
            "learning_rate_schedule": "constant",
        },
    )
    train(config, root=root)
    lines = read_lines(root / config.run_name / "metrics.jsonl")
    gold = "gold_return" if case.gold is None else f"env/{case.gold}"
    return {
        "case": name,
        "seed": seed,
        "setting": asdict(case),
        "curve": [
            {
                "kl": line["kl_per_reply"],
                "proxy": line["return"],
                "gold": line[gold],
                "reply_length": line["reply_length"],
            }
            for line in lines
        ],
        "best_of_n": _best_of_n(config, case),
    }


def _reward(case: Case, seed: int, root: Path) -> Any:
    """Return what is paid, as JSON; its reward models are trained now."""
    if not case.num_pairs:
        return case.reward
    models = []
    for number in range(case.num_models):
        path = root / f"model_{number}.json"
        pairs = _pairs(case, 100 * seed + number)
        train_reward(pairs, seed=number).save(path)
        models.append({_NGRAM: {"kwargs": {"path": str(path)}}})
    if case.num_models > 1:
        return {"chat_envs.reward.ensemble:Minimum": {"kwargs": {"rewards": models}}}
    if case.reward is None:
        return models[0]
    rest = {k: v for k, v in case.reward.items() if k != "model"}
    entry = models[0][_NGRAM] | {"weight": case.reward["model"]}
    return {_NGRAM: entry, **rest}


def _pairs(case: Case, seed: int) -> list[PreferencePair]:
    """Return pairs of which `flip_rate` are the wrong way round."""
    rng = np.random.default_rng([seed, 1])
    pairs = []
    for pair in draw_pairs(case.num_pairs, 1000 + seed, "train"):
        texts = [pair.chosen, pair.rejected]
        chosen, rejected = texts[:: -1 if rng.random() < case.flip_rate else 1]
        pairs.append(PreferencePair((user(pair.prompt),), chosen, rejected))
    return pairs


def _best_of_n(config: TrainConfig, case: Case) -> list[dict[str, float]]:
    """Return proxy and gold of the best of n replies of the start model, means over prompts."""
    lm = starting_lm(config, build_lm(config))
    collector = Collector(
        lm,
        config.env,
        num_envs=64,
        group_size=NUM_REPLIES,
        seed=config.seed,
        env_kwargs=config.full_env_kwargs(),
    )
    episodes = collector.collect(NUM_PROMPTS * NUM_REPLIES, 0).episodes
    proxy = np.array([e.total_reward for e in episodes]).reshape(-1, NUM_REPLIES)
    golds = [
        e.total_gold if case.gold is None else e.metrics[case.gold] for e in episodes
    ]
    gold = np.array(golds).reshape(-1, NUM_REPLIES)
    points = []
    for n in BEST_OF:
        chosen = {
            "proxy": [best_of_n(p, p, n) for p in proxy],
            "gold": [best_of_n(p, g, n) for p, g in zip(proxy, gold)],
        }
        means = {key: float(np.mean(values)) for key, values in chosen.items()}
        points.append({"n": n, "kl": best_of_n_kl(n), **means})
    return points


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return, by case, what the seeds have in common: ends, indices and fits, with intervals.

    Intervals are percentile bootstraps over the seeds, 10,000 replicates; one seed has none.
    """
    found: dict[str, dict[str, Any]] = {}
    for case in dict.fromkeys(row["case"] for row in rows):
        mine = [row for row in rows if row["case"] == case]
        figures: dict[str, Callable[[Mapping[str, Any]], float]] = {
            "kl": lambda row: _end(row, "kl"),
            "proxy_gain": lambda row: _end(row, "proxy") - _first(row, "proxy"),
            "gold_gain": lambda row: _end(row, "gold") - _first(row, "gold"),
            "gold_start": lambda row: _first(row, "gold"),
            "gold_best": lambda row: float(max(smooth(_column(row, "gold")))),
            "gold_end": lambda row: _end(row, "gold"),
            "index": lambda row: over_optimisation_index(
                [_first(row, "gold"), *smooth(_column(row, "gold"))], LEAST_RISE
            ),
            "gold_early_stop": _gold_at_budget,
        }
        found[case] = {"num_seeds": len(mine)}
        for name, figure in figures.items():
            found[case][name] = _interval([figure(row) for row in mine])
        found[case]["fits"] = {
            REINFORCEMENT: _fit(REINFORCEMENT, mine),
            BEST_OF_N: _fit(BEST_OF_N, mine),
        }
    return found


def _column(row: Mapping[str, Any], key: str) -> list[float]:
    return [point[key] for point in row["curve"]]


def _first(row: Mapping[str, Any], key: str) -> float:
    """Return what the start model has: of many replies, not of one update's."""
    return float(row["best_of_n"][0][key])


def _end(row: Mapping[str, Any], key: str) -> float:
    return float(np.mean(_column(row, key)[-NUM_LAST:]))


def _gold_at_budget(row: Mapping[str, Any]) -> float:
    """Return gold where a run that stops at the KL budget ends."""
    kl, gold = smooth(_column(row, "kl")), smooth(_column(row, "gold"))
    over = np.flatnonzero(kl > KL_BUDGET)
    return float(gold[over[0]] if len(over) else gold[-1])


def _fit(kind: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the fit of all seeds' points together."""
    kls: list[float] = []
    gains: list[float] = []
    for row in rows:
        points = row["curve"] if kind == REINFORCEMENT else row["best_of_n"]
        kls += [max(point["kl"], 0.0) for point in points]
        gains += [point["gold"] - _first(row, "gold") for point in points]
    fit = fit_curve(kind, np.sqrt(kls), gains)
    return asdict(fit) | {"peak": fit.peak() if np.isfinite(fit.peak()) else None}


def _interval(values: Sequence[float]) -> dict[str, Any]:
    """Return the interval over the seeds that have a value."""
    known = [value for value in values if not math.isnan(value)]
    return seed_interval(known) | {"num_seeds": len(known)}


def _words(figure: Mapping[str, float | None]) -> str:
    if figure["mean"] is None:
        return "none"
    ends = (
        "" if figure["low"] is None else f" [{figure['low']:.2f}, {figure['high']:.2f}]"
    )
    return f"{figure['mean']:.2f}{ends}"


def _line(case: str, figures: Mapping[str, Any]) -> str:
    fits = figures["fits"]
    return (
        f"{case:20s} KL {_words(figures['kl'])}; proxy {_words(figures['proxy_gain'])}; gold "
        f"{_words(figures['gold_start'])}, best {_words(figures['gold_best'])}, end "
        f"{_words(figures['gold_end'])}, at {KL_BUDGET:g} nats "
        f"{_words(figures['gold_early_stop'])}; index {_words(figures['index'])}; "
        f"R^2 {fits[REINFORCEMENT]['r_squared']:.2f} (RL), "
        f"{fits[BEST_OF_N]['r_squared']:.2f} (best of n)"
    )


def _row(case: str, seed: int, rows: Path) -> dict[str, Any]:
    """Return a row, from its file if it was computed before."""

    def measured() -> dict[str, Any]:
        # One imitation for all models.
        os.environ.setdefault(CACHE, str(rows / "cache"))
        with tempfile.TemporaryDirectory() as root:
            return measure(case, seed, Path(root))

    return kept_row(rows / f"{case}-{seed}.json", measured)


def main() -> None:
    """Train, print a line a case, and write the dated result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", type=Path, help="where ended runs' rows are kept")
    parser.add_argument(
        "--write", action="store_true", help="leave benchmarks/results/DATE_..."
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE.svg",
        help="draw the newest result, and no more",
    )
    arguments = parser.parse_args()
    if arguments.plot is not None:
        draw_curves(newest("overoptimization"), arguments.plot)
        print(arguments.plot)
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        kept = arguments.rows or Path(scratch)
        for case in arguments.cases:
            mine = [_row(case, seed, kept) for seed in arguments.seeds]
            rows += mine
            for name, figures in summarise(mine).items():
                print(_line(name, figures), flush=True)
    if arguments.write:
        result = {"rows": rows, "summary": summarise(rows)}
        print(write_result("overoptimization", result))


if __name__ == "__main__":
    main()
