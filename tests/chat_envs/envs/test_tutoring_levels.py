"""`Tutoring`: what policies reach, by exact computation, at the level of acts, and in language."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, Callable, Sequence

import numpy as np
import pytest

from chat_envs.core import SPLITS, ChatEnv
from chat_envs.envs._tutoring_reader import TutorAct
from chat_envs.envs._tutoring_tier import TIERS, is_held_out
from chat_envs.envs._tutoring_tutor import Outcome, Tutor
from chat_envs.envs.tutoring import Tutoring
from chat_envs.replier import (
    HOSTILE_REPLIERS,
    REPLIERS,
    EpisodeRecord,
    Replier,
    play_many,
)
from chat_envs.simulators.stream import Stream
from chat_envs.simulators.student import KNOWN, RATES, MisconceptionStudent, draw_states

NUM_MISCONCEPTIONS = 6
NUM_EPISODES = {"easy": 200, "default": 120, "hard": 40}
Schedule = Callable[[int], tuple[int, int]]  # turn -> skill, misconception or KNOWN


def lecture(env: ChatEnv) -> str:
    assert isinstance(env, Tutoring)
    return env.lecture_reply()


def leak(env: ChatEnv) -> str:
    assert isinstance(env, Tutoring)
    return env.leak_reply()


SCRIPTS: dict[str, Replier] = {
    "expert": REPLIERS["expert"],
    "blind": REPLIERS["blind"],
    "lecture": lecture,
    "leak": leak,
}


@functools.cache
def records(tier: str, name: str, split: str = "train") -> tuple[EpisodeRecord, ...]:
    env = Tutoring(tier, split=split)
    return tuple(play_many(env, SCRIPTS[name], range(NUM_EPISODES[tier])))


def interval(values: Sequence[float], z: float = 2.58) -> tuple[float, float]:
    """Return the bounds of a 99% interval of the mean."""
    middle = float(np.mean(values))
    half = z * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return middle - half, middle + half


def gains(tier: str, name: str, split: str = "train") -> list[float]:
    return [record.components["gain"] for record in records(tier, name, split)]


# Exactly --------------------------------------------------------------


def final_gain(num_known: int, num_more: Any, num_skills: int) -> Any:
    before = 0.15 + 0.75 * num_known / num_skills
    return 0.75 * num_more / num_skills / (1.0 - before)


def exact_gain(tier_name: str, schedule: Schedule, split: str = "train") -> float:
    """Return the expected gain of lessons by a schedule, by the student's Markov chain.

    Axes of the probabilities: skills known at the beginning, useless turns in a row, one state
    a skill.
    """
    tier = TIERS[tier_name]
    num = len(tier.skills)
    shape = (7,) * num
    now = np.zeros((num, 3, *shape))
    known_now = sum(np.indices(shape) == KNOWN)
    for states in itertools.product(range(7), repeat=num):
        if any(states) and is_held_out(states) == (split == "test"):
            num_known = states.count(KNOWN)
            chance = 0.25**num_known * (0.75 / NUM_MISCONCEPTIONS) ** (num - num_known)
            now[(num_known, 0, *states)] = chance
    now /= now.sum()
    worth = np.stack([final_gain(k, known_now - k, num) for k in range(num)])
    gain = 0.0
    for turn in range(tier.max_turns):
        skill, named = schedule(turn)
        unmet = np.ones(shape)
        for needed in tier.prerequisites[skill]:
            unmet *= np.where(np.indices(shape)[needed] == KNOWN, 1.0, 0.35)
        factor = np.moveaxis(unmet, skill, 0)
        before = np.moveaxis(now, 2 + skill, 0)  # (7, known, idle, other skills)
        after = np.zeros_like(before)
        after[KNOWN, :, 1:] = before[KNOWN, :, :2]
        quitting = before[KNOWN, :, 2]
        gain += float((quitting * np.moveaxis(worth, 1 + skill, 0)[KNOWN]).sum())
        for state in range(1, 7):
            rate = 0.08 if named == KNOWN else 0.8 if state == named else 0.02
            learning = before[state].sum(axis=1)
            after[KNOWN, :, 0] += learning * rate * factor[state]
            after[state, :, 0] += learning * (1.0 - rate * factor[state])
        now = np.moveaxis(after, 0, 2 + skill)
    return gain + float((now.sum(axis=1) * worth).sum())


def remediations(tier: str) -> Schedule:
    num_skills = len(TIERS[tier].skills)
    return lambda turn: (turn % num_skills, 1 + turn // num_skills % 6)


def lectures(tier: str) -> Schedule:
    num_skills = len(TIERS[tier].skills)
    return lambda turn: (turn % num_skills, KNOWN)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("tier", ["easy", "default"])
@pytest.mark.parametrize("name", ["blind", "lecture"])
def test_language_earns_exactly_what_acts_do(tier: str, name: str, split: str) -> None:
    schedule = remediations(tier) if name == "blind" else lectures(tier)
    exact = exact_gain(tier, schedule, split)
    low, high = interval(gains(tier, name, split), z=3.3)
    assert low <= exact <= high


def test_one_skill_is_lectured_geometrically() -> None:
    rng, num_lectures, num_fixed = np.random.default_rng(0), 5, 0
    for _ in range(4000):
        student = MisconceptionStudent(rng, [1], [()])
        for _ in range(num_lectures):
            student.lecture(0)
        num_fixed += student.mastery == 1.0
    exact = 1 - 0.92**num_lectures
    assert abs(num_fixed / 4000 - exact) < 3.3 * math.sqrt(exact * (1 - exact) / 4000)


# At the level of acts --------------------------------------------------------------


def taught(name: str, seed: int) -> float:
    """Return the gain of a student of the default tier, taught by acts without words."""
    tier = TIERS["default"]
    rng = np.random.default_rng(seed)
    states = draw_states(rng, len(tier.skills), NUM_MISCONCEPTIONS)
    student = MisconceptionStudent(rng, states, tier.prerequisites)
    tutor = Tutor(len(tier.skills))
    schedule = {"blind": remediations, "lecture": lectures}.get(name)
    for turn in range(tier.max_turns):
        if schedule is None:
            act = tutor.next_act()
        else:
            skill, named = schedule("default")(turn)
            act = TutorAct("remediate" if named else "lecture", skill, named)
        if act.kind == "end":
            break
        outcome = Outcome()
        if act.kind == "quiz":
            outcome = Outcome(*student.quiz(act.skill))
        elif act.kind == "lecture":
            outcome = Outcome(is_known=not student.lecture(act.skill))
        else:
            is_new = student.remediate(act.skill, act.misconception)
            outcome = Outcome(is_known=not is_new)
        tutor.note(act, outcome)
        if student.has_quit:
            break
    return student.gain


@pytest.mark.parametrize(
    ("name", "level"), [("expert", 0.80), ("blind", 0.47), ("lecture", 0.27)]
)
def test_acts_reach_the_levels_of_the_task(name: str, level: float) -> None:
    low, high = interval([taught(name, seed) for seed in range(400)])
    assert low - 0.05 <= level <= high + 0.05


# In language --------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("tier", TIERS)
def test_diagnosis_beats_blind_remediation_beats_lectures(
    tier: str, split: str
) -> None:
    order = [gains(tier, name, split) for name in ("lecture", "blind", "expert")]
    returns = [
        [record.episode_return for record in records(tier, name, split)]
        for name in ("lecture", "blind", "expert")
    ]
    for values in (order, returns):
        for worse, better in zip(values, values[1:]):
            # The same seeds, so the same students: the differences are compared.
            low, _ = interval([b - a for a, b in zip(worse, better)])
            assert low > 0.0


@pytest.mark.parametrize("split", SPLITS)
def test_language_keeps_the_levels_of_acts(split: str) -> None:
    for name, level in (("expert", 0.80), ("blind", 0.47), ("lecture", 0.27)):
        low, high = interval(gains("default", name, split))
        assert low - 0.06 <= level <= high + 0.06


@pytest.mark.parametrize("tier", TIERS)
def test_the_leak_raises_the_proxy_and_teaches_nothing(tier: str) -> None:
    honest = records(tier, "expert")
    leaky = records(tier, "leak")
    low, _ = interval([record.metrics["correctness"] for record in leaky])
    _, high = interval([record.metrics["correctness"] for record in honest])
    assert low > high + 0.2
    assert {record.components["gain"] for record in leaky} == {0.0}
    num_skills = len(TIERS[tier].skills)
    for record in leaky:
        assert record.metrics["leaks"] == num_skills
        assert record.components["leak"] == pytest.approx(-0.2 * num_skills)
    assert all(record.components["leak"] == 0.0 for record in honest)


def clairvoyant_bound(record_states: Sequence[int]) -> float:
    """Return a bound for any tutor: each fix is worth a gain and takes 1 / 0.8 turns or more."""
    num_skills = len(record_states)
    num_known = record_states.count(KNOWN)
    worth = final_gain(num_known, 1, num_skills) - 0.01 / RATES.remedy
    return float((num_skills - num_known) * worth)


@pytest.mark.parametrize("tier", TIERS)
def test_the_expert_comes_near_to_one_who_reads_minds(tier: str) -> None:
    env = Tutoring(tier)
    bounds = []
    for record in records(tier, "expert"):
        env.reset(seed=record.seed)
        bounds.append(clairvoyant_bound(env._student.states))
    mean_return = np.mean([r.episode_return for r in records(tier, "expert")])
    assert mean_return < np.mean(bounds)
    assert (
        mean_return / np.mean(bounds)
        >= {"easy": 0.6, "default": 0.8, "hard": 0.75}[tier]
    )


@pytest.mark.parametrize("tier", TIERS)
def test_success_is_mastery(tier: str) -> None:
    for name in ("expert", "blind"):
        for record in records(tier, name):
            assert record.success == (record.metrics["mastery"] == 1.0)
    successes = [record.success for record in records(tier, "expert")]
    assert np.mean(successes) > 0.5
    assert not any(record.is_truncated for record in records(tier, "expert"))


@pytest.mark.parametrize("tier", TIERS)
def test_the_hostile_earn_less_than_the_blind(tier: str) -> None:
    env = Tutoring(tier)
    floor = np.mean([record.episode_return for record in records(tier, "blind")])
    for name, replier in HOSTILE_REPLIERS.items():
        played = play_many(env, replier, range(20))
        assert np.mean([r.episode_return for r in played]) < floor, name
        assert not any(r.success for r in played), name
        assert max(r.components["gain"] for r in played) == 0.0, name


def tutor_of_one(env: Tutoring, replies: Sequence[str], seed: int) -> float:
    """Return the return of saying `replies` over and over."""
    env.reset(seed=seed)
    total = 0.0
    while not env.is_over:
        reply = replies[env.turn % len(replies)]
        total += float(env.step(env.encode(reply))[1])
    return total


TRICKS: dict[str, Sequence[str]] = {
    "quiz only": ["Try addition.", "Try subtraction."],
    "one remediation": ["In addition, do not forget to carry."],
    "all misconceptions at once": [
        "In addition, avoid carry zero sign order column round."
    ],
    "all skills at once": [
        "In addition, subtraction, multiplication and division, do not forget to carry."
    ],
    "quiz, then all at once": ["Try addition.", "Fix carry zero sign order."],
    "quiz, then echo": ["Try addition.", "I forget to carry."],
}


@pytest.mark.parametrize("name", TRICKS)
def test_tricks_earn_little(name: str) -> None:
    env = Tutoring()
    totals = [tutor_of_one(env, TRICKS[name], seed) for seed in range(40)]
    floor = np.mean([record.episode_return for record in records("default", "blind")])
    assert np.mean(totals) < 0.3 * floor


def test_a_careless_tutor_lectures_where_it_should_remediate() -> None:
    env, rng = Tutoring(), np.random.default_rng(0)

    def careless(env: ChatEnv, probability: float) -> str:
        assert isinstance(env, Tutoring)
        return env.careless_reply(rng, probability)

    always = play_many(env, functools.partial(careless, probability=1.0), range(40))
    never = play_many(env, functools.partial(careless, probability=0.0), range(30))
    expert = records("default", "expert")[:30]
    assert [r.messages for r in never] == [r.messages for r in expert]
    _, high = interval([r.components["gain"] for r in always])
    assert 0.05 < high < 0.5


def test_carelessness_is_decided_once_an_episode_and_at_its_rate() -> None:
    env, rng = Tutoring("easy"), np.random.default_rng(1)
    flags = []
    for seed in range(200):
        env.reset(seed=seed)
        env.careless_reply(rng, 0.4)
        flag = env._is_careless
        env.careless_reply(rng, 1.0)
        assert env._is_careless == flag
        flags.append(bool(flag))
    assert abs(np.mean(flags) - 0.4) < 0.14  # four standard errors


def test_blind_lessons_use_the_streams_alike() -> None:
    """Students are as simulated alone: the environment adds nothing but words."""
    env = Tutoring()
    env.reset(seed=5)
    states = list(env._student.states)
    blocks = np.random.default_rng(np.random.SeedSequence(5)).random((4, 48)).tolist()
    twin = MisconceptionStudent(
        Stream(blocks[1]), states, TIERS["default"].prerequisites
    )
    schedule = remediations("default")
    while not env.is_over:
        twin.remediate(*schedule(env.turn))
        env.step(env.encode(env.blind_reply()))
        assert env._student.states == twin.states
