"""`chat-envs export`: a run's model becomes a plain Hugging Face directory."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from agents.commands.terminal import (
    BadInput,
    TerminalObserver,
    bad_input,
    command,
    print_json,
)
from agents.engine.loading import ENGINES
from agents.export import export_model
from agents.tracking import find_run
from agents.train import RUNS, load_run
from chat_envs.commands.argument import CommandParser
from chat_envs.tokenizer import load_tokenizer

__all__ = ["SUMMARY", "run"]

SUMMARY = "Write a run's model as a directory that transformers loads."
EXAMPLE = "chat-envs export first exported    # then: chat-envs chat exported"


@command
def run(argv: Sequence[str]) -> int:
    """Carry out the command; return its exit code."""
    arguments = _parse(argv)
    with bad_input():
        if arguments.directory.exists() and not arguments.force:
            raise BadInput(
                f"{arguments.directory} is there already: replace it by --force, or choose another."
            )
        path = find_run(arguments.run, RUNS)
        with TerminalObserver() as observer:
            config, lm, checkpoint = load_run(
                path, engine=arguments.engine, observer=observer
            )
        if arguments.ema and not config.agent_config().ema_decay:
            raise BadInput(
                f"{path} keeps no average of the weights; train with --set ema_decay=0.99, say."
            )
        tokenizer = load_tokenizer(config.full_env_kwargs()["tokenizer"])
        export_model(lm, tokenizer, arguments.directory, is_averaged=arguments.ema)
    record = {
        "run": str(path),
        "directory": str(arguments.directory),
        "updates": checkpoint.step,
        "is_averaged": arguments.ema,
    }
    if arguments.json:
        print_json(record)
    else:
        which = "the average of the weights" if arguments.ema else "the weights"
        print(
            f"{arguments.directory}: {which} of {path} after {checkpoint.step} updates"
        )
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("export", SUMMARY, EXAMPLE)
    parser.add_argument("run", metavar="RUN", help="name or path of a run")
    parser.add_argument("directory", metavar="DIR", type=Path, help="where to")
    parser.add_argument(
        "--ema",
        action="store_true",
        help="the moving average of the weights (a run with --set ema_decay=...)",
    )
    parser.add_argument("--engine", choices=ENGINES, default="auto")
    parser.add_argument("--force", action="store_true", help="replace a model there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse(argv)
