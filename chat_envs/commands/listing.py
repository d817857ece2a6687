"""List the environments: id, tier, tags and what each is about."""

from __future__ import annotations

import difflib
import sys
from dataclasses import asdict
from typing import Sequence

from chat_envs.commands.argument import CommandParser, print_json
from chat_envs.registration import registrations

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """Print every environment; 1 if none has the tag that was asked for."""
    parser = CommandParser(
        "list", "List the environments.", "chat-envs list --tag diagnostic"
    )
    parser.add_argument("--tag", help="only those with this tag")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse(argv)
    found = registrations(arguments.tag)
    if not found:
        print(f"chat-envs list: {_unknown(arguments.tag)}", file=sys.stderr)
    if arguments.json:
        print_json([asdict(registration) for registration in found])
    elif found:
        rows = [(r.id, r.tier, ",".join(r.tags), r.summary) for r in found]
        _print_table([("id", "tier", "tags", "summary"), *rows])
    return 0 if found else 1


def _unknown(tag: str | None) -> str:
    tags = sorted({tag for r in registrations() for tag in r.tags})
    near = difflib.get_close_matches(tag or "", tags, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return (
        f"No environment has the tag {tag!r}.{hint} Tags are: {', '.join(tags) or '-'}."
    )


def _print_table(rows: list[tuple[str, str, str, str]]) -> None:
    widths = [max(len(row[k]) for row in rows) for k in range(3)]
    for row in rows:
        cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[3]]).rstrip())
