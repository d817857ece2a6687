"""Check that environments keep the contract of the suite."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Sequence

from chat_envs.commands.argument import CommandParser, print_json, read_registrations
from chat_envs.testing import CheckResult, check_chat_env

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Print one line an id and the total; 1 if a clause of the contract is broken."""
    parser = CommandParser(
        "check",
        "Check that environments keep the contract (see chat_envs.testing.CLAUSES).",
        "chat-envs check all",
    )
    parser.add_argument(
        "registrations", metavar="ID", type=read_registrations, help="an id, or: all"
    )
    parser.add_argument(
        "--episodes",
        type=int,
        default=40,
        help="episodes of each statistical clause (default 40)",
    )
    parser.add_argument(
        "--with-async",
        action="store_true",
        help="compare with AsyncVectorEnv too, which starts processes",
    )
    parser.add_argument("--json", action="store_true", help="print JSON at the end")
    arguments = parser.parse(argv)
    if arguments.episodes < 2:
        parser.error(f"--episodes must be at least 2, got {arguments.episodes}")
    start = time.perf_counter()
    rows: list[dict[str, Any]] = []
    width = max((len(r.id) for r in arguments.registrations), default=0)
    for registration in arguments.registrations:
        began = time.perf_counter()
        results = check_chat_env(
            registration.id,
            num_episodes=arguments.episodes,
            with_async=arguments.with_async,
            raise_on_failure=False,
        )
        seconds = time.perf_counter() - began
        row = {
            "id": registration.id,
            "is_passed": all(result.is_passed for result in results),
            "seconds": round(seconds, 2),
            "clauses": [asdict(result) for result in results],
        }
        rows.append(row)
        if not arguments.json:
            print(_line(row, results, width), flush=True)
    seconds = round(time.perf_counter() - start, 2)
    num_broken = sum(not row["is_passed"] for row in rows)
    if arguments.json:
        print_json({"environments": rows, "seconds": seconds})
    else:
        print(f"{len(rows) - num_broken} of {len(rows)} passed in {seconds:.1f} s")
    return 1 if num_broken else 0


def _line(row: dict[str, Any], results: list[CheckResult], width: int) -> str:
    """Return one line for an id, with a line below it for each broken clause."""
    broken = [result for result in results if not result.is_passed]
    verdict = "ok    " if not broken else "BROKEN"
    num_kept = len(results) - len(broken)
    lines = [
        f"{row['id']:{width}}  {verdict}  {num_kept}/{len(results)} clauses  "
        f"{row['seconds']:.1f} s"
    ]
    return "\n".join([*lines, *(f"    {r.clause}: {r.message}" for r in broken)])
