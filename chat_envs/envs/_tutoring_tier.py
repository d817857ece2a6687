"""The tiers of `Tutoring`: their skills, words and goals."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Mapping, Sequence

from chat_envs.data_file import load_json
from chat_envs.simulators.stream import Uniform
from chat_envs.simulators.student import draw_states

__all__ = ["TIERS", "Tier", "Wording", "data", "draw_goal", "is_held_out", "wording"]

data = functools.partial(load_json, "tutoring.json")
"""The data file."""

_HELD_OUT = (
    3  # one combination of states in so many, and of phrases, is of the test split
)


@dataclass(frozen=True, kw_only=True)
class Tier:
    """What a tier changes.

    Attributes:
        skills: in an order in which each follows its prerequisites.
        prerequisites: one a skill: numbers of the skills that it builds on.
        max_turns: the lessons.
        context_length: holds the longest replies in every turn; a truncated episode has no exam.
        answers: what the answers to quiz questions are drawn from.
        language: key of names, phrases and the tutor's words.
        bugs: key of the student's words for misconceptions.
    """

    skills: tuple[str, ...]
    prerequisites: tuple[tuple[int, ...], ...]
    max_turns: int
    context_length: int
    answers: tuple[int, ...]
    language: str = "default"
    bugs: str = "default"


# Without the numbers of turns: to repeat the opening's "6 turns" shall tell no answer.
_ONE_DIGIT = (1, 2, 3, 4, 5, 7, 8, 9)
_TWO_DIGITS = tuple(n for n in range(12, 99) if n % 10)
TIERS: Mapping[str, Tier] = {
    "easy": Tier(
        skills=("add", "multiply"),
        prerequisites=((), (0,)),
        max_turns=6,
        context_length=384,
        answers=_ONE_DIGIT,
        language="easy",
        bugs="easy",
    ),
    "default": Tier(
        skills=("add", "subtract", "multiply", "divide"),
        prerequisites=((), (), (0,), (1,)),
        max_turns=22,
        context_length=1280,
        answers=_ONE_DIGIT,
    ),
    "hard": Tier(
        skills=("add", "subtract", "multiply", "divide", "fraction", "percent"),
        prerequisites=((), (), (0,), (1, 2), (3,), (4,)),
        max_turns=30,
        context_length=1792,
        answers=_TWO_DIGITS,
        bugs="hard",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Wording:
    """The words of a tier on one split.

    Attributes:
        names: one a skill.
        bugs: two a misconception, as the student says them.
        tutor_bugs: one a misconception, as the tutor says it.
        tutor: kind of act -> template.
        student: kind of message -> templates.
    """

    names: tuple[str, ...]
    bugs: tuple[tuple[str, str], ...]
    tutor_bugs: tuple[str, ...]
    tutor: Mapping[str, str]
    student: Mapping[str, tuple[str, ...]]


@functools.cache
def wording(tier_name: str, split: str) -> Wording:
    """Return the words of a tier; of the combinations of parts, one in three is held out."""
    tier, document = TIERS[tier_name], data()
    language, held = tier.language, document["misconceptions"]
    student = {}
    for kind, parts in document["phrases"][language].items():
        student[kind] = tuple(
            text[0].upper() + text[1:]
            for text, is_test in _combinations(parts)
            if is_test == (split == "test")
        )
    return Wording(
        names=tuple(document["names"][language][skill] for skill in tier.skills),
        bugs=tuple((*document["bugs"][tier.bugs][name],) for name in held),
        tutor_bugs=tuple(document["tutor_bugs"][language]),
        tutor=document["tutor"][language],
        student=student,
    )


def _combinations(parts: Sequence[Sequence[str]]) -> list[tuple[str, bool]]:
    """Return every way to choose one of each parts, joined, and whether it is held out."""
    return [
        (
            "".join(part for _, part in chosen),
            sum(place for place, _ in chosen) % _HELD_OUT == _HELD_OUT - 1,
        )
        for chosen in itertools.product(*(list(enumerate(some)) for some in parts))
    ]


def draw_goal(rng: Uniform, num_skills: int, split: str) -> tuple[int, ...]:
    """Return initial states of `split`; at least one skill is not known.

    Of the combinations with the same skills known, one in three is held out whichever these
    are, so both splits know as much and hold every misconception alike.
    """
    num_misconceptions = len(data()["misconceptions"])
    while True:
        states = draw_states(rng, num_skills, num_misconceptions)
        if any(states) and is_held_out(states) == (split == "test"):
            return states


def is_held_out(states: Sequence[int]) -> bool:
    """Return whether initial states are of the test split."""
    return sum(states) % _HELD_OUT == 0
