"""`chat-envs demo`: a small model learns to serve customers, from nothing, in a few minutes.

It imitates clerks of whom many skip the verification, which makes it honestly mediocre; then PPO
finds out by itself what the customers' shop really wants, and both are compared on held-out goals.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agents.commands.terminal import (
    TerminalObserver,
    bad_input,
    command,
    print_json,
    printable,
)
from agents.evaluation import success_gain
from agents.experience.rollout import Episode
from agents.hyperparameter import build_config
from agents.report import pick_pair, write_report
from agents.tracking import check_run_name, replace_json
from agents.train import RUNS, RunScores, TrainResult, prepare, train
from agents.train_config import TrainConfig
from agents.transcript import describe_episode, turns_of
from chat_envs.commands.argument import CommandParser

__all__ = ["DEMO", "SUMMARY", "demo_config", "run", "summarise"]

SUMMARY = "Train a small model at customer service and report what it learned."
EXAMPLE = "chat-envs demo --seed 1"

DEMO: Mapping[str, Any] = {
    "agent": "ppo",
    "env": "chat_envs/CustomerService-easy-v0",
    "lm": "tiny",
    "total_timesteps": 9_000,
    "warm_start": {
        "script": "careless",
        "num_steps": 200,
        "num_episodes": 32,
        "learning_rate": 3e-3,
    },
    "hyperparameters": {
        "num_episodes": 64,
        "group_size": 8,
        "learning_rate": 3e-4,
        "learning_rate_schedule": "linear",
        "num_epochs": 2,
        "num_minibatches": 2,
        "trace": 1.0,
        # The critic shares the trunk: a strong pull on it would unlearn to copy.
        "value_coefficient": 0.1,
        "value_learning_rate": 3e-3,
        "value_clip": None,
        "kl_coefficient": 0.05,
        "kl_estimator": "k2",
        "kl_placement": "loss",
    },
    "num_eval_episodes": 200,
    "eval_split": "test",
    "has_start_evaluation": True,
    "checkpoint_every": 10,
    # The model is so small that a second thread gains little on an idle machine, and on a busy one
    # the two wait for each other many times longer than they work.
    "num_threads": 1,
}
"""The main job; the one place where its numbers stand."""

SUMMARY_FILE = "summary.json"


@command
def run(argv: Sequence[str]) -> int:
    """Carry out the command; return its exit code.

    A finished demo of the same name is replaced; one that was interrupted goes on if it is of the
    same config, and is refused otherwise, like every run of another config.
    """
    began = time.perf_counter()
    parser = CommandParser("demo", SUMMARY, EXAMPLE)
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--lm", default=DEMO["lm"], help=f"default {DEMO['lm']}")
    parser.add_argument("--total-timesteps", type=int, help="turns of training")
    parser.add_argument("--run", default="demo", help="name below runs/ (default demo)")
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace a run of that name, whatever it is",
    )
    parser.add_argument("--json", action="store_true", help="print summary.json")
    arguments = parser.parse(argv)
    values = {"seed": arguments.seed, "lm": arguments.lm, "run": arguments.run}
    if arguments.total_timesteps is not None:
        values["total_timesteps"] = arguments.total_timesteps
    with bad_input():
        config = demo_config(**values)
        check_run_name(config.run)
        lm = prepare(config)
    directory = RUNS / config.run
    is_replacing = arguments.force or (directory / SUMMARY_FILE).is_file()
    is_there = (directory / "config.json").is_file()
    with TerminalObserver() as observer:
        result = train(
            config,
            lm=lm,
            is_resuming=is_there and not is_replacing,
            is_replacing=is_replacing,
            observer=observer,
        )
    assert result.before is not None and result.after is not None
    summary = summarise(result.before, result.after, time.perf_counter() - began)
    words = "".join(f" --{k.replace('_', '-')} {v}" for k, v in values.items())
    write_report(
        result.directory, result.before, result.after, command=f"chat-envs demo{words}"
    )
    replace_json(result.directory / SUMMARY_FILE, summary)
    if arguments.json:
        print_json(summary)
    else:
        _show(result, result.before, result.after, summary)
    return 0


def demo_config(**values: Any) -> TrainConfig:
    """Return the config of the demo with some of its fields set otherwise."""
    return build_config(TrainConfig, dict(DEMO) | values)


def summarise(before: RunScores, after: RunScores, seconds: float) -> dict[str, Any]:
    """Return what `summary.json` holds.

    Returns:
        `before` and `after`, in the form of `evaluate`, of replies sampled at temperature 1;
        `gain`, the rise in success, paired by goal; `greedy`, the first two once more with the
        likeliest replies; `seconds` that the command took.
    """
    return {
        "before": before.sampled.as_dict(),
        "after": after.sampled.as_dict(),
        "gain": success_gain(before.sampled, after.sampled).as_dict(),
        "greedy": {"before": before.greedy.as_dict(), "after": after.greedy.as_dict()},
        "seconds": round(seconds, 1),
    }


def _show(
    result: TrainResult, before: RunScores, after: RunScores, summary: Mapping[str, Any]
) -> None:
    console = Console(highlight=False)
    sampled = before.sampled
    table = Table(title=f"{sampled.env}, {len(sampled.rollout)} {sampled.split} goals")
    for heading in ("model", "replies", "success", "return", "normalised score"):
        table.add_column(heading)
    for model, scores in (("before", before), ("after", after)):
        for replies, scored in (("sampled", scores.sampled), ("greedy", scores.greedy)):
            record = scored.as_dict()
            figures = (
                _interval(record[name])
                for name in ("success", "return", "normalised_score")
            )
            table.add_row(model, replies, *map(Text, figures))
    console.print(table)
    words = f"gain in success {_interval(summary['gain'])}, in {summary['seconds']:.0f} seconds"
    console.print(Text(words))
    console.print(_side_by_side(*pick_pair(before, after)))
    console.print(f"The report: {result.directory / 'report.html'}", soft_wrap=True)


def _interval(interval: Mapping[str, float] | None) -> str:
    if interval is None:
        return "no anchors"
    return f"{interval['mean']:.2f} [{interval['low']:.2f}, {interval['high']:.2f}]"


def _side_by_side(before: Episode, after: Episode) -> Table:
    """Return one goal's two transcripts, each in a column."""
    grid = Table.grid(expand=True, padding=(0, 1))
    panels = []
    for title, episode in (("before", before), ("after", after)):
        body = Text()
        for turn in turns_of(describe_episode(episode)):
            style = "bold cyan" if turn["role"] == "assistant" else ""
            body.append(f"{turn['role']}: ", style="dim")
            body.append(f"{printable(turn['content'])}\n", style=style)
        outcome = "success" if episode.success else "no success"
        body.append(
            f"{outcome}: {printable(episode.termination_reason)}", style="yellow"
        )
        panels.append(Panel(body, title=f"{title}, goal of seed {episode.seed}"))
        grid.add_column(ratio=1)
    grid.add_row(*panels)
    return grid
