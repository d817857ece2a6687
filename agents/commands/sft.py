"""`chat-envs sft`: a language model is fine-tuned on dialogues."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from agents.commands.setting import describe_settings, read_settings
from agents.commands.terminal import (
    BadInput,
    TerminalObserver,
    bad_input,
    command,
    print_json,
    printable,
)
from agents.dialogue_data import ON_LONG, load_blend
from agents.engine import process_group
from agents.engine.loading import ENGINES, MODEL_NAMES
from agents.export import load_model
from agents.fine_tuning import FineTuneConfig, fine_tune, save_fine_tuned
from agents.hyperparameter import build_config
from agents.observer import Observer
from chat_envs.commands.argument import CommandParser
from chat_envs.record_file import ON_BROKEN

__all__ = ["SUMMARY", "run"]

SUMMARY = (
    "Fine-tune a language model on dialogues, prompts with replies, or plain text."
)
EXAMPLE = (
    "chat-envs sft --lm tiny --output runs/sft \\\n"
    "      --data dialogues.jsonl:0.7 --data 'env:CustomerService-easy-v0?script=expert:0.3'\n"
    "  chat-envs sft --lm smollm2-135m --output runs/real --data 'mine.jsonl?valid=rest.jsonl' \\\n"
    "      --on-long cut --set num_steps=20 --set num_rows=8 --set learning_rate=1e-5"
)
_NOTES = """\
--data PLACE[?KEY=VALUE&...][:WEIGHT], once or more; the rows dealt have the weights' proportions:
  FILE.jsonl     one JSON object a line, with
                 "messages": [{"role": ..., "content": ...}, ...]  (learnt: what the assistant says)
                 "prompt" and "completion" or "response", texts or messages
                 "text": plain text, packed to whole contexts and learnt throughout
  DIRECTORY      the same, as a dataset that `datasets` saved
  env:ID         what a script says there: ?script=expert&episodes=1000&seed=0, and keywords of
                 the environment
Held out, never learnt: the records of FILE?valid=OTHER.jsonl, the split "test" of a dataset, or
the last of every ten.

The output is a plain Hugging Face directory: --lm takes it here, transformers elsewhere."""


@command
def run(argv: Sequence[str]) -> int:
    """Carry out the command; return its exit code."""
    arguments = _parse(argv)
    with bad_input():
        config = build_config(
            FineTuneConfig, read_settings(arguments.set, seed=arguments.seed)
        )
        if arguments.ema and not config.ema_decay:
            raise BadInput("--ema needs --set ema_decay=0.99, or another decay.")
        if arguments.output.exists() and not arguments.force:
            raise BadInput(
                f"{arguments.output} is there already: replace it by --force, or choose another "
                "directory."
            )
        lm, tokenizer = load_model(
            arguments.lm, engine=arguments.engine, seed=config.seed
        )
        lm.check_processes()
        blend = load_blend(
            arguments.data,
            tokenizer,
            min(arguments.max_length or lm.context_length, lm.context_length),
            seed=config.seed,
            on_broken=arguments.on_broken,
            on_long=arguments.on_long,
        )
    is_first = process_group.rank() == 0
    with TerminalObserver() if is_first else nullcontext(Observer()) as observer:
        result = fine_tune(lm, blend, config, observer)
    save_fine_tuned(lm, tokenizer, result, arguments.output, is_averaged=arguments.ema)
    if not is_first:
        return 0
    record = {"output": str(arguments.output), **result.as_dict()}
    if arguments.json:
        print_json(record)
    else:
        _show(record)
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    notes = describe_settings("--set KEY=VALUE", FineTuneConfig)
    parser = CommandParser("sft", SUMMARY, EXAMPLE, notes=f"{_NOTES}\n\n{notes}")
    parser.add_argument(
        "--data",
        metavar="SOURCE",
        action="append",
        required=True,
        help="what to learn from (see below)",
    )
    parser.add_argument(
        "--lm", default="tiny", help=f"{', '.join(MODEL_NAMES)}, or a directory"
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        required=True,
        help="where the model goes",
    )
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument(
        "--max-length", type=int, help="most tokens of a row (default: the model's)"
    )
    parser.add_argument(
        "--on-broken",
        choices=ON_BROKEN,
        default="stop",
        help="what a line that is no record does (default stop)",
    )
    parser.add_argument(
        "--on-long",
        choices=ON_LONG,
        default="skip",
        help="what a dialogue that is too long does (default skip)",
    )
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="a setting"
    )
    parser.add_argument(
        "--ema", action="store_true", help="write the average of the weights"
    )
    parser.add_argument("--engine", choices=ENGINES, default="auto")
    parser.add_argument("--force", action="store_true", help="replace the output")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse(argv)
    if arguments.max_length is not None and arguments.max_length < 2:
        parser.error(f"--max-length must be at least 2, got {arguments.max_length}.")
    return arguments


def _show(record: Mapping[str, Any]) -> None:
    for source in record["sources"]:
        words = ", ".join(
            f"{source[name]} {what}"
            for name, what in (("broken", "broken"), ("too_long", "too long"))
            if source[name]
        )
        print(
            printable(
                f"{source['source']}: {source['train']['rows']} rows to learn from, "
                f"{source['valid']['rows']} held out{'; ' + words if words else ''}"
            )
        )
    for name, before in record["valid"]["before"].items():
        after = record["valid"]["after"][name]
        print(
            printable(
                f"held out of {name}: cross-entropy {before['cross_entropy']:.3f} -> "
                f"{after['cross_entropy']:.3f}, perplexity {before['perplexity']:.2f} -> "
                f"{after['perplexity']:.2f}"
            )
        )
    train = record["train"]
    print(
        f"learnt from: cross-entropy {train['first']:.3f} -> {train['last']:.3f} in "
        f"{record['steps']} steps"
    )
    print(f"the model: {record['output']}")
