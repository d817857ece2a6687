"""Wordle's expert and blind policies, against exact counts and against a proof of the best."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from chat_envs.core import SPLITS
from chat_envs.envs._wordle_word import data, game, split_words, word_list
from chat_envs.envs.wordle import Wordle
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, play_many
from chat_envs.simulators.deduction import (
    lower_total,
    most_parts_choice,
    num_found,
    total_cost,
)
from tests.chat_envs.envs.spelling import TIERS, begin, hints_in, marked, say, shared


def test_the_easy_expert_finds_every_word_near_the_optimum() -> None:
    env = shared("easy")
    num_words = len(env.words)
    turns: Counter[int] = Counter()
    for goal in env.words:
        begin(env, goal)
        is_over = False
        while not is_over:
            _, reward, is_over = say(env, env.expert_reply())
        assert reward == 0.0, goal
        turns[env.turn] += 1
    found = num_found(game(3), most_parts_choice, 6)
    assert [turns[k + 1] for k in range(6)] == found
    cost, least = total_cost(found, num_words), lower_total(game(3))
    assert cost == least  # no policy at all does better


@pytest.mark.slow
def test_the_expert_of_five_letters_is_near_the_optimum() -> None:
    num_words = len(word_list(5))
    cost = total_cost(num_found(game(5), most_parts_choice, 6), num_words)
    least = lower_total(game(5))
    assert least <= cost
    assert (6 - cost / num_words) / (6 - least / num_words) >= 0.9


def test_the_expert_of_five_letters_finds_nearly_every_word() -> None:
    found = num_found(game(5), most_parts_choice, 6)
    assert sum(found) >= 0.995 * len(word_list(5))
    mean = sum((k + 1) * n for k, n in enumerate(found)) / sum(found)
    assert 2.5 < mean < 3.6


@pytest.mark.parametrize("tier", ["default", "hard"])
def test_the_expert_plays_as_the_exact_count_says(tier: str) -> None:
    records = play_many(shared(tier), REPLIERS["expert"], range(150))
    mean = sum(r.episode_return for r in records) / len(records)
    spread = float(np.std([r.episode_return for r in records])) / math.sqrt(150)
    exact = total_cost(num_found(game(5), most_parts_choice, 6), len(word_list(5)))
    assert abs(mean + exact / len(word_list(5))) < 4 * spread + 0.05
    assert sum(r.success for r in records) >= 147


@pytest.mark.parametrize("tier", TIERS)
def test_the_blind_policy_earns_little_of_the_range(tier: str) -> None:
    for split in SPLITS:
        env = shared(tier, split)
        pool = split_words(TIERS[tier])[split]
        begin(env, "no goal")
        said = []
        while not env.is_over:
            said.append(env.blind_reply())
            env.step(env.encode("hm"))
        words = [text.replace(" ", "") for text in said]
        assert len(set(words)) == 6
        assert set(words) <= set(env.words)
        gain = sum(6 - k for k, word in enumerate(words) if word in pool) / len(pool)
        assert 0 < gain / (6 - 2) <= 0.15
        # Both splits alike: the share of held-out words is that among the goals.
        assert gain == pytest.approx(21 / len(env.words), rel=0.35)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_hostile_policies_earn_nothing(tier: str, split: str) -> None:
    env = shared(tier, split)
    for name, replier in HOSTILE_REPLIERS.items():
        records = play_many(env, replier, range(8))
        assert all(r.episode_return == -6 for r in records), name


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_reads_the_conversation_alone(tier: str, split: str) -> None:
    env, ignorant = shared(tier, split), Wordle(tier, split=split)
    for seed in range(12):
        env.reset(seed=seed)
        while not env.is_over:
            ignorant.reset(seed=seed + 1000)
            ignorant.conversation = env.conversation
            assert ignorant.expert_reply() == env.expert_reply()
            assert env.belief(env.conversation) == env._belief
            assert env._belief >> env._index[env._goal] & 1
            say(env, env.expert_reply())


@pytest.mark.parametrize("tier", TIERS)
def test_candidates_are_the_words_that_would_get_the_same_hints(tier: str) -> None:
    env = shared(tier)
    names = data()["marks"]
    for seed in range(10):
        env.reset(seed=seed)
        left = list(env.words)
        for step in range(3):
            guess = env.words[(seed * 31 + step * 17) % len(env.words)]
            heard, _, is_over = say(env, guess)
            if is_over:
                break
            told = [mark for _, mark in hints_in(heard)]
            left = [
                word
                for word in left
                if all(
                    mark == "told" or mark == names[own]
                    for mark, own in zip(told, marked(guess, word))
                )
            ]
            assert env.describe()["metrics"]["candidates"] == len(left)
            assert env._goal in left


def test_what_is_no_guess_teaches_the_expert_nothing() -> None:
    env = shared("default")
    begin(env, "house")
    for text in ("hello there", "cat", "qqqqq", ""):
        say(env, text)
        assert env.belief(env.conversation) == game(5).everything
        assert env.describe()["metrics"]["candidates"] == len(env.words)
