"""How much language an environment has: openings, what of them is held out, and its reader."""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from generated_page import DOCS, table_row

from chat_envs.core import SPLITS, ChatEnv
from chat_envs.message import Message, Role
from chat_envs.registration import Registration

sys.path.insert(0, str(DOCS.parent))  # the paraphrases stand beside the tests
from tests.chat_envs.envs.reader_recall import Recall, reader_recalls  # noqa: E402

NUM_EPISODES = 10_000
FEW_OPENINGS = 1_000  # below it each is met ten times and more
MOST_SHOWN = 80  # characters of a text


@dataclass(frozen=True)
class OpeningCounts:
    """What was counted in as many episodes of either split.

    Attributes:
        num_train_texts: distinct texts of the user before the first reply.
        num_test_texts: the same on held-out goals.
        num_openings: distinct openings, the system's messages with them, in training.
        text_overlap: share of the test episodes whose text occurs in training.
        opening_overlap: share of the test episodes whose whole opening occurs in training.
        num_sharing: training episodes whose whole opening another one of them has.
        commonest: the text of both splits that most test episodes have; "" if there is none.
    """

    num_train_texts: int
    num_test_texts: int
    num_openings: int
    text_overlap: float
    opening_overlap: float
    num_sharing: int
    commonest: str


def openings(env: ChatEnv, num_episodes: int) -> Counter[tuple[Message, ...]]:
    """Return how often each opening occurs for the seeds from 0 on.

    Openings are taken as messages, without their tokens, which `reset` spends most time on.

    Raises:
        RuntimeError: if that is not what `reset` begins with.
    """
    env.reset(seed=0)
    counts = Counter(
        tuple(env._opening(np.random.default_rng(seed))) for seed in range(num_episodes)
    )
    if env.conversation.messages not in counts:
        raise RuntimeError(f"{type(env).__name__} does not open with its _opening.")
    return counts


def user_text(opening: tuple[Message, ...]) -> str:
    """Return what the user says in an opening."""
    return "\n".join(m.content for m in opening if m.role is Role.USER)


def count_openings(
    make: Callable[..., ChatEnv], num_episodes: int = NUM_EPISODES
) -> OpeningCounts:
    """Return the counts of what `make(split=...)` makes, over `num_episodes` of either split."""
    whole = {split: openings(make(split=split), num_episodes) for split in SPLITS}
    texts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    for split, counts in whole.items():
        for opening, count in counts.items():
            texts[split][user_text(opening)] += count
    both = {t: n for t, n in texts["test"].items() if t in texts["train"]}
    met = sum(n for opening, n in whole["test"].items() if opening in whole["train"])
    return OpeningCounts(
        num_train_texts=len(texts["train"]),
        num_test_texts=len(texts["test"]),
        num_openings=len(whole["train"]),
        text_overlap=sum(both.values()) / num_episodes,
        opening_overlap=met / num_episodes,
        num_sharing=sum(n for n in whole["train"].values() if n > 1),
        commonest=min(both, key=lambda text: (-both[text], text), default=""),
    )


def language_report(name: str, tiers: list[Registration]) -> list[str]:
    """Return the section about the language of a family."""
    counts = {
        tier.tier: count_openings(functools.partial(tier.load(), **tier.kwargs))
        for tier in tiers
    }
    return [
        "## Language",
        "",
        *openings_table(counts),
        "",
        *notes(counts),
        *reader_lines(reader_recalls(name)),
    ]


def openings_table(
    counts: dict[str, OpeningCounts], num_episodes: int = NUM_EPISODES
) -> list[str]:
    """Return the counts of each tier."""
    lines = [
        f"Counted in {num_episodes:,} episodes of either split. A text is all that the user says "
        "before the first reply; an opening is that and what the system says.",
        "",
        "| tier | texts in training | texts held out | held-out episodes with a text of training "
        "| with an opening of training | training episodes that share an opening |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for tier, c in counts.items():
        lines.append(
            table_row(
                tier,
                f"{c.num_train_texts:,}",
                f"{c.num_test_texts:,}",
                f"{c.text_overlap:.1%}",
                f"{c.opening_overlap:.1%}",
                f"{c.num_sharing:,}",
            )
        )
    return lines


def notes(counts: dict[str, OpeningCounts]) -> list[str]:
    """Return what the figures mean where they need a word."""
    lines = []
    few = {t: c for t, c in counts.items() if c.num_openings < FEW_OPENINGS}
    if few:
        named = ", ".join(f"{c.num_openings:,} in {tier}" for tier, c in few.items())
        lines.append(
            f"- Openings are few in training: {named}. Where they tell the goal, a score on "
            "training goals may be memory: compare the held-out ones. Where they do not, episodes "
            "that open alike differ in what follows."
        )
    met: dict[tuple[str, bool], list[str]] = {}
    for tier, c in counts.items():
        if c.text_overlap > 0.0:
            met.setdefault((c.commonest, c.opening_overlap > 0.0), []).append(tier)
    for (text, is_whole), named_tiers in met.items():
        reason = (
            "What lies behind them is held out, but some of it comes out alike"
            if is_whole
            else "What the system says is held out instead"
        )
        lines.append(
            f"- Texts of both splits in {', '.join(named_tiers)}: the most frequent is "
            f"{quoted(shortened(text))}. {reason}."
        )
    if not met:
        lines.append(
            "- No held-out episode counted begins with a text of the training episodes counted."
        )
    return lines


def shortened(text: str) -> str:
    """Return `text` in one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= MOST_SHOWN else line[: MOST_SHOWN - 3] + "..."


def quoted(text: str) -> str:
    """Return `text` as inline code; a run of backticks inside does not end it."""
    marks = "`"
    while marks in text:
        marks += "`"
    return f"{marks} {text} {marks}" if len(marks) > 1 else f"`{text}`"


def reader_lines(recalls: list[Recall]) -> list[str]:
    """Return what the reader makes of words that it was not written for."""
    if not recalls:
        return ["- There is no list of paraphrases to measure its reader by."]
    return [
        f"- Of {r.num_asked:,} {r.what} that its reader was not written for, it understands "
        f"{r.num_read:,} ({r.share:.0%})."
        for r in recalls
    ]
