"""`chat-envs reward-model`: a reward model learns from preference pairs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.commands.model_source import load_model
from agents.commands.setting import describe_settings, read_settings
from agents.commands.terminal import (
    BadInput,
    TerminalObserver,
    bad_input,
    command,
    print_json,
)
from agents.engine.loading import MODEL_NAMES
from agents.hyperparameter import build_config
from agents.reliability import Reliability, measure_reliability
from agents.reward_model import check_target
from agents.reward_modeling import RewardModelConfig, ngram_margins, train_reward_model
from chat_envs.commands.argument import CommandParser
from chat_envs.preference_pair import PreferencePair, read_pairs
from chat_envs.record_file import ON_BROKEN
from chat_envs.simulators.preference_model import train_reward
from chat_envs.tokenizer import load_tokenizer

__all__ = ["KINDS", "SUMMARY", "run"]

SUMMARY = "Train a reward model on preference pairs; say how often it is right."
EXAMPLE = "chat-envs reward-model --pairs pairs.jsonl --lm tiny --output runs/rm"
KINDS = ("lm", "ngram")
NOTES = describe_settings("--set KEY=VALUE", RewardModelConfig)

_Pairs = tuple[PreferencePair, ...]


@command
def run(argv: Sequence[str]) -> int:
    """Carry out the command; return its exit code."""
    arguments = _parse(argv)
    with TerminalObserver() as observer:
        with bad_input():
            train, valid = _read(arguments)
            _check_output(arguments)
        if arguments.kind == "ngram":
            found = _train_ngram(arguments, train, valid, observer)
        else:
            found = _train_lm(arguments, train, valid, observer)
    record = {
        "output": str(arguments.output),
        "kind": arguments.kind,
        "lm": arguments.lm if arguments.kind == "lm" else None,
        "seed": arguments.seed,
        "num_train_pairs": len(train),
        "held_out": found.as_dict(),
    }
    if arguments.json:
        print_json(record)
    else:
        _show(found, record)
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("reward-model", SUMMARY, EXAMPLE, notes=NOTES)
    parser.add_argument(
        "--pairs",
        metavar="PATH",
        type=Path,
        required=True,
        help="JSON lines, or a directory that `datasets` saved",
    )
    parser.add_argument(
        "--valid",
        metavar="PATH",
        type=Path,
        help="held-out pairs; without them every tenth prompt of --pairs is held out",
    )
    parser.add_argument(
        "--kind",
        choices=KINDS,
        default="lm",
        help="a language model with a scalar head, or n-grams in NumPy alone (default lm)",
    )
    parser.add_argument(
        "--lm",
        default="tiny",
        help=f"where the weights begin: {', '.join(MODEL_NAMES)}, a run, a directory",
    )
    parser.add_argument(
        "--output",
        metavar="PATH",
        type=Path,
        required=True,
        help="a directory; of --kind ngram a JSON file",
    )
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a hyperparameter (see below)",
    )
    parser.add_argument("--on-broken", choices=ON_BROKEN, default="stop")
    parser.add_argument("--force", action="store_true", help="replace the output")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse(argv)
    if arguments.kind == "ngram" and arguments.set:
        parser.error("--set is for --kind lm: the n-gram model has no such knobs.")
    if arguments.seed < 0:
        parser.error(f"--seed must not be negative, got {arguments.seed}.")
    return arguments


def _read(arguments: argparse.Namespace) -> tuple[_Pairs, _Pairs]:
    """Return the pairs to train on and the held-out ones."""
    options = {"on_broken": arguments.on_broken}
    if arguments.valid is not None:
        train = read_pairs(arguments.pairs, **options)
        valid = read_pairs(arguments.valid, **options)
    else:
        train = read_pairs(arguments.pairs, split="train", **options)
        valid = read_pairs(arguments.pairs, split="test", **options)
    if len(valid) < 2:
        raise BadInput(
            f"There are {len(valid)} held-out pairs, an interval needs 2: give more with --valid."
        )
    return train, valid


def _check_output(arguments: argparse.Namespace) -> None:
    """Refuse to write over what is there, before hours of training rather than after."""
    output: Path = arguments.output
    if output.exists() and not arguments.force:
        raise BadInput(f"{output} is there already; --force replaces it.")
    if arguments.kind == "lm":
        check_target(output)
    elif output.is_dir():
        raise BadInput(f"{output} is a directory; --kind ngram writes one JSON file.")


def _train_ngram(
    arguments: argparse.Namespace,
    train: _Pairs,
    valid: _Pairs,
    observer: TerminalObserver,
) -> Reliability:
    observer.begin("n-gram model", len(train), "pairs")
    reward = train_reward(train, seed=arguments.seed)
    observer.end()
    found = measure_reliability(ngram_margins(reward, valid), seed=arguments.seed)
    notes = {"num_train_pairs": len(train), "held_out": found.as_dict()}
    reward.save(arguments.output, notes)
    return found


def _train_lm(
    arguments: argparse.Namespace,
    train: _Pairs,
    valid: _Pairs,
    observer: TerminalObserver,
) -> Reliability:
    with bad_input():
        values = read_settings(arguments.set, seed=arguments.seed)
        config = build_config(RewardModelConfig, values)
        lm, tokenizer = load_model(
            arguments.lm, engine="local", seed=config.seed, observer=observer
        )
        words = load_tokenizer(tokenizer)
    result = train_reward_model(lm, words, train, valid, config, observer=observer)
    result.model.save(arguments.output, result.notes())
    assert result.reliability is not None  # there are held-out pairs
    return result.reliability


def _show(found: Reliability, record: Mapping[str, Any]) -> None:
    print(f"{record['output']}: learned from {record['num_train_pairs']} pairs")
    for name in ("accuracy", "calibration_error", "overconfidence"):
        interval = getattr(found, name)
        print(
            f"{name.replace('_', ' '):>17}  {interval.mean:.3f}  "
            f"[{interval.low:.3f}, {interval.high:.3f}]"
        )
    print(
        f"{'loss':>17}  {found.loss:.3f}  (a coin's is 0.693), {found.num_pairs} held-out pairs"
    )
    print("       confidence  accuracy  pairs")
    for part in found.bins:
        if part.accuracy is not None:
            print(
                f"  {part.low:.2f} to {part.high:.2f}  {part.accuracy:8.3f}  "
                f"{part.num_pairs:5d}"
            )
