"""Passphrase: what is paid, what a random search meets, what early ends teach."""

from __future__ import annotations

import collections
import functools
import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS, ChatEnv
from chat_envs.envs.passphrase import (
    SWEEP,
    Passphrase,
    episodes_to_solve,
    make_vector,
    score,
)
from chat_envs.message import Role
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, play, play_many
from chat_envs.simulators.permutation import is_odd
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode

TIERS = {"easy": 4, "default": 6, "hard": 10}
WORDS = Passphrase().candidate_replies()


def offered(env: ChatEnv) -> tuple[str, str]:
    """Return the two words of the newest question."""
    message = env.conversation.last(Role.USER)
    assert message is not None
    one, other = [w for w in re.findall(r"\w+", message.content) if w in WORDS]
    return one, other


def num_orders(length: int) -> int:
    """Return how many orders a split has."""
    return math.factorial(length) // (2 if length >= 4 else 1)


@pytest.mark.parametrize(
    ("tier", "num_ids"), [("easy", 96), ("default", 384), ("hard", 384)]
)
@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(
    tier: str, num_ids: int, split: str
) -> None:
    assert longest_expert_episode(Passphrase(tier, split=split)) <= num_ids


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(Passphrase, tier=tier), num_episodes=30)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_is_right_k_times(tier: str, split: str) -> None:
    env = Passphrase(tier, split=split)
    assert env.length == env.max_turns == TIERS[tier]
    for record in play_many(env, REPLIERS["expert"], range(30)):
        assert (record.episode_return, record.success) == (1.0, True)
        assert record.num_turns == record.metrics["num_right"] == TIERS[tier]
        assert record.termination_reason == "right"
    for name, replier in HOSTILE_REPLIERS.items():
        assert not any(
            r.episode_return for r in play_many(env, replier, range(8))
        ), name


@pytest.mark.parametrize("length", [2, 3, 4])
@pytest.mark.parametrize("split", SPLITS)
def test_the_blind_guesses_the_order(length: int, split: str) -> None:
    env = Passphrase(length=length, split=split)
    chance = 1 / num_orders(length)
    rate = sum(r.success for r in play_many(env, REPLIERS["blind"], range(200))) / 200
    assert abs(rate - chance) <= 3 * math.sqrt(chance * (1 - chance) / 200)
    assert rate <= 0.15 or length < 4


@pytest.mark.parametrize("length", [2, 4])
def test_a_random_search_is_right_once_in_two_to_the_k(length: int) -> None:
    env = Passphrase(length=length)
    rng = np.random.default_rng(0)
    won = sum(
        play(env, lambda e: offered(e)[rng.integers(2)], seed).success
        for seed in range(300)
    )
    chance = 2.0**-length
    assert abs(won / 300 - chance) <= 3 * math.sqrt(chance * (1 - chance) / 300)


@pytest.mark.parametrize("settings", SWEEP)
def test_who_learns_from_each_end_knows_it_after_k_failures(
    settings: dict[str, Any],
) -> None:
    env = Passphrase(**settings)
    wrong: set[str] = set()
    num_failures = 0
    for seed in range(30):
        is_over = False
        env.reset(seed=seed)
        while not is_over:
            one, other = offered(env)
            word = other if one in wrong else one
            is_over, info = env.step(env.encode(word))[2::2]
        if not info["success"]:
            wrong.add(word)
            num_failures += 1
    assert len(wrong) == num_failures <= env.length
    assert info["success"]


@given(st.integers(0, 99), st.integers(0, 5), st.sampled_from(["", "hm", "not", "x"]))
def test_any_other_reply_ends_it_with_nothing(
    seed: int, num_right: int, reply: str
) -> None:
    env = _default()
    env.reset(seed=seed)
    for _ in range(num_right):
        assert env.step(env.encode(env.expert_reply()))[1:4] == (0.0, False, False)
    wrong = next(w for w in offered(env) if w != env.expert_reply())
    text = wrong if reply == "x" else reply
    _, reward, terminated, truncated, info = env.step(env.encode(text))
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert info["success"] is False
    assert info["metrics"] == {"num_right": num_right}
    assert info["termination_reason"] == ("wrong" if reply == "x" else "unread")
    answer = "No." if reply == "x" else "Sorry, I did not get that."
    assert env.conversation[-1].content == answer


@functools.cache
def _default() -> Passphrase:
    return Passphrase()


def test_a_right_word_of_another_pair_is_wrong() -> None:
    env = Passphrase("easy")
    env.reset(seed=0)
    other = next(w for w in env._right if w not in offered(env))
    assert env.step(env.encode(other))[1:3] == (0.0, True)


@pytest.mark.parametrize("code", range(6))
def test_a_code_fixes_pairs_and_right_words(code: int) -> None:
    pairs = collections.Counter[frozenset[str]]()
    right = set()
    for split in SPLITS:
        env = Passphrase("easy", code=code, split=split)
        for seed in range(30):
            env.reset(seed=seed)
            for _ in range(4):
                pairs[frozenset(offered(env))] += 1
                right.add(env.expert_reply())
                env.step(env.encode(env.expert_reply()))
    assert set(pairs.values()) == {60}
    assert len(pairs) == len(right) == 4
    assert all(len(pair & right) == 1 for pair in pairs)


