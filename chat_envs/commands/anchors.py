"""Compute the anchors, or check that the stored ones still hold."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Sequence

from chat_envs import anchors
from chat_envs.commands.argument import CommandParser, print_json, read_registrations
from chat_envs.registration import Registration

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Write the anchors of one id or of all; with --check, 1 if a stored one does not hold."""
    parser = CommandParser(
        "anchors",
        "Compute what the expert, the blind and the random policy earn, and store it.",
        "chat-envs anchors --check",
    )
    parser.add_argument(
        "registrations",
        metavar="ID",
        nargs="?",
        type=read_registrations,
        default="all",
        help="an id (default: all)",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; say what no longer holds"
    )
    parser.add_argument("--json", action="store_true", help="print JSON at the end")
    arguments = parser.parse(argv)
    work = _check if arguments.check else _compute
    return work(arguments.registrations, arguments.json)


def _compute(registrations: list[Registration], is_json: bool) -> int:
    rows = {}
    for registration in registrations:
        start = time.perf_counter()
        row = rows[registration.id] = anchors.compute(registration.id)
        if not is_json:
            seconds = time.perf_counter() - start
            test = ", ".join(f"{k} {v:+.3f}" for k, v in asdict(row.test).items())
            print(f"{registration.id}  test: {test}  ({seconds:.1f} s)", flush=True)
    anchors.save(rows)
    if is_json:
        print_json({env_id: asdict(row) for env_id, row in rows.items()})
    return 0


def _check(registrations: list[Registration], is_json: bool) -> int:
    problems = {}
    for registration in registrations:
        found = problems[registration.id] = anchors.check(registration.id)
        if not is_json:
            lines = [f"    {problem}" for problem in found]
            verdict = "no longer holds" if found else "ok"
            print("\n".join([f"{registration.id}  {verdict}", *lines]), flush=True)
    if is_json:
        print_json(problems)
    return 1 if any(problems.values()) else 0
