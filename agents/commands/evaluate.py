"""`chat-envs evaluate`: how good is a run, a model or a script?"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from agents.commands.terminal import (
    BadInput,
    TerminalObserver,
    bad_input,
    command,
    print_json,
)
from agents.engine.causal_lm import CausalLM
from agents.engine.loading import ENGINES, MODEL_NAMES
from agents.evaluation import EvaluationResult, evaluate, evaluate_script
from agents.experience.script import check_script
from agents.tracking import find_run
from agents.train import RUNS, load_run
from agents.train_config import TrainConfig
from agents.warm_start import build_lm
from chat_envs.commands.argument import CommandParser
from chat_envs.registration import find

__all__ = ["SUMMARY", "run"]

SUMMARY = "Measure a run, a model or a script on fixed goals, with 95% intervals."
EXAMPLE = "chat-envs evaluate first --episodes 200 --split test --json"


@command
def run(argv: Sequence[str]) -> int:
    """Carry out the command; return its exit code."""
    arguments = _parse(argv)
    options: dict[str, Any] = {
        "num_episodes": arguments.episodes,
        "split": arguments.split,
        "seed": arguments.seed,
    }
    with TerminalObserver() as observer:
        with bad_input():
            lm, env, options["env_kwargs"] = _resolve(arguments, observer)
        observer.begin("evaluation", arguments.episodes, "episodes")
        options["progress"] = observer.advance
        if lm is None:
            result = evaluate_script(arguments.script, env, **options)
        else:
            with lm.averaged_weights() if arguments.ema else nullcontext():
                result = evaluate(
                    lm,
                    env,
                    temperature=arguments.temperature,
                    is_greedy=arguments.greedy,
                    **options,
                )
        observer.end()
    record = result.as_dict()
    if arguments.run is not None:
        record["run"] = arguments.run
    if arguments.json:
        print_json(record)
    else:
        _show(result, record)
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("evaluate", SUMMARY, EXAMPLE)
    parser.add_argument("run", metavar="RUN", nargs="?", help="name or path of a run")
    parser.add_argument("--lm", help=f"{', '.join(MODEL_NAMES)}, or a directory")
    parser.add_argument("--script", help="expert, blind, random, ...")
    parser.add_argument("--env", metavar="ID", help="default: the run's own")
    parser.add_argument("--episodes", type=int, default=200, help="default 200")
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--seed", type=int, default=0, help="of the first episode")
    parser.add_argument("--temperature", type=float, default=1.0, help="default 1")
    parser.add_argument(
        "--greedy", action="store_true", help="take the likeliest tokens"
    )
    parser.add_argument(
        "--ema", action="store_true", help="of a RUN, the average of its weights"
    )
    parser.add_argument("--engine", choices=ENGINES, default="auto")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse(argv)
    if sum(x is not None for x in (arguments.run, arguments.lm, arguments.script)) != 1:
        parser.error("name one of: a RUN, --lm NAME, --script NAME.")
    if arguments.run is None and arguments.env is None:
        parser.error("--env ID says where; only a RUN has one of its own.")
    if arguments.ema and arguments.run is None:
        parser.error("--ema needs a RUN that was trained with --set ema_decay=...")
    if arguments.episodes < 2:
        parser.error(f"--episodes must be at least 2, got {arguments.episodes}.")
    if arguments.seed < 0 or not arguments.temperature > 0:
        parser.error("--seed must not be negative, and --temperature must be above 0.")
    return arguments


def _resolve(
    arguments: argparse.Namespace, observer: TerminalObserver
) -> tuple[CausalLM | None, str, Mapping[str, Any]]:
    """Return the model (None for a script), the environment's id and its keywords."""
    if arguments.script is not None:
        check_script(arguments.script, arguments.env)
        return None, find(arguments.env).id, {}
    if arguments.run is None:
        config = TrainConfig(
            lm=arguments.lm, env=arguments.env, engine=arguments.engine
        )
        return build_lm(config), config.env, config.full_env_kwargs()
    path = find_run(arguments.run, RUNS)
    config, lm, _ = load_run(path, engine=arguments.engine, observer=observer)
    if arguments.ema and not config.agent_config().ema_decay:
        raise BadInput(
            f"{path} keeps no average of the weights; train with --set ema_decay=0.99, say."
        )
    kwargs = config.full_env_kwargs()
    if arguments.env is None or find(arguments.env).id == config.env:
        return lm, config.env, kwargs
    # Keywords of another environment would be foreign here; the tokenizer is the model's.
    return lm, find(arguments.env).id, {"tokenizer": kwargs["tokenizer"]}


def _show(result: EvaluationResult, record: Mapping[str, Any]) -> None:
    print(
        f"{result.policy} in {result.env}, {result.split} goals, {record['episodes']} episodes"
    )
    for name in ("success", "return", "normalised_score"):
        interval = record[name]
        if interval is None:
            print(f"{name:>17}  (no anchors)")
        else:
            print(
                f"{name:>17}  {interval['mean']:.3f}  [{interval['low']:.3f}, "
                f"{interval['high']:.3f}]"
            )
