"""What the generated pages share: the families, safe text, hostile scores, writing and checking."""

from __future__ import annotations

import argparse
import functools
import inspect
import re
import time
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gymnasium

from chat_envs import anchors
from chat_envs.core import ChatEnv
from chat_envs.message import Conversation, Message, Role
from chat_envs.registration import Registration, registrations
from chat_envs.replier import (
    HOSTILE_REPLIERS,
    EpisodeRecord,
    Replier,
    play,
    play_many,
)

DOCS = Path(__file__).parent
NUM_HOSTILE_EPISODES = 30
TRANSCRIPT_SEED = 7

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
# Marks, letters, digits, signs and the plain space show; what is left would hide or break a line.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def families() -> dict[str, list[Registration]]:
    """Return the suite's own registrations by the name of their class."""
    found: dict[str, list[Registration]] = {}
    for registration in registrations():
        if registration.entry_point.startswith("chat_envs.envs."):
            name = registration.entry_point.rpartition(":")[2]
            found.setdefault(name, []).append(registration)
    return found


def page_path(name: str) -> Path:
    """Return where the page of a family lies, from docs/ on: environments/guess_number.md."""
    return Path("environments") / f"{_CAPITAL.sub('_', name).lower()}.md"


def introduction(env_class: type[ChatEnv]) -> str:
    """Return what a class says of itself, without its arguments."""
    return (inspect.getdoc(env_class) or "").split("\n\nArgs:")[0]


# Text ------------------------------------------------------------------------------------


def fenced(text: str) -> list[str]:
    """Return the lines of a Markdown block that shows `text` and nothing else.

    The fence is longer than any run of backticks inside, so that none can close it. Characters
    that show nothing, or end a line elsewhere, stand as Python writes them.

    >>> fenced("It is ``` \\x07.")
    ['````text', 'It is ``` \\\\x07.', '````']
    """
    runs = [len(run) for run in re.findall("`+", text)]
    fence = "`" * max(3, 1 + max(runs, default=0))
    shown = "".join(
        c if c == "\n" or unicodedata.category(c) not in _HIDDEN else _escaped(c)
        for c in text
    )
    return [f"{fence}text", *shown.split("\n"), fence]


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def transcript(messages: Iterable[Message]) -> list[str]:
    """Return a dialogue as a block; lines of a message after its first are indented.

    Spaces at the end of a line are left out, which an empty reply would have.
    """
    lines = Conversation(tuple(messages)).render().split("\n")
    return fenced("\n".join(line.rstrip(" ") for line in lines))


def transcript_of_rows(rows: Iterable[Mapping[str, str]]) -> list[str]:
    """Return a dialogue that was stored as `{"role", "content"}` mappings."""
    return transcript(Message(Role(row["role"]), row["content"]) for row in rows)


def table_row(*cells: object) -> str:
    """Return a row of a Markdown table; a bar in a cell does not end it."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


# Episodes --------------------------------------------------------------------------------


def held_out(env_id: str) -> gymnasium.Env[Any, Any]:
    """Return an environment on held-out goals."""
    return gymnasium.make(env_id, split="test", disable_env_checker=True)


def shown_episode(tier: Registration, replier: Replier) -> EpisodeRecord:
    """Return the episode that pages show of a replier: always that of the same seed."""
    return play(held_out(tier.id), replier, TRANSCRIPT_SEED)


def anchor_cells(tier: Registration) -> list[str]:
    """Return the turns of a tier, and its anchors on held-out goals: expert, blind, random."""
    env = tier.load()(**tier.kwargs)
    level = anchors.load(tier.id).test
    return [
        str(env.max_turns),
        *(f"{r:.3f}" for r in (level.expert, level.blind, level.random)),
    ]


@functools.cache
def hostile_scores(env_id: str, num_episodes: int) -> dict[str, float]:
    """Return the mean normalised score of each hostile replier on held-out goals."""
    env = held_out(env_id)
    scores = {}
    for name, replier in HOSTILE_REPLIERS.items():
        records = play_many(env, replier, range(num_episodes))
        mean = sum(r.episode_return for r in records) / num_episodes
        scores[name] = anchors.normalised_score(env_id, mean)
    return scores


# Files -----------------------------------------------------------------------------------


def settle(
    pages: Iterable[tuple[Path, str]],
    command: str,
    *,
    is_check: bool,
    root: Path = DOCS,
) -> list[str]:
    """Write pages, or compare them with what lies there; print a line for each as it is made.

    Args:
        pages: path from docs/ on and text of each page, made one by one.
        command: what writes them, for the message about one that is out of date.
        is_check: compare and write nothing.
        root: where the paths begin.

    Returns:
        The names of pages that are out of date; none if they were written.
    """
    stale = []
    began = time.monotonic()
    for place, text in pages:
        path = root / place
        name = f"docs/{place.as_posix()}"
        is_same = path.exists() and path.read_text(encoding="utf-8") == text
        if not is_same and is_check:
            stale.append(name)
        elif not is_same:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        verb = "same" if is_same else "out of date" if is_check else "written"
        print(f"{time.monotonic() - began:6.1f} s  {name}: {verb}", flush=True)
    for name in stale:
        print(f"{name} is out of date: run `{command}`.")
    return stale


def run(
    description: str | None, pages: Iterable[tuple[Path, str]], command: str
) -> int:
    """Write pages, or with `--check` compare them; return the exit code.

    Args:
        description: of the script, for `--help`.
        pages: path and text, made one by one.
        command: makes them again.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--check", action="store_true", help="compare instead of writing"
    )
    is_check = parser.parse_args().check
    return 1 if settle(pages, command, is_check=is_check) else 0
