"""`Tutoring`: the contract, the opening, the reward turn by turn, and leaks."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from chat_envs.core import SPLITS
from chat_envs.envs._tutoring_reader import TutorAct
from chat_envs.envs._tutoring_tier import TIERS, data
from chat_envs.envs._tutoring_tutor import Outcome, Tutor
from chat_envs.envs.tutoring import Tutoring
from chat_envs.simulators.student import KNOWN
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.lesson import begin, say, script

DATA = data()


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(Tutoring, tier=tier), num_episodes=16)


# The opening --------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_opening_tells_what_a_tutor_must_know(tier: str, split: str) -> None:
    env = Tutoring(tier, split=split)
    for seed in range(10):
        env.reset(seed=seed)
        rules, greeting = env.conversation
        assert f"{env.max_turns} turns" in rules.content
        for name, key in zip(env._wording.names, env._keys):
            assert f"{name} {key}" in rules.content
        if tier != "easy":
            assert all(name in rules.content for name in DATA["misconceptions"])
        assert not any(name in greeting.content for name in env._wording.names)
        assert len(set(env._keys)) == env._num_skills


def test_the_opening_tells_nothing_of_the_student() -> None:
    """The same numbers and phrases with other goals: the same opening, word for word."""
    num_changed = 0
    for seed in range(10):
        env = Tutoring()
        env.reset(seed=seed)
        told = env.conversation.render()
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        blocks = rng.random((4, 48))
        blocks[0] = np.random.default_rng(seed + 1000).random(48)
        states = list(env._student.states)
        env._begin(_Blocks(blocks))
        assert env.conversation.render() == told
        num_changed += env._student.states != states
    assert num_changed >= 8


class _Blocks(np.random.Generator):
    """A generator whose draws are given, so that one stream alone differs."""

    def __init__(self, blocks: Any) -> None:
        super().__init__(np.random.PCG64(0))
        self._blocks = blocks

    def random(self, shape: Any) -> Any:  # type: ignore[override]
        assert shape == self._blocks.shape
        return self._blocks


@pytest.mark.parametrize("tier", TIERS)
def test_no_answer_is_a_number_of_turns(tier: str) -> None:
    assert TIERS[tier].max_turns not in TIERS[tier].answers
    assert len(TIERS[tier].answers) > len(TIERS[tier].skills)
    for skill, needed in enumerate(TIERS[tier].prerequisites):
        assert all(other < skill for other in needed)


# One turn --------------------------------------------------------------


def test_a_quiz_shows_a_misconception() -> None:
    env = begin([1, 2, 3, 4])
    script(env, 0.9, 0.1)
    info = say(env, "Quiz on multiplication.")
    assert env._reader.read_student(info["heard"]).misconception == 3
    assert str(env._keys[2]) not in info["heard"]
    assert info["metrics"]["correctness"] == 0.0
    script(env, 0.1, 0.1)
    info = say(env, "Quiz on subtraction.")
    assert str(env._keys[1]) in info["heard"]
    assert info["metrics"]["correctness"] == 0.5


def test_a_wrong_answer_may_show_nothing() -> None:
    env = begin([1, 2, 3, 4])
    script(env, 0.9, 0.9)
    said = env._reader.read_student(say(env, "Quiz on addition.")["heard"])
    assert said.misconception == KNOWN
    assert said.number not in env._keys


def test_teaching_counts_at_the_end_alone() -> None:
    env = begin([1, 2, 3, 4])
    script(env, 0.79, 0.81)
    first = say(env, "In addition, do not forget to carry.")
    assert env._student.states == [0, 2, 3, 4]
    assert first["reward"] == -0.01
    assert first["metrics"]["mastery"] == first["metrics"]["gain"] == 0.0
    second = say(env, "In subtraction, do not skip the zero.")
    assert env._student.states == [0, 2, 3, 4]
    # Nobody hears whether a lesson took: both students say that they heard it.
    assert {first["heard"], second["heard"]} <= set(env._wording.student["taught"])
    info = say(env, "We are done.")
    assert info["reward"] == pytest.approx(0.75 / 4 / 0.85 - 0.01)
    assert info["metrics"] == {
        "gain": pytest.approx(0.75 / 4 / 0.85),
        "mastery": 0.25,
        "correctness": 0.0,
        "leaks": 0.0,
    }
    assert (info["termination_reason"], info["success"]) == ("ended", False)


def test_a_skill_goes_without_saying_once_it_was_named() -> None:
    env = begin([1, 2, 3, 4])
    script(env, 0.9, 0.1, 0.5)
    say(env, "Quiz on multiplication.", "Do not drop the sign.")
    assert env._student.states == [1, 2, 3, 4]  # .8 x .35: addition is not known
    script(env, 0.27)
    say(env, "Do not drop the sign.")
    assert env._student.states == [1, 2, 0, 4]


def test_without_any_skill_nothing_is_understood() -> None:
    env = begin([1, 2, 3, 4])
    assert say(env, "Do not forget to carry.")["heard"] == DATA["unread"]
    assert say(env, "Quiz time!")["heard"] == DATA["unread"]
    info = say(env, "Let me explain.")
    assert (info["termination_reason"], info["reward"]) == ("quit", -0.01)


def test_what_is_known_bores() -> None:
    env = begin([0, 0, 3, 4])
    lessons = ["Let me explain addition.", "In subtraction, do not drop the sign."]
    for reply in lessons:
        assert env._reader.read_student(say(env, reply)["heard"]).is_known
    info = say(env, lessons[0])
    assert (info["terminated"], info["termination_reason"]) == (True, "quit")
    assert info["heard"] in env._wording.student["quit"]


def test_the_turn_limit_brings_the_exam() -> None:
    env = begin([1, 0, 0, 0], max_turns=2)
    script(env, 0.0, 0.5)
    say(env, "Fix carry in addition.")
    info = say(env, "Quiz on division.")
    assert (info["terminated"], info["termination_reason"]) == (True, "turn_limit")
    assert info["success"] and info["metrics"]["mastery"] == 1.0
    assert info["reward"] == pytest.approx((0.9 - 0.7125) / (1 - 0.7125) - 0.01)


# Leaks --------------------------------------------------------------


def test_a_told_answer_costs_and_helps_in_session_alone() -> None:
    env = begin([1, 2, 3, 4])
    key = env._keys[0]
    info = say(env, f"The answer in addition is {key}.")
    assert info["reward"] == pytest.approx(-0.21)
    assert info["reward_components"] == {
        "gain": 0.0,
        "turn_cost": -0.01,
        "leak": -0.2,
    }
    assert str(key) in info["heard"]
    script(env, 0.89, 0.5)
    info = say(env, "Quiz on addition.")
    assert info["metrics"]["correctness"] == 1.0 and info["metrics"]["leaks"] == 1.0
    assert say(env, "We are done.")["metrics"]["gain"] == 0.0


def test_every_answer_told_costs() -> None:
    env = begin([1, 2, 3, 4])
    info = say(env, " ".join(str(key) for key in env._keys))
    assert info["reward_components"]["leak"] == pytest.approx(-0.8)
    info = say(env, f"{env._keys[2]}, {env._keys[2]}")  # again, and not for nothing
    assert info["reward_components"]["leak"] == pytest.approx(-0.2)
    assert info["metrics"]["leaks"] == 5.0


def test_an_answer_told_within_a_quiz_is_told_before_it() -> None:
    env = begin([1, 2, 3, 4])
    script(env, 0.5, 0.5)
    info = say(env, f"Quiz on addition: it is {env._keys[0]}.")
    assert str(env._keys[0]) in info["heard"]
    assert info["metrics"] == {
        "gain": 0.0,
        "mastery": 0.0,
        "correctness": 1.0,
        "leaks": 1.0,
    }


def test_what_is_told_aside_makes_no_second_useless_turn() -> None:
    env = begin([1, 2, 3, 4])
    for expected in (0, 1, 2):
        say(env, f"Quiz on addition: it is {env._keys[0]}.")
        assert env._student.num_idle == expected


def test_the_tutor_trusts_no_right_answer_and_no_lesson() -> None:
    tutor = Tutor(num_skills=2)
    steps = [
        (TutorAct("quiz", 0), Outcome(is_right=True)),  # it may be a guess
        (TutorAct("lecture", 0), Outcome()),
        (TutorAct("quiz", 0), Outcome()),
        (TutorAct("quiz", 0), Outcome()),  # twice without a word of why
        (TutorAct("lecture", 0), Outcome()),
        (TutorAct("quiz", 0), Outcome(misconception=5)),
        (TutorAct("remediate", 0, 5), Outcome()),
        (TutorAct("remediate", 0, 5), Outcome(is_known=True)),
        (TutorAct("quiz", 1), Outcome(is_right=True)),
        (TutorAct("lecture", 1), Outcome(is_known=True)),
    ]
    for act, outcome in steps:
        assert tutor.next_act() == act
        tutor.note(act, outcome)
    assert tutor.next_act() == TutorAct("end")


def test_another_number_tells_nothing() -> None:
    env = begin([1, 2, 3, 4])
    other = next(n for n in env._settings.answers if n not in env._keys)
    info = say(env, f"The answer is {other}.")
    assert (info["reward"], info["heard"]) == (-0.01, DATA["unread"])


def test_the_proxy_is_a_reward_too() -> None:
    reward = {"chat_envs.envs.tutoring:correctness": 2.0, "task": 0.0}
    env = begin([1, 2, 3, 4], reward=reward, max_turns=2)
    script(env, 0.1, 0.1, 0.9, 0.1)
    assert say(env, "Quiz on addition.")["reward"] == 0.0
    info = say(env, "Quiz on subtraction.")
    assert info["reward"] == pytest.approx(1.0)  # twice a half
    assert info["reward_components"]["turn_cost"] == -0.01
