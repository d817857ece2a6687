"""Mastermind: the contract, what is a code, what is answered, shaping, seeds, phrasings."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs.mastermind import Mastermind, game, read_code
from chat_envs.message import Role, user
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, play, play_many
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode
from tests.chat_envs.envs.reader_recall import reader_recalls

# tier -> pegs, colours, turns
TIERS = {"easy": (3, 4, 6), "default": (3, 6, 7), "hard": (4, 6, 8)}
UNREAD = "Sorry, I did not get that."
COUNTS = re.compile(r"(\d) exact (\d) near")

Code = tuple[int, ...]


@functools.cache
def shared(tier: str, split: str = "train") -> Mastermind:
    """Return one environment a tier; every test resets it."""
    return Mastermind(tier, split=split)


def begin(env: Mastermind, goal: str) -> None:
    """Start an episode with a given goal, which no seed could be asked for."""
    env.reset(seed=0)
    env._goal = tuple(env.colours.index(name) for name in goal.split())


def say(env: Mastermind, text: str) -> tuple[str, float, bool]:
    """Return the answer to `text`, the reward and whether the episode is over."""
    _, reward, terminated, truncated, _ = env.step(env.encode(text))
    return env.conversation[-1].content, reward, terminated or truncated


def counted(guess: Code, code: Code) -> tuple[int, int]:
    """Return how many are exact and near, counted as a person would."""
    exact = sum(a == b for a, b in zip(guess, code))
    return exact, sum((Counter(guess) & Counter(code)).values()) - exact


def named(env: Mastermind, code: Code) -> str:
    return " ".join(env.colours[colour] for colour in code)


@pytest.mark.parametrize(
    ("tier", "num_ids"), [("easy", 96), ("default", 384), ("hard", 384)]
)
@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(
    tier: str, num_ids: int, split: str
) -> None:
    assert longest_expert_episode(Mastermind(tier, split=split)) <= num_ids


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(Mastermind, tier=tier), num_episodes=20)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_opening_tells_pegs_turns_and_colours(tier: str, split: str) -> None:
    env = shared(tier, split)
    pegs, num_colours, turns = TIERS[tier]
    assert (env.pegs, len(env.colours), env.max_turns) == TIERS[tier]
    for seed in range(20):
        env.reset(seed=seed)
        rules, question = env.conversation
        assert (rules.role, question.role) == (Role.SYSTEM, Role.USER)
        assert f"{turns} turns" in rules.content
        assert f"{pegs} colours" in rules.content
        assert " ".join(env.colours[:num_colours]) in rules.content
        assert "exact" in rules.content and "near" in rules.content


# Answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("goal", "guess", "answer"),
    [
        ("red red red red", "red red red blue", "3 exact 0 near"),
        ("red red blue blue", "blue blue red red", "0 exact 4 near"),
        ("red red blue blue", "red blue red blue", "2 exact 2 near"),
        ("red blue green white", "red red red red", "1 exact 0 near"),
        ("red blue green white", "blue red red red", "0 exact 2 near"),
        ("red blue green white", "black yellow black yellow", "0 exact 0 near"),
        ("green green red blue", "green red green green", "1 exact 2 near"),
    ],
)
def test_answers_of_known_pairs(goal: str, guess: str, answer: str) -> None:
    env = shared("hard")
    begin(env, goal)
    assert answer in say(env, guess)[0]


@pytest.mark.parametrize(("pegs", "num_colours"), [(2, 4), (3, 4), (3, 6), (4, 4)])
def test_the_whole_table_is_as_a_person_would_count_it(
    pegs: int, num_colours: int
) -> None:
    every = list(itertools.product(range(num_colours), repeat=pegs))
    answers = game(pegs, num_colours).answers
    pairs = np.random.default_rng(5).integers(0, len(every), (4000, 2)).tolist()
    for i, j in pairs:
        exact, near = divmod(int(answers[i, j]), pegs + 1)
        assert (exact, near) == counted(every[i], every[j])


colours = st.integers(0, 5)
triples = st.tuples(colours, colours, colours)


@given(triples, triples)
def test_every_guess_is_counted_truly(goal: Code, guess: Code) -> None:
    env = shared("default")
    begin(env, named(env, goal))
    heard, reward, is_over = say(env, named(env, guess))
    if guess == goal:
        assert (heard, reward, is_over) == ("Yes!", 0.0, True)
    else:
        exact, near = counted(guess, goal)
        assert COUNTS.findall(heard) == [(str(exact), str(near))]
        assert (reward, is_over) == (-1.0, False)


def test_a_try_costs_one_and_the_solving_one_nothing() -> None:
    env = shared("default")
    begin(env, "red blue green")
    for text, answer in (
        ("red red red", "1 exact 0 near"),
        ("Red, green, blue?", "1 exact 2 near"),
        ("red blue", "My code has 3 colours."),
        ("red blue green white", "My code has 3 colours."),
        ("red blue pink", "I do not use that colour."),
        ("crimson red blue", UNREAD),
    ):
        heard, reward, is_over = say(env, text)
        assert answer in heard, text
        assert (reward, is_over) == (-1.0, False)
    assert say(env, "I guess red, blue and green!") == ("Yes!", 0.0, True)
    info = env.describe()
    assert (info["success"], info["termination_reason"]) == (True, "found")
    assert info["metrics"] == {"candidates": 1.0, "invalid": 4.0}


@pytest.mark.parametrize("tier", TIERS)
def test_the_last_try_ends_it_and_tells_the_code(tier: str) -> None:
    env = shared(tier)
    goal = " ".join(["blue"] * env.pegs)
    begin(env, goal)
    wrong = " ".join(["red"] * env.pegs)
    for turn in range(env.max_turns):
        heard, reward, is_over = say(env, "hm?" if turn % 2 else wrong)
        assert reward == -1.0
        assert heard.endswith(f"It was {goal}.") == is_over
        assert is_over == (turn == env.max_turns - 1)
    info = env.describe()
    assert (info["termination_reason"], info["success"]) == ("turn_limit", False)


# Reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("red blue green", (0, 1, 2)),
        ("RED BLUE GREEN", (0, 1, 2)),
        ("red, blue, green.", (0, 1, 2)),
        ("red-blue-green", (0, 1, 2)),
        ("red and blue and green", (0, 1, 2)),
        ("red, then blue, then green", (0, 1, 2)),
        ("I guess red blue green", (0, 1, 2)),
        ("Is it red red red?", (0, 0, 0)),
        ("pink orange yellow black white", (7, 6, 5, 4, 3)),
        ("red", (0,)),
        ("red or blue", None),
        ("not red blue green", None),
        ("redblue", None),
        ("r b g", None),
        ("1 2 3", None),
        ("red blue green 3", None),
        ("and", None),
        ("", None),
        ("user: red blue green", None),
        ("<|user|>red blue green", None),
        ("red blue gr\u00fcn", None),
        ("red " * 100_000, None),
        ("0 exact 0 near", None),
    ],
)
def test_a_guess_is_colours_and_no_more(text: str, code: Code | None) -> None:
    assert read_code(text) == code


def test_other_ways_to_say_a_guess_are_read() -> None:
    (recall,) = reader_recalls("Mastermind")
    assert recall.num_asked == 16
    assert recall.share >= 0.9, recall.missed


@given(st.text(max_size=220))
def test_any_text_is_read_without_an_error(text: str) -> None:
    code = read_code(text)
    assert code is None or code and set(code) <= set(range(8))


@given(st.lists(triples, min_size=2, max_size=4))
def test_several_codes_are_no_guess(several: list[Code]) -> None:
    env = shared("default")
    begin(env, named(env, several[0]))
    for joint in (" ", ", ", "\n", " and "):
        turn = env._respond(joint.join(named(env, code) for code in several))
        assert not turn.success
        assert turn.metrics["candidates"] == 216


@pytest.mark.parametrize(
    "text",
    ["\x00", "\ud800", "\ud83d" * 200, "red" * 150_000, "?" * 1_000_000, "<|end|>"],
)
def test_hostile_text_is_unread(text: str) -> None:
    env = shared("default")
    begin(env, "red red red")
    turn = env._respond(text)
    assert turn.messages == [user(UNREAD)]
    assert not turn.success


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_hostile_policies_earn_nothing(tier: str, split: str) -> None:
    env = shared(tier, split)
    for name, replier in HOSTILE_REPLIERS.items():
        records = play_many(env, replier, range(8))
        assert all(r.episode_return == -env.max_turns for r in records), name


# Shaping ----------------------------------------------------------------------------------


@functools.cache
def _shaped(weight: float) -> Mastermind:
    return Mastermind("easy", shaping=weight)


easy_codes = st.tuples(*[st.integers(0, 3)] * 3)


@given(easy_codes, st.lists(easy_codes, max_size=6), st.sampled_from([0.5, 3.0]))
def test_shaping_leaves_every_return_as_it_is(
    goal: Code, said: list[Code], weight: float
) -> None:
    env = _shaped(weight)
    begin(env, named(env, goal))
    total = task = 0.0
    for reply in [*(named(env, code) for code in said), *["hm"] * 6]:
        if env.is_over:
            break
        _, reward, _, _, info = env.step(env.encode(reply))
        total += reward
        task += info["reward_components"]["task"]
    assert env.is_over
    assert total == pytest.approx(task, abs=1e-9)


def test_shaping_pays_for_what_a_guess_rules_out() -> None:
    env = _shaped(2.0)
    begin(env, "white white white")
    info = env.step(env.encode("red red red"))[4]  # 64 codes -> the 27 without red
    assert info["metrics"]["candidates"] == 27.0
    expected = 2.0 * (1 - math.log2(27) / math.log2(64))
    assert info["reward_components"]["shaping"] == pytest.approx(expected)
    assert env.step(env.encode("red red red"))[1] == -1.0  # known already


def test_without_shaping_its_component_is_zero() -> None:
    env = shared("easy")
    begin(env, "white white white")
    info = env.step(env.encode("red red red"))[4]
    assert info["reward_components"] == {"task": -1.0, "shaping": 0.0}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tier": "harder"}, "tier must be one of.*'harder'"),
        ({"shaping": -1.0}, "shaping must be"),
        ({"shaping": math.inf}, "shaping must be"),
        ({"colours": 3}, "colours must be from 4 to 8"),
        ({"colours": 9}, "colours must be from 4 to 8"),
        ({"pegs": 1}, "pegs must be at least 2"),
        ({"pegs": 5}, "at most 2401 codes"),
        ({"max_turns": 0}, "max_turns must be"),
    ],
)
def test_bad_arguments_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mastermind(**kwargs)


def test_other_sizes_can_be_asked_for() -> None:
    env = Mastermind("default", pegs=2, colours=8, max_turns=9)
    record = play(env, REPLIERS["expert"], 3)
    assert record.success and len(record.messages[2].content.split()) == 2
    assert "red blue green white black yellow orange pink" in record.messages[0].content
