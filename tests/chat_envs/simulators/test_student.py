"""The misconception student: every probability at its threshold, and what can never happen."""

from __future__ import annotations

import collections
import math
from typing import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.simulators.stream import Stream
from chat_envs.simulators.student import (
    KNOWN,
    RATES,
    Answer,
    MisconceptionStudent,
    StudentRates,
    draw_states,
)

CHAIN: Sequence[Sequence[int]] = ((), (0,), (0, 1))


class Draws:
    """Given draws, and none beyond them; it counts what was taken."""

    def __init__(self, *draws: float) -> None:
        self.draws = list(draws)
        self.num_taken = 0

    def random(self) -> float:
        self.num_taken += 1
        return self.draws.pop(0)


def student(*draws: float, states: Sequence[int] = (1, 2, 3)) -> MisconceptionStudent:
    return MisconceptionStudent(Draws(*draws), states, CHAIN[: len(states)])


@pytest.mark.parametrize(
    ("state", "draw", "reveal", "answer"),
    [
        (KNOWN, 0.8999, 0.0, Answer(True, KNOWN)),
        (KNOWN, 0.9001, 0.0, Answer(False, KNOWN)),  # a slip shows no misconception
        (4, 0.1499, 0.0, Answer(True, KNOWN)),  # nor does a lucky guess
        (4, 0.1501, 0.8499, Answer(False, 4)),
        (4, 0.1501, 0.8501, Answer(False, KNOWN)),
        (6, 0.9999, 0.0, Answer(False, 6)),
    ],
)
def test_a_quiz_answer(state: int, draw: float, reveal: float, answer: Answer) -> None:
    assert student(draw, reveal, states=[state]).quiz(0) == answer


@pytest.mark.parametrize(
    ("states", "skill", "probability"),
    [
        ((1, 2, 3), 0, 1.0),
        ((0, 2, 3), 1, 1.0),
        ((1, 2, 3), 1, 0.35),
        ((0, 0, 3), 2, 1.0),
        ((1, 0, 3), 2, 0.35),
        ((1, 2, 3), 2, 0.35**2),
    ],
)
def test_teaching_at_its_thresholds(
    states: tuple[int, ...], skill: int, probability: float
) -> None:
    held, other = states[skill], 6
    for named, rate in ((None, 0.08), (held, 0.80), (other, 0.02)):
        for offset, is_fixed in ((-1e-6, True), (1e-6, False)):
            pupil = student(rate * probability + offset, states=states)
            if named is None:
                is_new = pupil.lecture(skill)
            else:
                is_new = pupil.remediate(skill, named)
            assert is_new  # whether it helped or not
            expected = list(states)
            expected[skill] = KNOWN if is_fixed else held
            assert pupil.states == expected


def test_the_rates_are_those_of_the_task() -> None:
    assert vars(RATES) == {
        "known": 0.25,
        "reveal": 0.85,
        "guess": 0.15,
        "slip": 0.10,
        "lecture": 0.08,
        "remedy": 0.80,
        "wrong_remedy": 0.02,
        "unmet": 0.35,
    }


def test_a_told_answer_is_given_and_nothing_is_learnt() -> None:
    pupil = student(0.8999, 0.0, 0.9001, 0.0)
    pupil.tell([0])
    assert pupil.quiz(0) == Answer(True, KNOWN)
    assert pupil.quiz(0) == Answer(False, 1)
    assert pupil.states == [1, 2, 3] and pupil.gain == 0.0


def test_an_answer_helps_with_its_own_question_alone() -> None:
    pupil = student(0.5, 0.0)
    pupil.tell([0])
    assert pupil.quiz(1) == Answer(False, 2)


@pytest.mark.parametrize(
    ("num_skills", "num_known", "score"),
    [(4, 0, 0.15), (4, 1, 0.3375), (4, 2, 0.525), (4, 3, 0.7125), (4, 4, 0.9)],
)
def test_scores_and_gains(num_skills: int, num_known: int, score: float) -> None:
    states = [KNOWN] * num_known + [1] * (num_skills - num_known)
    pupil = MisconceptionStudent(Draws(*[0.0] * 9), states, [()] * num_skills)
    assert pupil.score == pytest.approx(score)
    assert (pupil.mastery, pupil.gain) == (num_known / num_skills, 0.0)
    for skill in range(num_known, num_skills):
        pupil.remediate(skill, 1)
    assert pupil.score == pytest.approx(0.9) and pupil.mastery == 1.0
    assert pupil.gain == pytest.approx((0.9 - score) / (1 - score))


def test_who_can_gain_nothing_gains_nothing() -> None:
    perfect = StudentRates(slip=0.0)
    pupil = MisconceptionStudent(Draws(), [KNOWN], [()], perfect)
    assert (pupil.score, pupil.gain) == (1.0, 0.0)


# Useless turns --------------------------------------------------------------


def test_three_useless_turns_in_a_row_are_enough() -> None:
    pupil = student()
    for expected in (False, False, True):
        assert not pupil.has_quit
        pupil.puzzle()
        assert pupil.has_quit == expected


def test_a_useful_turn_makes_good() -> None:
    pupil = student(0.5, states=[1])
    pupil.puzzle()
    pupil.puzzle()
    pupil.lecture(0)
    assert pupil.num_idle == 0


def test_patience_can_be_chosen() -> None:
    pupil = MisconceptionStudent(Draws(), [1], [()], patience=1)
    pupil.puzzle()
    assert pupil.has_quit


