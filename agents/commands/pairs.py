"""`chat-envs pairs`: preference pairs without people, labelled by an environment's gold reward."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.commands.model_source import is_model, load_model
from agents.commands.setting import read_settings
from agents.commands.terminal import (
    BadInput,
    TerminalObserver,
    bad_input,
    command,
    print_json,
)
from agents.engine.causal_lm import CausalLM
from agents.engine.loading import ENGINES
from agents.experience.script import check_script
from agents.experience.speaker import PERTURBED, ModelPolicy
from agents.pair_collection import LABELS, CollectedPairs, collect_pairs
from chat_envs.commands.argument import CommandParser
from chat_envs.preference_pair import write_pairs
from chat_envs.registration import find

__all__ = ["SUMMARY", "run"]

SUMMARY = "Let two policies answer the same contexts, and write which reply is better."
EXAMPLE = (
    "chat-envs pairs --env CustomerService-easy-v0 --policies expert "
    "guess+blind+misplaced+edited \\\n      --num-pairs 3000 --output pairs.jsonl"
)
NOTES = (
    "A policy is a script (expert, blind, guess, a hostile replier, ...), `misplaced` (what the "
    "expert said in another context), `edited` (the expert with one wrong word), several of those "
    "with + between them, which take turns by dialogue; or a run, a model's directory or name, "
    "with a temperature behind it: runs/first@0.7."
)


@command
def run(argv: Sequence[str]) -> int:
    """Carry out the command; return its exit code."""
    arguments = _parse(argv)
    with TerminalObserver() as observer:
        with bad_input():
            env = find(arguments.env).id
            policies, kwargs = _policies(arguments, env, observer)
            kwargs |= read_settings(arguments.set)
            observer.begin("pairs", arguments.num_pairs, "pairs")
            found = collect_pairs(
                env,
                policies,
                num_pairs=arguments.num_pairs,
                seed=arguments.seed,
                split=arguments.split,
                label=arguments.label,
                flip_rate=arguments.flip_rate,
                num_envs=arguments.num_envs,
                env_kwargs=kwargs,
                progress=observer.advance,
            )
        observer.end()
    write_pairs(
        arguments.output,
        [labelled.pair for labelled in found.pairs],
        [labelled.note() for labelled in found.pairs],
    )
    record = {
        "output": str(arguments.output),
        "env": env,
        "split": arguments.split,
        "label": arguments.label,
        "seed": arguments.seed,
        **found.as_dict(),
    }
    if arguments.json:
        print_json(record)
    else:
        _show(found, record)
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("pairs", SUMMARY, EXAMPLE, notes=NOTES)
    parser.add_argument("--env", metavar="ID", required=True, help="where they talk")
    parser.add_argument(
        "--policies", metavar="POLICY", nargs="+", required=True, help="two or more"
    )
    parser.add_argument("--num-pairs", type=int, default=3000, help="default 3000")
    parser.add_argument("--output", metavar="FILE", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument(
        "--split", choices=("train", "test"), default="train", help="default train"
    )
    parser.add_argument(
        "--label",
        choices=LABELS,
        default="return",
        help="gold reward of the turn and of what the expert makes of it, or of the turn alone",
    )
    parser.add_argument(
        "--flip-rate", type=float, default=0.0, help="share of labels turned round"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        help="of models without one of their own",
    )
    parser.add_argument("--num-envs", type=int, default=16, help="dialogues at a time")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a keyword of the environment",
    )
    parser.add_argument("--engine", choices=ENGINES, default="auto")
    parser.add_argument("--force", action="store_true", help="replace the file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse(argv)
    if arguments.output.exists() and not arguments.force:
        parser.error(f"{arguments.output} is there already; --force replaces it.")
    if arguments.seed < 0 or arguments.num_envs < 1:
        parser.error("--seed must not be negative, and --num-envs must be at least 1.")
    return arguments


def _policies(
    arguments: argparse.Namespace, env: str, observer: TerminalObserver
) -> tuple[list[str | ModelPolicy], dict[str, Any]]:
    """Return the policies, and the keywords of the environment that their models need."""
    policies: list[str | ModelPolicy] = []
    models: dict[str, tuple[CausalLM, str]] = {}
    for name in arguments.policies:
        source, at, text = name.rpartition("@")
        source, text = (source, text) if at else (name, "")
        if not at and not is_model(name):
            for part in name.split("+"):
                if part not in PERTURBED:
                    check_script(part, env)
            policies.append(name)
            continue
        temperature = _temperature(text, name) if at else arguments.temperature
        if source not in models:
            models[source] = load_model(
                source, engine=arguments.engine, observer=observer
            )
        policies.append(ModelPolicy(models[source][0], temperature, name))
    tokenizers = sorted({tokenizer for _, tokenizer in models.values()})
    if len(tokenizers) > 1:
        raise BadInput(
            f"The models have different tokenizers ({', '.join(tokenizers)}): they cannot answer "
            "in one environment."
        )
    return policies, ({"tokenizer": tokenizers[0]} if tokenizers else {})


def _temperature(text: str, policy: str) -> float:
    try:
        temperature = float(text)
    except ValueError:
        temperature = 0.0
    if not 0 < temperature < float("inf"):
        raise BadInput(
            f"{policy!r}: behind the @ stands a temperature above 0, got {text!r}."
        )
    return temperature


def _show(found: CollectedPairs, record: Mapping[str, Any]) -> None:
    print(f"{record['output']}: {record['num_pairs']} pairs of {record['env']}")
    print(
        f"  {record['num_contexts']} contexts; {found.num_equal} had equal replies, "
        f"{found.num_repeated} repeated a pair, {found.num_ties} tied "
        f"({record['share_of_ties']:.1%}); {found.num_flipped} labels flipped"
    )
    for name, gold in found.gold.items():
        print(f"  mean gold reward of {name}: {gold:.3f}")
