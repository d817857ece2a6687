"""TwentyQuestions and GuessPlace: what is held out, what a seed decides, what earns nothing."""

from __future__ import annotations

import itertools
from typing import Sequence

import numpy as np
import pytest

from chat_envs.core import SPLITS
from chat_envs.data_file import load_json
from chat_envs.envs._question_game import _combined
from chat_envs.message import Role
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, make_replier, play, play_many
from chat_envs.simulators.stream import split_streams
from tests.chat_envs.envs.quiz import (
    LARGE_TIERS,
    QUIZZES,
    TIERS,
    Quiz,
    mean_cost,
    say,
    shared,
)

each_quiz = pytest.mark.parametrize("quiz", QUIZZES, ids=str)


@pytest.mark.parametrize("tier", LARGE_TIERS)
@each_quiz
def test_held_out_goals_are_of_every_kind_and_are_never_trained_on(
    quiz: Quiz, tier: str
) -> None:
    drawn: dict[str, set[int]] = {split: set() for split in SPLITS}
    for split, seed in itertools.product(SPLITS, range(2500)):
        env = shared(quiz.env_class, tier, split)
        env._opening(np.random.default_rng(seed))
        drawn[split].add(env._goal)
    num_things = quiz.num_things[0]
    assert drawn["train"].isdisjoint(drawn["test"])
    assert drawn["train"] | drawn["test"] == set(range(num_things))
    assert 0.15 < len(drawn["test"]) / num_things < 0.3
    for (
        question
    ) in quiz.kinds:  # the hard tier has the same things, but reads none of it
        query = shared(quiz.env_class, "default").oracle.read(question)
        assert query is not None
        for goals in drawn.values():
            assert any(query.mask >> goal & 1 for goal in goals), question


@each_quiz
def test_the_easy_tier_holds_out_combinations_of_seen_words(quiz: Quiz) -> None:
    goals: dict[str, set[int]] = {split: set() for split in SPLITS}
    combinations: dict[str, set[tuple[int, int]]] = {split: set() for split in SPLITS}
    for split, seed in itertools.product(SPLITS, range(500)):
        env = shared(quiz.env_class, "easy", split)
        env.reset(seed=seed)
        goals[split].add(env._goal)
        combinations[split].add((env._candidates, env._goal))
    assert goals["train"] == goals["test"] == set(range(quiz.num_things[1]))
    assert combinations["train"].isdisjoint(combinations["test"])
    for split, drawn in combinations.items():
        for listed, goal in drawn:
            places = [i for i in range(quiz.num_things[1]) if listed >> i & 1]
            assert ((sum(places) + goal) % 4 == 0) == (split == "test")


@pytest.mark.parametrize("split", SPLITS)
@each_quiz
def test_the_easy_tier_lists_its_things_with_the_goal_among_them(
    quiz: Quiz, split: str
) -> None:
    env = shared(quiz.env_class, "easy", split)
    num_listed = quiz.num_things[2]
    places = set()
    for seed in range(120):
        env.reset(seed=seed)
        message = env.conversation.last(Role.USER)
        assert message is not None
        words = message.content.rstrip(".!").split()
        listed = [word for word in words if word in env.oracle.names]
        assert len(listed) == num_listed
        places.add(listed.index(env.oracle.names[env._goal]))
    assert places == set(range(num_listed))  # its place tells nothing


@pytest.mark.parametrize("tier", TIERS)
@each_quiz
def test_no_phrasing_is_in_both_splits(quiz: Quiz, tier: str) -> None:
    heard: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split, seed in itertools.product(SPLITS, range(20)):
        env = shared(quiz.env_class, tier, split)
        env.reset(seed=seed)
        while not env.is_over:
            say(env, env.expert_reply())
        heard[split] |= {
            m.content for m in env.conversation if m.role is not Role.ASSISTANT
        }
    assert heard["train"].isdisjoint(heard["test"])


@pytest.mark.parametrize("tier", TIERS)
@each_quiz
def test_the_same_seed_is_the_same_episode(quiz: Quiz, tier: str) -> None:
    env, again = shared(quiz.env_class, tier), quiz.env_class(tier)
    one = [play(env, REPLIERS["expert"], seed) for seed in range(5)]
    play(env, REPLIERS["blind"], 99)
    other = [play(again, REPLIERS["expert"], seed) for seed in range(5)]
    assert one == other
    assert len({record.messages for record in one}) == 5


