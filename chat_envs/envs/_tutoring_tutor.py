"""The expert of `Tutoring`: it diagnoses a skill by quizzes, then remediates what it found.

It knows the conversation alone. Skills are taken in order, so that prerequisites are met.
"""

from __future__ import annotations

from typing import NamedTuple

from chat_envs.envs._tutoring_reader import TutorAct
from chat_envs.simulators.student import KNOWN

__all__ = ["Outcome", "Tutor"]

_MOST_QUIZZES = 2  # of a skill in a row; students tire of more


class Outcome(NamedTuple):
    """What followed an act.

    Attributes:
        is_right: whether a quiz was answered right.
        misconception: the one that its answer shows, or `KNOWN`.
        is_known: whether the student said that it knew what was taught.
    """

    is_right: bool = False
    misconception: int = KNOWN
    is_known: bool = False


class _Notes:
    """What is noted of one skill."""

    __slots__ = ("is_known", "is_right", "misconception", "num_quizzes")

    def __init__(self) -> None:
        self.is_known = False
        self.misconception = KNOWN  # `KNOWN` as long as none has shown
        self.num_quizzes = 0  # since the skill was last taught
        self.is_right = False  # the last of these


class Tutor:
    """Notes on one student, and what follows from them.

    A right answer may be a guess, so a skill that was answered right is explained once: a student
    who knows it says so. A misconception that has shown is remediated until then.

    Args:
        num_skills: how many there are.

    >>> tutor = Tutor(num_skills=1)
    >>> tutor.next_act().kind
    'quiz'
    >>> tutor.note(TutorAct("quiz", 0), Outcome(misconception=4))
    >>> tutor.next_act()
    TutorAct(kind='remediate', skill=0, misconception=4, numbers=())
    >>> tutor.note(TutorAct("remediate", 0, 4), Outcome(is_known=True))
    >>> tutor.next_act().kind
    'end'
    """

    def __init__(self, num_skills: int) -> None:
        self._notes = [_Notes() for _ in range(num_skills)]

    def note(self, act: TutorAct, outcome: Outcome) -> None:
        """Take down what came of an act, the tutor's own or anybody's."""
        if act.kind not in ("quiz", "lecture", "remediate"):
            return
        notes = self._notes[act.skill]
        if act.kind == "quiz":
            notes.num_quizzes += 1
            notes.is_right = outcome.is_right
            if outcome.misconception != KNOWN and not notes.is_known:
                notes.misconception = outcome.misconception
        else:
            notes.num_quizzes = 0
            notes.is_known |= outcome.is_known

    def next_act(self) -> TutorAct:
        """Return what to do next: "end" once every skill is known."""
        for skill, notes in enumerate(self._notes):
            if notes.is_known:
                continue
            if notes.misconception != KNOWN:
                return TutorAct("remediate", skill, notes.misconception)
            if notes.num_quizzes and notes.is_right:
                return TutorAct("lecture", skill)
            if notes.num_quizzes >= _MOST_QUIZZES:
                return TutorAct("lecture", skill)
            return TutorAct("quiz", skill)
        return TutorAct("end")
