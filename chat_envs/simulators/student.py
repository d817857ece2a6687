"""A student that knows each skill or holds a misconception about it.

Quizzes follow knowledge tracing (Corbett and Anderson 1995, UMUAI 4, 253-278): who knows a skill
may slip, who does not may guess. A wrong answer shows the misconception behind it, as the bugs
of Brown and Burton (1978, Cognitive Science 2, 155-192) do. Quizzes never change the state.

A student is scored by its chance to be right on fresh items, the mean over infinitely many of them,
so the score has no noise of its own. The gain is Hake's (1998, Am. J. Phys. 66, 64).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, NamedTuple, Sequence

from chat_envs.simulators.stream import Uniform

__all__ = [
    "Answer",
    "KNOWN",
    "MisconceptionStudent",
    "RATES",
    "StudentRates",
    "draw_states",
]

KNOWN = 0  # the state of a skill that is known; misconceptions count from 1


@dataclass(frozen=True, kw_only=True)
class StudentRates:
    """Probabilities of a student's behaviour.

    Attributes:
        known: that a skill is known at the beginning.
        reveal: that a wrong answer shows the misconception behind it.
        guess: of a right answer without knowing.
        slip: of a wrong answer in spite of knowing.
        lecture: that a lecture makes a skill known.
        remedy: that remediation does, if it names the misconception that is held.
        wrong_remedy: that remediation does, if it names another one.
        unmet: factor on these three for each direct prerequisite that is not known.
    """

    known: float = 0.25
    reveal: float = 0.85
    guess: float = 0.15
    slip: float = 0.10
    lecture: float = 0.08
    remedy: float = 0.80
    wrong_remedy: float = 0.02
    unmet: float = 0.35

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be a probability, got {value}.")


RATES = StudentRates()


class Answer(NamedTuple):
    """What a quiz brought: right or wrong, and the misconception that shows, or `KNOWN`."""

    is_right: bool
    misconception: int


class MisconceptionStudent:
    """A student; skills are numbered from 0, each after its prerequisites.

    A turn is *useless* to it that it did not understand, that taught a skill it knows, told an
    answer again, or quizzed a skill again with no teaching of it in between.

    Args:
        rng: decides answers and learning: two draws a quiz, one a lesson, whatever they bring.
        states: one a skill: `KNOWN` or the number of a misconception.
        prerequisites: one a skill: the skills that it builds on, all of them smaller.
        rates: probabilities.
        patience: useless turns in a row after which it has quit.

    Attributes:
        states: the states of now.
        num_idle: useless turns in a row.

    Raises:
        ValueError: if the prerequisites fit the skills in number or order no more.

    >>> from chat_envs.simulators.stream import Stream
    >>> draws = Stream([0.5, 0.5, 0.7, 0.5, 0.5, 0.0])
    >>> student = MisconceptionStudent(draws, states=[3], prerequisites=[()])
    >>> student.quiz(0)
    Answer(is_right=False, misconception=3)
    >>> student.remediate(0, 3), student.states, round(student.gain, 3)
    (True, [0], 0.882)
    >>> student.quiz(0)
    Answer(is_right=True, misconception=0)
    """

    def __init__(
        self,
        rng: Uniform,
        states: Sequence[int],
        prerequisites: Sequence[Sequence[int]],
        rates: StudentRates = RATES,
        patience: int = 3,
    ) -> None:
        if len(states) != len(prerequisites):
            raise ValueError(
                f"{len(states)} skills need as many prerequisites, got {len(prerequisites)}."
            )
        for skill, needed in enumerate(prerequisites):
            if any(not 0 <= other < skill for other in needed):
                raise ValueError(
                    f"Skill {skill} needs {list(needed)}; number skills after their prerequisites."
                )
        self.states = list(states)
        self.num_idle = 0
        self._rng = rng
        self._prerequisites = prerequisites
        self._rates = rates
        self._patience = patience
        self._quizzed: set[int] = set()  # and not taught since
        self._told: set[int] = set()
        self._before = self.score

    # What a tutor does -----------------------------------------------------------------------

    def quiz(self, skill: int) -> Answer:
        """Answer a quiz question; its answer is remembered once it was told."""
        draw, reveal = self._rng.random(), self._rng.random()
        self._judge(skill not in self._quizzed)
        self._quizzed.add(skill)
        state, rates = self.states[skill], self._rates
        is_able = state == KNOWN or skill in self._told
        is_right = draw < (1.0 - rates.slip if is_able else rates.guess)
        is_shown = not is_right and reveal < rates.reveal
        return Answer(is_right, state if is_shown else KNOWN)

    def lecture(self, skill: int) -> bool:
        """Hear the skill explained; return whether that was of use: it was not known before."""
        return self._learn(skill, self._rates.lecture)

    def remediate(self, skill: int, misconception: int) -> bool:
        """Hear one misconception corrected; return whether the skill was not known before."""
        is_held = self.states[skill] == misconception
        rates = self._rates
        return self._learn(skill, rates.remedy if is_held else rates.wrong_remedy)

    def tell(self, skills: Iterable[int], *, is_aside: bool = False) -> None:
        """Hear the answers to quiz questions of these skills, which teaches nothing.

        Args:
            skills: their numbers.
            is_aside: the turn does something else too, and is judged by that.
        """
        heard = set(skills)
        is_new = not heard <= self._told
        self._told |= heard
        if not is_aside:
            self._judge(is_new)

    def puzzle(self) -> None:
        """Hear something that makes no sense."""
        self._judge(False)

    # What became of it -----------------------------------------------------------------------

    @property
    def has_quit(self) -> bool:
        """Whether it has had enough."""
        return self.num_idle >= self._patience

    @property
    def mastery(self) -> float:
        """The share of skills that it knows."""
        return self.states.count(KNOWN) / len(self.states)

    @property
    def score(self) -> float:
        """The expected share of right answers to fresh items, equally many of each skill.

        Fresh items are held out: what was told of the quiz questions helps with none of them.
        """
        rates = self._rates
        return rates.guess + (1.0 - rates.slip - rates.guess) * self.mastery

    @property
    def gain(self) -> float:
        """How much of what could be gained was: (post - pre) / (1 - pre)."""
        if self._before >= 1.0:
            return 0.0
        return (self.score - self._before) / (1.0 - self._before)

    def _learn(self, skill: int, probability: float) -> bool:
        draw = self._rng.random()
        is_of_use = self.states[skill] != KNOWN
        self._quizzed.discard(skill)
        self._judge(is_of_use)
        for needed in self._prerequisites[skill]:
            if self.states[needed] != KNOWN:
                probability *= self._rates.unmet
        if draw < probability:
            self.states[skill] = KNOWN
        return is_of_use

    def _judge(self, is_of_use: bool) -> None:
        self.num_idle = 0 if is_of_use else self.num_idle + 1


def draw_states(
    rng: Uniform, num_skills: int, num_misconceptions: int, known: float = RATES.known
) -> tuple[int, ...]:
    """Return a state a skill: known with a probability, else any misconception alike.

    >>> from chat_envs.simulators.stream import Stream
    >>> draw_states(Stream([0.2, 0.9, 0.3, 0.0, 0.9, 0.99, 0.0]), 3, 6)
    (0, 1, 6)
    """
    states = []
    for _ in range(num_skills):
        is_known, which = rng.random() < known, rng.random()
        states.append(KNOWN if is_known else 1 + int(which * num_misconceptions))
    return tuple(states)