@pytest.mark.parametrize("tier", TIERS)
@each_quiz
def test_no_secret_is_told_before_the_end(quiz: Quiz, tier: str) -> None:
    # Two goals that answer alike are one episode to the agent, turn by turn.
    for seed in range(5):
        one, other = quiz.env_class(tier), quiz.env_class(tier)
        _, info = one.reset(seed=seed)
        _, other_info = other.reset(seed=seed)
        possible = [g for g in range(len(one.oracle.names)) if one._candidates >> g & 1]
        one._goal, other._goal = possible[0], possible[-1]
        np.testing.assert_equal(info, other_info)
        for text in ("hm", "", "What is it?", "who")[: one.max_turns - 1]:
            said = one.step(one.encode(text))
            heard = other.step(other.encode(text))
            np.testing.assert_equal(said[4], heard[4])
            assert (said[0]["input_ids"] == heard[0]["input_ids"]).all()


@pytest.mark.parametrize("tier", TIERS)
@each_quiz
def test_the_blind_policy_guesses_another_thing_each_turn(
    quiz: Quiz, tier: str
) -> None:
    env = shared(quiz.env_class, tier)
    guessed = []
    for record in play_many(env, REPLIERS["blind"], range(10)):
        replies = [m.content for m in record.messages if m.role is Role.ASSISTANT]
        assert len(set(replies)) == len(replies) == record.num_turns
        guessed.append(replies)
    longest = max(guessed, key=len)
    assert all(replies == longest[: len(replies)] for replies in guessed)
    queries = [env.oracle.read(reply) for reply in longest]
    assert all(query is not None and query.guess is not None for query in queries)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
@each_quiz
def test_blind_random_and_hostile_policies_earn_little(
    quiz: Quiz, tier: str, split: str
) -> None:
    env = shared(quiz.env_class, tier, split)
    best = -mean_cost(env, REPLIERS["expert"], 60)
    blind = play_many(env, REPLIERS["blind"], range(60))
    floor = sum(record.episode_return for record in blind) / 60
    assert best - floor > 1.0
    if tier != "easy":
        assert sum(record.success for record in blind) / 60 <= 0.2
    for name, replier in HOSTILE_REPLIERS.items():
        records = play_many(env, replier, range(20))  # no policy can earn less
        assert all(r.episode_return == -env.max_turns for r in records), name
    lucky = make_replier("random", np.random.default_rng(0))
    assert -mean_cost(env, lucky, 12) <= floor + 0.25 * (best - floor)


# What is said ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
@each_quiz
def test_every_part_of_a_held_out_phrasing_is_heard_in_training(
    quiz: Quiz, tier: str
) -> None:
    language = load_json(f"{quiz.module.__name__.rpartition('.')[2]}.json")
    spoken = (*language["openings"][tier].values(), *language["answers"][tier].values())
    for parts in spoken:
        texts = _combined(parts)
        assert texts["train"] and texts["test"]
        assert set(texts["train"]).isdisjoint(texts["test"])
        for place, part in enumerate(parts):
            assert {text for text in part if is_heard(parts, place, text)} == set(part)


def is_heard(parts: Sequence[Sequence[str]], place: int, text: str) -> bool:
    """Return whether `text` in its place is a part of something said in training."""
    trained = _combined(parts)["train"]
    choices = itertools.product(*parts)
    return any("".join(c) in trained for c in choices if c[place] == text)


@pytest.mark.parametrize("tier", TIERS)
@each_quiz
def test_what_is_said_never_changes_the_goal_and_other_phrases_leave_it(
    quiz: Quiz, tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = quiz.env_class(tier)
    goals = []
    for seed in range(20):
        env.reset(seed=seed)
        goals.append((env._goal, env._candidates))
    spoken = []

    def say_the_last(texts: Sequence[str]) -> str:
        for _ in range(100):  # many draws more
            env._phrase_draws.random()
        spoken.append(texts[-1])
        return texts[-1]

    monkeypatch.setattr(env, "_say", say_the_last)
    for seed in range(20):
        env.reset(seed=seed)
        assert goals[seed] == (env._goal, env._candidates)
    assert len(spoken) == 40


@pytest.mark.parametrize("tier", TIERS)
@each_quiz
def test_the_phrases_have_a_stream_of_their_own(quiz: Quiz, tier: str) -> None:
    env = shared(quiz.env_class, tier)
    rules = env._game.phrases.rules["train"]
    for seed in range(20):
        said = env._opening(np.random.default_rng(seed))[0].content
        _, draws = split_streams(np.random.default_rng(seed), 2)
        expected = rules[int(draws.random() * len(rules))]
        assert said == expected.format(turns=env.max_turns)