def test_teaching_what_is_known_is_useless() -> None:
    pupil = student(0.0, 0.0, states=[KNOWN])
    assert not pupil.lecture(0) and pupil.num_idle == 1
    assert not pupil.remediate(0, 3) and pupil.num_idle == 2
    assert pupil.states == [KNOWN]


def test_the_lesson_that_helps_is_of_use_and_the_next_is_not() -> None:
    pupil = student(0.0, 0.0, states=[2])
    assert pupil.remediate(0, 2) and pupil.num_idle == 0
    assert not pupil.remediate(0, 2) and pupil.num_idle == 1


def test_a_quiz_of_the_same_skill_is_useless_until_it_is_taught() -> None:
    pupil = student(*[0.5] * 11)
    pupil.quiz(0)
    pupil.quiz(1)
    assert pupil.num_idle == 0
    pupil.quiz(0)
    pupil.quiz(1)
    assert pupil.num_idle == 2
    pupil.lecture(0)
    pupil.quiz(0)
    assert pupil.num_idle == 0


def test_an_answer_told_again_is_useless() -> None:
    pupil = student()
    pupil.tell([0])
    assert pupil.num_idle == 0
    pupil.tell([0])
    assert pupil.num_idle == 1
    pupil.tell([0, 1])
    assert pupil.num_idle == 0


def test_an_answer_told_aside_is_not_judged() -> None:
    pupil = student(0.5, 0.0)
    pupil.puzzle()
    pupil.tell([1], is_aside=True)
    assert pupil.num_idle == 1
    pupil.tell([1], is_aside=True)
    assert pupil.num_idle == 1
    assert pupil.quiz(1).is_right


# What holds of every student --------------------------------------------------------------

acts = st.lists(
    st.tuples(
        st.sampled_from(["quiz", "lecture", "remediate", "tell", "puzzle"]),
        st.integers(0, 2),
        st.integers(1, 6),
    ),
    max_size=30,
)


def do(pupil: MisconceptionStudent, kind: str, skill: int, misconception: int) -> None:
    if kind == "remediate":
        pupil.remediate(skill, misconception)
    elif kind == "tell":
        pupil.tell([skill])
    elif kind == "puzzle":
        pupil.puzzle()
    else:
        getattr(pupil, kind)(skill)


@given(acts, st.lists(st.integers(0, 6), min_size=3, max_size=3), st.integers(0, 99))
def test_nothing_is_forgotten_and_no_misconception_is_swapped(
    done: list[tuple[str, int, int]], states: list[int], seed: int
) -> None:
    pupil = MisconceptionStudent(np.random.default_rng(seed), states, CHAIN)
    top = (0.9 - pupil.score) / (1.0 - pupil.score)
    for kind, skill, misconception in done:
        before, gain = list(pupil.states), pupil.gain
        do(pupil, kind, skill, misconception)
        changed = [i for i in range(3) if pupil.states[i] != before[i]]
        assert changed in ([], [skill])
        assert all(pupil.states[i] == KNOWN for i in changed)
        assert kind in ("lecture", "remediate") or not changed
        assert gain <= pupil.gain <= top + 1e-12
    assert 0 <= pupil.num_idle <= len(done)


@given(acts, st.integers(0, 6))
def test_an_act_takes_the_same_draws_whatever_it_brings(
    done: list[tuple[str, int, int]], state: int
) -> None:
    rng = Draws(*[0.5] * 60)
    pupil = MisconceptionStudent(rng, [state, KNOWN, 1], CHAIN)
    for kind, skill, misconception in done:
        before = rng.num_taken
        do(pupil, kind, skill, misconception)
        taken = {"quiz": 2, "lecture": 1, "remediate": 1}.get(kind, 0)
        assert rng.num_taken - before == taken


def test_states_are_drawn_at_their_rates() -> None:
    rng, num = np.random.default_rng(0), 20_000
    counts = collections.Counter(
        state for _ in range(num) for state in draw_states(rng, 2, 6)
    )
    for state in range(7):
        share = 0.25 if state == KNOWN else 0.75 / 6
        spread = 4 * math.sqrt(share * (1 - share) / (2 * num))
        assert abs(counts[state] / (2 * num) - share) < spread
    assert sum(counts.values()) == 2 * num and set(counts) == set(range(7))


def test_states_take_two_draws_a_skill() -> None:
    rng = Draws(0.2499, 0.9, 0.2501, 0.0, 0.9, 0.9999)
    assert draw_states(rng, 3, 6) == (KNOWN, 1, 6)
    assert rng.num_taken == 6
    assert draw_states(Draws(0.4, 0.0), 1, 6, known=0.5) == (KNOWN,)


def test_students_do_not_share_their_states() -> None:
    states = [1, 2]
    one = MisconceptionStudent(Stream([0.0, 0.5]), states, [(), ()])
    one.lecture(0)
    assert states == [1, 2] and one.states == [KNOWN, 2]


@pytest.mark.parametrize(
    ("prerequisites", "message"),
    [
        ([()], "2 skills need as many prerequisites, got 1"),
        ([(1,), ()], "Skill 0 needs"),
        ([(), (1,)], "Skill 1 needs"),
        ([(), (-1,)], "Skill 1 needs"),
    ],
)
def test_bad_prerequisites_are_refused(
    prerequisites: list[tuple[int, ...]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        MisconceptionStudent(Draws(), [1, 2], prerequisites)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_bad_rates_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="remedy must be a probability"):
        StudentRates(remedy=value)
