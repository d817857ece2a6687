"""The reader of `Tutoring`: what a tutor does, and what a student says, by one lexicon.

A reply does one thing to one skill. What names two skills or two misconceptions does none, so lists
of every answer teach nothing; numbers are answers, told whatever else the reply does.
"""

from __future__ import annotations

import re
from typing import Mapping, NamedTuple, Sequence

from chat_envs.simulators.student import KNOWN

__all__ = ["NO_SKILL", "Reader", "StudentSaying", "TutorAct"]

NO_SKILL = -1  # none is named: the one that was spoken of last
_MOST_CHARACTERS = 400  # a longer reply is not read
_MOST_READINGS = 4096  # kept; agents and students say the same things again and again
_TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)?|[0-9]+")

Lexeme = tuple[str, int]  # (kind, number) of a concept


class TutorAct(NamedTuple):
    """What a reply does.

    Attributes:
        kind: "quiz", "lecture", "remediate", "end", or "" for nothing that can be read.
        skill: number of the skill, `NO_SKILL` where none is named.
        misconception: the one that "remediate" names, else `KNOWN`.
        numbers: every number in it, once.
    """

    kind: str
    skill: int = NO_SKILL
    misconception: int = KNOWN
    numbers: tuple[int, ...] = ()


class StudentSaying(NamedTuple):
    """What a message of the student says: a number, a misconception or `KNOWN`, "I know"."""

    number: int | None
    misconception: int
    is_known: bool


class _Found(NamedTuple):
    """The concepts of a text, each number once, in order."""

    kinds: frozenset[str]
    skills: tuple[int, ...]
    misconceptions: tuple[int, ...]
    numbers: tuple[int, ...]


_UNREAD = TutorAct("")


class Reader:
    """Reads replies and messages.

    Args:
        lexicon: concept -> the words and phrases that mean it: `skill.NAME`, `misconception.NAME`,
            "quiz", "lecture", "fix", "end", "known", and "" for what means nothing.
        skills: names of the skills there are; others are understood as none of them.
        misconceptions: names of the misconceptions, numbered from 1.

    >>> lexicon = {"skill.add": ["add"], "skill.divide": ["divide"], "quiz": ["quiz"],
    ...     "fix": ["do not"], "misconception.carry": ["carry"]}
    >>> reader = Reader(lexicon, ["add"], ["carry"])
    >>> reader.read_tutor("QUIZ: add!").kind, reader.read_tutor("Quiz add, divide").kind
    ('quiz', '')
    >>> reader.read_tutor("In add, do not forget to carry.")
    TutorAct(kind='remediate', skill=0, misconception=1, numbers=())
    >>> reader.read_student("It is 9. I forget to carry.")
    StudentSaying(number=9, misconception=1, is_known=False)
    """

    def __init__(
        self,
        lexicon: Mapping[str, Sequence[str]],
        skills: Sequence[str],
        misconceptions: Sequence[str],
    ) -> None:
        self._num_skills = len(skills)
        self._lexemes: dict[str, Lexeme] = {}
        lengths: dict[str, int] = {}
        for concept, phrases in lexicon.items():
            kind, _, name = concept.partition(".")
            number = 0
            if kind == "skill":
                number = skills.index(name) if name in skills else len(skills)
            elif kind == "misconception":
                number = 1 + misconceptions.index(name)
            for phrase in phrases:
                if self._lexemes.setdefault(phrase, (kind, number)) != (kind, number):
                    raise ValueError(f"{phrase!r} means two things in the lexicon.")
                first, *rest = phrase.split()
                lengths[first] = max(lengths.get(first, 0), 1 + len(rest))
        self._lengths = (
            lengths  # first word -> words of the longest phrase that it begins
        )
        self._acts: dict[str, TutorAct] = {}
        self._sayings: dict[str, StudentSaying] = {}

    def read_tutor(self, text: str) -> TutorAct:
        """Return what a reply does; text that cannot be read does nothing."""
        if len(text) > _MOST_CHARACTERS:
            return _UNREAD
        act = self._acts.get(text)
        if act is None:
            if len(self._acts) >= _MOST_READINGS:
                self._acts.clear()
            act = self._acts[text] = self._act(self._find(text))
        return act

    def read_student(self, text: str) -> StudentSaying:
        """Return what a message of the student says."""
        saying = self._sayings.get(text)
        if saying is None:
            if len(self._sayings) >= _MOST_READINGS:
                self._sayings.clear()
            found = self._find(text)
            saying = self._sayings[text] = StudentSaying(
                found.numbers[0] if found.numbers else None,
                found.misconceptions[0] if found.misconceptions else KNOWN,
                "known" in found.kinds,
            )
        return saying

    def _act(self, found: _Found) -> TutorAct:
        kinds, skills, misconceptions, numbers = found
        skill = skills[0] if skills else NO_SKILL
        nothing = TutorAct("", numbers=numbers)
        if len(skills) > 1 or len(misconceptions) > 1 or skill == self._num_skills:
            return nothing
        is_quiz, is_lecture = "quiz" in kinds, "lecture" in kinds
        if misconceptions and not is_quiz and (is_lecture or "fix" in kinds):
            return TutorAct("remediate", skill, misconceptions[0], numbers)
        if is_quiz != is_lecture:
            return TutorAct("quiz" if is_quiz else "lecture", skill, KNOWN, numbers)
        if kinds == {"end"} and not skills and not misconceptions:
            return TutorAct("end", numbers=numbers)
        return nothing

    def _find(self, text: str) -> _Found:
        tokens = _TOKEN.findall(text.lower().replace("\u2019", "'"))
        kinds: set[str] = set()
        skills: list[int] = []
        misconceptions: list[int] = []
        numbers: list[int] = []
        position = 0
        while position < len(tokens):
            token = tokens[position]
            length, kind, number = self._longest(tokens, position)
            position += length
            if token[0].isdigit():
                numbers.append(int(token))
            elif kind == "skill":
                skills.append(number)
            elif kind == "misconception":
                misconceptions.append(number)
            elif kind:
                kinds.add(kind)
        return _Found(
            frozenset(kinds),
            tuple(dict.fromkeys(skills)),
            tuple(dict.fromkeys(misconceptions)),
            tuple(dict.fromkeys(numbers)),
        )

    def _longest(self, tokens: list[str], position: int) -> tuple[int, str, int]:
        """Return how many words the longest phrase at `position` has, and what it means."""
        for length in range(self._lengths.get(tokens[position], 0), 0, -1):
            phrase = " ".join(tokens[position : position + length])
            lexeme = self._lexemes.get(phrase)
            if lexeme is not None:
                # Near the end of the text a shorter phrase may have been cut out.
                return min(length, len(tokens) - position), *lexeme
        return 1, "", 0
