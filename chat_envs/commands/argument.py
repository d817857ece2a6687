"""What several commands read from their arguments."""

from __future__ import annotations

import argparse
import json
from typing import Any

from chat_envs.registration import Registration, find, registrations

__all__ = ["make_parser", "print_json", "read_registration", "read_registrations"]


def make_parser(name: str, description: str, example: str) -> argparse.ArgumentParser:
    """Return the parser of `chat-envs NAME`, whose help ends with an example."""
    return argparse.ArgumentParser(
        prog=f"chat-envs {name}",
        description=description,
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def read_registration(text: str) -> Registration:
    """Return the registration of an id (an `argparse` type)."""
    try:
        return find(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def read_registrations(text: str) -> list[Registration]:
    """Return the registration of an id, or those of all ids for "all" (an `argparse` type)."""
    return registrations() if text == "all" else [read_registration(text)]


def print_json(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
