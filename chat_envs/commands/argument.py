"""What several commands read from their arguments."""

from __future__ import annotations

import argparse
import difflib
import json
from typing import Any, Sequence

from chat_envs.registration import Registration, find, registrations

__all__ = [
    "CommandParser",
    "print_json",
    "read_registration",
    "read_registrations",
    "read_reward",
    "read_seed",
]


class CommandParser(argparse.ArgumentParser):
    """The parser of `chat-envs NAME`: names the nearest flag where one is unknown.

    Args:
        name: of the command.
        summary: what it does.
        example: a command line, the last thing that `--help` shows.
        notes: what `--help` says between the flags and the example.
    """

    def __init__(
        self, name: str, summary: str, example: str, *, notes: str = ""
    ) -> None:
        super().__init__(
            prog=f"chat-envs {name}",
            description=summary,
            epilog=f"{notes}\n\nexample:\n  {example}".lstrip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Return the arguments; exit with 2 on a wrong one."""
        arguments, unknown = self.parse_known_args(list(argv))
        if unknown:
            flags = [f for action in self._actions for f in action.option_strings]
            near = difflib.get_close_matches(unknown[0].partition("=")[0], flags, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            self.error(f"unknown argument {unknown[0]!r}.{hint}")
        return arguments


def read_registration(text: str) -> Registration:
    """Return the registration of an id (an `argparse` type)."""
    try:
        return find(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def read_registrations(text: str) -> list[Registration]:
    """Return the registration of an id, or those of all ids for "all" (an `argparse` type)."""
    return registrations() if text == "all" else [read_registration(text)]


def read_seed(text: str) -> int:
    """Return the seed of an episode (an `argparse` type)."""
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if seed < 0:
        raise argparse.ArgumentTypeError(
            f"a seed is an integer of at least 0, got {text!r}"
        )
    return seed


def print_json(value: Any) -> None:
    """Print one JSON document, in ASCII: it is the same document on every terminal."""
    print(json.dumps(value, indent=2))


def read_reward(text: str) -> Any:
    """Return a reward's name, or the mapping that a JSON object says (an `argparse` type)."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no JSON object: {error}") from error
