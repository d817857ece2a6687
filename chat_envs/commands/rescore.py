"""Score recorded episodes again, with another reward."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any, Sequence

from chat_envs.commands.argument import CommandParser, read_reward
from chat_envs.record_file import ON_BROKEN
from chat_envs.reward import RewardError
from chat_envs.wrappers import rescore

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Print the lines with their new rewards, or write them; 1 if they cannot be scored."""
    parser = CommandParser(
        "rescore",
        "Score the episodes of a transcript again, with another reward.",
        "chat-envs rescore transcripts.jsonl --reward proxy:vader --output scored.jsonl",
        notes="FILE was written by chat_envs.wrappers.RecordTranscript. A function of your own is "
        "looked up\nin the folder where you are, and on Python's path.",
    )
    # Not required of argparse, which would complain of that before it names a misspelt flag.
    parser.add_argument(
        "file", metavar="FILE", nargs="?", type=Path, help="the transcript"
    )
    parser.add_argument(
        "--reward",
        type=read_reward,
        help="'gold', 'proxy:NAME', an id, 'package.module:name', or a JSON object of those to "
        "weights",
    )
    parser.add_argument(
        "--output", type=Path, help="a file to write instead of printing the lines"
    )
    parser.add_argument(
        "--on-broken",
        choices=ON_BROKEN,
        default="stop",
        help="what a line that is no recorded episode does (default stop)",
    )
    parser.add_argument(
        "--on-error",
        default="raise",
        type=_read_on_error,
        help="what a failing reward does: 'raise', 'retry', 'mask' or a number (default raise)",
    )
    arguments = parser.parse(argv)
    if arguments.file is None or arguments.reward is None:
        parser.error("FILE and --reward are required")
    output: Path | None = arguments.output
    if output is not None and output.resolve() == arguments.file.resolve():
        parser.error("--output must be another file than the transcript")
    try:
        lines = rescore(
            arguments.file,
            arguments.reward,
            on_broken=arguments.on_broken,
            on_error=arguments.on_error,
        )
    except (OSError, RewardError, ValueError) as error:
        print(f"chat-envs rescore: {error}", file=sys.stderr)
        return 1
    text = "".join(json.dumps(line) + "\n" for line in lines)
    if output is None:
        print(text, end="")
        return 0
    output.write_text(text, encoding="utf-8")
    print(f"{_summary(lines)}\nwrote {output}")
    return 0


def _summary(lines: Sequence[dict[str, Any]]) -> str:
    if not lines:
        return "no episodes"
    mean = statistics.fmean(line["return"] for line in lines)
    gold = statistics.fmean(
        sum(turn.get("gold_reward", 0.0) for turn in line["turns"]) for line in lines
    )
    num_turns = sum(len(line["turns"]) for line in lines)
    return (
        f"{len(lines)} episodes, {num_turns} turns: mean return {mean:g}, of the task's own "
        f"reward {gold:g}"
    )


def _read_on_error(text: str) -> str | float:
    """Return a failure policy: a word, or a number (an `argparse` type)."""
    try:
        return float(text)
    except ValueError:
        return text
