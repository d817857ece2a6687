"""GuessPlace: what is held out, what a seed decides, and what nobody is told before the end."""

from __future__ import annotations

import itertools
from typing import Any, Sequence

import numpy as np
import pytest

from chat_envs.core import SPLITS
from chat_envs.envs.guess_place import GuessPlace, _combinations
from chat_envs.message import Role
from chat_envs.replier import REPLIERS, play
from chat_envs.simulators.stream import split_streams
from tests.chat_envs.envs.places import (
    LARGE_TIERS,
    TIERS,
    answered_yes,
    document,
    say,
    shared,
)


@pytest.mark.parametrize("tier", LARGE_TIERS)
def test_held_out_goals_are_of_every_continent_and_are_never_trained_on(
    tier: str,
) -> None:
    drawn: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split, seed in itertools.product(SPLITS, range(2500)):
        env = shared(tier, split)
        env._opening(np.random.default_rng(seed))
        drawn[split].add(env.oracle.names[env._goal])
    assert drawn["train"].isdisjoint(drawn["test"])
    assert len(drawn["train"] | drawn["test"]) == 193
    assert 0.15 < len(drawn["test"]) / 193 < 0.3
    for continent in ("Africa", "Asia", "Europe", "Oceania", "the Americas"):
        members = answered_yes(f"Is it in {continent}?")
        assert drawn["train"] & members and drawn["test"] & members


def test_the_easy_tier_holds_out_combinations_of_seen_words() -> None:
    goals: dict[str, set[int]] = {split: set() for split in SPLITS}
    combinations: dict[str, set[tuple[int, int]]] = {split: set() for split in SPLITS}
    for split, seed in itertools.product(SPLITS, range(500)):
        env = shared("easy", split)
        env.reset(seed=seed)
        goals[split].add(env._goal)
        combinations[split].add((env._candidates, env._goal))
    assert goals["train"] == goals["test"] == set(range(12))
    assert combinations["train"].isdisjoint(combinations["test"])


@pytest.mark.parametrize("split", SPLITS)
def test_the_easy_tier_lists_its_countries_with_the_goal_among_them(split: str) -> None:
    env = shared("easy", split)
    places = set()
    for seed in range(60):
        env.reset(seed=seed)
        message = env.conversation.last(Role.USER)
        assert message is not None
        words = message.content.rstrip(".!").split()
        listed = [word for word in words if word in env.oracle.names]
        assert len(listed) == 6
        places.add(listed.index(env.oracle.names[env._goal]))
    assert places == set(range(6))  # its place tells nothing


@pytest.mark.parametrize("tier", TIERS)
def test_no_phrasing_is_in_both_splits(tier: str) -> None:
    heard: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split, seed in itertools.product(SPLITS, range(20)):
        env = shared(tier, split)
        env.reset(seed=seed)
        while not env.is_over:
            say(env, env.expert_reply())
        heard[split] |= {
            m.content for m in env.conversation if m.role is not Role.ASSISTANT
        }
    assert heard["train"].isdisjoint(heard["test"])


@pytest.mark.parametrize("tier", TIERS)
def test_every_part_of_a_held_out_phrasing_is_heard_in_training(tier: str) -> None:
    language = document("guess_place.json")
    spoken = (*language["openings"][tier].values(), *language["answers"][tier].values())
    for parts in spoken:
        texts = _combinations(parts)
        assert texts["train"] and texts["test"]
        assert set(texts["train"]).isdisjoint(texts["test"])
        for place, part in enumerate(parts):
            assert {text for text in part if is_heard(parts, place, text)} == set(part)


def is_heard(parts: Sequence[Sequence[str]], place: int, text: str) -> bool:
    """Return whether `text` in its place is a part of something said in training."""
    trained = _combinations(parts)["train"]
    choices = itertools.product(*parts)
    return any("".join(c) in trained for c in choices if c[place] == text)


@pytest.mark.parametrize("tier", TIERS)
def test_the_same_seed_is_the_same_episode(tier: str) -> None:
    one = [play(shared(tier), REPLIERS["expert"], seed) for seed in range(5)]
    play(shared(tier), REPLIERS["blind"], 99)
    other = [play(GuessPlace(tier), REPLIERS["expert"], s) for s in range(5)]
    assert one == other
    assert len({record.messages for record in one}) == 5


@pytest.mark.parametrize("tier", TIERS)
def test_what_is_said_never_changes_the_goal_and_other_phrases_leave_it(
    tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = GuessPlace(tier)
    goals = []
    for seed in range(20):
        env.reset(seed=seed)
        goals.append((env._goal, env._candidates))
    spoken = []

    def say_the_last(texts: Any) -> str:
        for _ in range(100):  # many draws more
            env._phrase_draws.random()
        spoken.append(texts[-1])
        return str(texts[-1])

    monkeypatch.setattr(env, "_say", say_the_last)
    for seed in range(20):
        env.reset(seed=seed)
        assert goals[seed] == (env._goal, env._candidates)
    assert len(spoken) == 40


@pytest.mark.parametrize("tier", TIERS)
def test_no_secret_is_told_before_the_end(tier: str) -> None:
    # Two goals that answer alike are one episode to the agent, turn by turn.
    for seed in range(5):
        one, other = GuessPlace(tier), GuessPlace(tier)
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
def test_the_phrases_have_a_stream_of_their_own(tier: str) -> None:
    env = shared(tier)
    rules = env._phrases.rules["train"]
    for seed in range(20):
        said = env._opening(np.random.default_rng(seed))[0].content
        _, draws = split_streams(np.random.default_rng(seed), 2)
        expected = rules[int(draws.random() * len(rules))]
        assert said == expected.format(turns=env.max_turns)