def test_codes_differ_and_longer_ones_begin_alike() -> None:
    right = [tuple(Passphrase(code=code)._right) for code in range(30)]
    assert len(set(right)) == 30
    assert Passphrase("hard", code=3)._right[:6] == list(right[3])


def test_the_right_word_is_first_half_of_the_time() -> None:
    env = Passphrase(length=2)
    env.reset(seed=0)
    first = 0
    for seed in range(400):
        env.reset(seed=seed)
        first += offered(env)[0] == env.expert_reply()
    assert abs(first / 400 - 0.5) <= 3 * math.sqrt(0.25 / 400)


def test_nothing_but_the_question_depends_on_the_code() -> None:
    """The questions show both words, the rules neither."""
    rules = set()
    for code in range(5):
        env = Passphrase(code=code)
        env.reset(seed=1)
        rules.add(env.conversation[0].content)
    (told,) = rules
    assert not set(re.findall(r"\w+", told)) & set(WORDS)
    assert "6 times" in told and "6 turns" in told


@pytest.mark.parametrize("length", [2, 3, 4, 5])
def test_held_out_are_orders(length: int) -> None:
    orders: dict[str, set[tuple[int, ...]]] = {}
    for split in SPLITS:
        env = Passphrase(length=length, split=split)
        orders[split] = set()
        for seed in range(900):
            env.reset(seed=seed)
            orders[split].add(tuple(env._order))
        assert len(orders[split]) == num_orders(length)
    if length < 4:
        assert orders["train"] == orders["test"]
    else:
        assert not any(is_odd(order) for order in orders["train"])
        assert all(is_odd(order) for order in orders["test"])


def test_held_out_are_phrasings_too() -> None:
    listed = re.compile(r"\b(" + "|".join(WORDS) + r")\b")
    forms: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        env = Passphrase("easy", split=split)
        for seed in range(200):
            env.reset(seed=seed)
            forms[split].add(listed.sub("_", env.conversation[-1].content))
    assert (len(forms["train"]), len(forms["test"])) == (12, 4)
    assert forms["train"].isdisjoint(forms["test"])
    words = [{w for form in forms[s] for w in form.split()} for s in SPLITS]
    assert words[0] == words[1]


@pytest.mark.parametrize(
    ("reply", "is_read"),
    [
        ("{}", True),
        ("{}!", True),
        ("It is {}.", True),
        ("I say {}", True),
        ("It's {}", True),
        ("My guess: {}", True),
        ("not {}", False),
        ("{} {}", False),
        ("{} <|end|>", False),
        ("{} " * 90_000, False),
    ],
)
def test_a_reply_names_one_word(reply: str, is_read: bool) -> None:
    env = Passphrase()
    env.reset(seed=0)
    env.turn = 1
    text = reply.replace("{}", env.expert_reply().upper())
    assert (env._respond(text).why != "unread") == is_read


def test_more_turns_than_words_end_with_the_last_word() -> None:
    env = Passphrase(length=2, max_turns=5)
    record = play(env, REPLIERS["expert"], 0)
    assert (record.num_turns, record.success) == (2, True)


def test_solved_is_three_quarters_of_twenty_episodes() -> None:
    assert episodes_to_solve([]) == math.inf
    assert episodes_to_solve([True] * 19) == math.inf
    assert episodes_to_solve([True] * 20) == 20
    assert episodes_to_solve([True, True, True, False] * 5) == 20
    assert episodes_to_solve([True, True, False, False] * 50) == math.inf
    assert episodes_to_solve([False] * 100 + [True] * 20) == 115


@given(st.lists(st.booleans(), max_size=80))
def test_solved_is_the_first_such_window(successes: list[bool]) -> None:
    ends = [
        end
        for end in range(20, len(successes) + 1)
        if sum(successes[end - 20 : end]) >= 15
    ]
    assert episodes_to_solve(successes) == (ends[0] if ends else math.inf)


def test_the_score_asks_for_less_than_a_random_search() -> None:
    lengths = [settings["length"] for settings in SWEEP]
    assert lengths == list(range(2, 11))
    limits = [2**length + 100 for length in lengths]
    # Solved after n episodes, if the last 15 of them are the first successes.
    late, early = (
        [[False] * (limit - 15 - gain) + [True] * 15 for limit in limits]
        for gain in (0, 1)
    )
    assert (score(late), score(early)) == (0.0, 1.0)
    assert score(early[:3] + late[3:]) == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="9 settings, got 2 runs"):
        score([[True] * 20] * 2)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tier": "esay"}, "tier must be one of"),
        ({"length": 1}, "from 2 to 10, got 1"),
        ({"length": 11}, "from 2 to 10, got 11"),
        ({"code": -2}, "code must be at least 0"),
        ({"max_turns": 5}, "max_turns must be at least the length, 6, got 5"),
    ],
)
def test_bad_arguments_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Passphrase(**kwargs)


def test_the_vector_environment_says_the_same() -> None:
    vector = make_vector(3, tier="easy", code=4)
    vector.reset(seed=[4, 5, 6])
    for env, seed in zip(vector.envs, itertools.count(4)):
        single = Passphrase("easy", code=4)
        single.reset(seed=seed)
        assert env.conversation == single.conversation
