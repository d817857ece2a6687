"""`--set KEY=VALUE`: one reader for every command that has it, and the list of what it knows."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Sequence
from typing import Any

from agents.commands.terminal import BadInput, parse_yaml

__all__ = ["describe_settings", "read_setting", "read_settings"]


def read_setting(assignment: str) -> tuple[str, Any]:
    """Return the key and the value, read as YAML, of one `--set`.

    Raises:
        BadInput: it is no assignment, or the value is no YAML.

    >>> read_setting("learning_rate=1e-4")
    ('learning_rate', 0.0001)
    """
    key, equals, text = assignment.partition("=")
    if not (key and equals):
        raise BadInput(f"--set wants KEY=VALUE, got {assignment!r}.")
    try:
        return key, parse_yaml(text)
    except ValueError as error:
        raise BadInput(f"--set {assignment}: {error}") from error


def read_settings(assignments: Sequence[str], **values: Any) -> dict[str, Any]:
    """Return `values` with the assignments laid over them; the last one of a key wins."""
    return values | dict(map(read_setting, assignments))


def describe_settings(title: str, config_class: Any) -> str:
    """Return the fields of a config with their defaults as a paragraph of `--help`.

    Args:
        title: what stands before them: "--set KEY=VALUE".
        config_class: a dataclass; its seed, which has a flag, is left out.
    """
    keys = ", ".join(
        field.name + "=" + json.dumps(field.default).strip('"')
        for field in dataclasses.fields(config_class)
        if field.name != "seed"
    )
    lines = textwrap.wrap(keys, 76, break_on_hyphens=False)
    return "\n  ".join([f"{title}:", *lines])
