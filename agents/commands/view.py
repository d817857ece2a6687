"""`chat-envs view`: read what was said in a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from agents.checkpoint import DamagedFileError
from agents.commands.terminal import command, print_json, printable, say
from agents.tracking import find_run, read_lines
from agents.train import RUNS
from agents.transcript import turns_of
from chat_envs.commands.argument import CommandParser

__all__ = ["SUMMARY", "run", "show_episode"]

_KEYS = {
    "components",
    "iteration",
    "messages",
    "return",
    "rewards",
    "seed",
    "success",
    "termination_reason",
}

SUMMARY = "Show transcripts of a run, with what each turn was paid."
EXAMPLE = "chat-envs view first --order worst --number 3"
_STYLES = {"system": "dim", "user": "green", "assistant": "bold cyan"}


@command
def run(argv: Sequence[str]) -> int:
    """Carry out the command; return its exit code."""
    parser = CommandParser("view", SUMMARY, EXAMPLE)
    parser.add_argument("run", metavar="RUN", help="name or path of a run")
    parser.add_argument(
        "--order",
        choices=("seed", "best", "worst"),
        default="seed",
        help="default seed",
    )
    parser.add_argument("--number", type=int, default=4, help="how many (default 4)")
    parser.add_argument(
        "--iteration", type=int, help="which update's (default: the last one's)"
    )
    parser.add_argument("--seed", type=int, help="only episodes of this seed")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse(argv)
    if arguments.number < 1:
        parser.error(f"--number must be at least 1, got {arguments.number}.")
    path = find_run(arguments.run, RUNS)
    records = _read(path / "transcripts.jsonl")
    if not records:
        say(
            f"failed: {path} has no transcripts yet, or was run with num_transcripts=0."
        )
        return 1
    iterations = [record["iteration"] for record in records]
    wanted = arguments.iteration
    if arguments.seed is None and wanted is None:
        wanted = iterations[-1]
    if wanted is not None and wanted not in iterations:
        parser.error(
            f"--iteration {wanted}: the run has {min(iterations)} to {max(iterations)}."
        )
    chosen = [
        record
        for record in records
        if (wanted is None or record["iteration"] == wanted)
        and (arguments.seed is None or record["seed"] == arguments.seed)
    ]
    if not chosen:
        parser.error(f"--seed {arguments.seed}: no transcript has that seed.")
    chosen = _sorted(chosen, arguments.order)[: arguments.number]
    if arguments.json:
        print_json({"run": str(path), "episodes": chosen})
        return 0
    console = Console(highlight=False, soft_wrap=True)
    for record in chosen:
        show_episode(record, console)
    return 0


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the episodes of a log.

    Raises:
        DamagedFileError: a line is no described episode; the message names file and line.
    """
    records = read_lines(path)
    for number, record in enumerate(records, 1):
        missing = sorted(_KEYS - record.keys())
        if missing:
            raise DamagedFileError(
                f"{path}:{number} is damaged: it is no transcript, it lacks {', '.join(missing)}."
            )
    return records


def show_episode(record: dict[str, Any], console: Console) -> None:
    """Print a described episode."""
    total = "unknown" if record["return"] is None else f"{record['return']:.2f}"
    outcome = "success" if record["success"] else "no success"
    place = f"update {record['iteration']}, " if "iteration" in record else ""
    reason = printable(record["termination_reason"])
    console.rule(
        Text(f"{place}seed {record['seed']}: {outcome} ({reason}), return {total}")
    )
    for turn in turns_of(record):
        role = turn["role"]
        # Text, never markup: what a model wrote must not command the terminal.
        line = Text(f"{role:>9}  ", style="dim")
        line.append(printable(turn["content"]), style=_STYLES.get(role, ""))
        if "components" in turn:
            paid = ", ".join(
                f"{n} {v:+.2f}" for n, v in turn["components"].items() if v
            )
            line.append(f"   [{paid}]" if paid else "", style="yellow")
        console.print(line)


def _sorted(records: list[dict[str, Any]], order: str) -> list[dict[str, Any]]:
    if order == "seed":
        return sorted(records, key=lambda record: record["seed"])
    known = [record for record in records if record["return"] is not None]
    return sorted(known, key=lambda r: r["return"], reverse=order == "best")
