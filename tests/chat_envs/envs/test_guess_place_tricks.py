"""GuessPlace: what earns nothing, what any text does, how the tiers differ."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs.guess_place import (
    GuessPlace,
    _worth_asking,
    cost_bounds,
    make_vector,
)
from chat_envs.message import Role, user
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, make_replier, play, play_many
from tests.chat_envs.envs.places import (
    TIERS,
    begin,
    say,
    shared,
)


def mean_cost(env: GuessPlace, replier: Any, num_episodes: int) -> float:
    records = play_many(env, replier, range(num_episodes))
    return -sum(record.episode_return for record in records) / num_episodes


def test_candidates_are_counted() -> None:
    env = shared("default")
    begin(env, "Chad")
    env.step(env.encode("Is it in Africa?"))
    assert env.describe()["metrics"] == {"candidates": 54.0}
    env.step(env.encode("Is it landlocked?"))
    assert env.describe()["metrics"] == {"candidates": 16.0}
    env.step(env.encode("Is it next to the moon?"))
    assert env.describe()["metrics"] == {"candidates": 16.0}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_blind_random_and_hostile_policies_earn_little(tier: str, split: str) -> None:
    env = shared(tier, split)
    best = -mean_cost(env, REPLIERS["expert"], 40)
    floor = -mean_cost(env, REPLIERS["blind"], 40)
    assert best - floor > 1.0
    for name, replier in HOSTILE_REPLIERS.items():
        returns = [r.episode_return for r in play_many(env, replier, range(12))]
        scores = (np.array(returns) - floor) / (best - floor)
        bound = scores.mean() + 1.96 * scores.std(ddof=1) / math.sqrt(12)
        assert bound <= 0.25, name
    lucky = make_replier("random", np.random.default_rng(0))
    assert -mean_cost(env, lucky, 12) <= floor + 0.25 * (best - floor)


@pytest.mark.parametrize("tier", TIERS)
def test_every_answer_is_yes_or_no_and_not_both(tier: str) -> None:
    phrases = shared(tier)._phrases
    for is_true, by_split in phrases.answers.items():
        for text in [*by_split["train"], *by_split["test"]]:
            assert phrases.is_yes[text] is is_true
            assert ("yes" in text.lower()) is is_true
            assert ("no" in text.lower()) is not is_true


def test_the_hard_tier_answers_nothing_about_regions() -> None:
    env = shared("hard")
    begin(env, "Kenya")
    for text in ("Is it in Africa?", "Is it African?", "Is it in East Africa?"):
        assert say(env, text)[0] == "I can't answer that."
    assert "yes" in say(env, "Does it border Uganda?")[0].lower()
    assert "region" in env.conversation[0].content
    assert all("Is it in " not in question for question in _worth_asking("hard")[0])


def test_without_regions_the_search_is_no_shorter() -> None:
    assert cost_bounds("hard").greedy >= cost_bounds("default").greedy
    assert cost_bounds("hard").lower == cost_bounds("default").lower


@given(st.text(max_size=60))
def test_any_reply_costs_at_most_one(text: str) -> None:
    env = shared("default")
    begin(env, "Japan")
    turn = env._respond(text)
    assert turn.reward in (-1.0, 0.0)
    assert turn.success == (turn.reward == 0.0)
    assert turn.messages[0].role is Role.USER


@given(st.integers(0, 192), st.lists(st.integers(0, 300), max_size=19))
def test_true_answers_never_exclude_the_goal(goal: int, choices: list[int]) -> None:
    env = shared("default")
    env.reset(seed=1)
    env._goal, env._candidates = goal, env.oracle.everything
    before = env.oracle.everything
    for choice in choices:
        questions = _worth_asking("default")[0]
        env._respond(questions[choice % len(questions)])
        assert env._candidates >> goal & 1
        assert env._candidates & ~before == 0
        before = env._candidates


@pytest.mark.parametrize(
    "text",
    ["\x00", "\ud800", "\ud83d" * 200, "Japan" * 200_000, "?" * 1_000_000, "<|end|>"],
)
def test_hostile_text_is_unread(text: str) -> None:
    env = shared("default")
    begin(env, "Japan")
    turn = env._respond(text)
    assert (turn.reward, turn.messages) == (-1.0, [user("I can't answer that.")])


def test_the_vector_environment_plays_the_same() -> None:
    vector = make_vector(2, tier="easy")
    vector.reset(seed=[3, 4])
    for env, seed in zip(vector.envs, (3, 4), strict=True):
        record = play(GuessPlace("easy"), REPLIERS["expert"], seed)
        assert env.conversation.messages == record.messages[:2]


def test_an_unknown_tier_is_refused() -> None:
    arguments: dict[str, Any] = {"tier": "harder"}
    with pytest.raises(ValueError, match="tier must be one of.*'harder'"):
        GuessPlace(**arguments)


def test_another_turn_limit_is_told_and_kept() -> None:
    env = GuessPlace("default", max_turns=3)
    env.reset(seed=0)
    assert "You have 3 turns" in env.conversation[0].content
    assert [say(env, "hm")[2] for _ in range(3)] == [False, False, True]


def test_the_countries_of_the_easy_tier_are_single_words() -> None:
    names = shared("easy").oracle.names
    assert len(names) == 12
    assert all(name.isalpha() and len(name) <= 5 for name in names)


def test_the_last_answer_is_true_and_the_country_is_told_after_it() -> None:
    env = GuessPlace("default", max_turns=1)
    begin(env, "Peru")
    heard, _, is_over = say(env, "Is it in South America?")
    assert "yes" in heard.lower() and heard.endswith(" It was Peru.")
    assert is_over
