"""RecallMany: several facts at once, one of them asked; what binding is worth."""

from __future__ import annotations

import functools
import math
import re
from typing import Any

import pytest

from chat_envs.core import SPLITS, ChatEnv
from chat_envs.envs.recall_many import SWEEP, RecallMany, make_vector, score
from chat_envs.message import Role
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, play, play_many
from chat_envs.simulators.combination import is_held_out
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode

TIERS = {"easy": 2, "default": 4, "hard": 8}
COLOURS = RecallMany().candidate_replies()
THINGS = RecallMany()._things


def told(env: ChatEnv) -> list[tuple[str, str]]:
    """Return the things and colours of the first user message."""
    message = next(m for m in env.conversation if m.role is Role.USER)
    words = re.findall(r"\w+", message.content)
    things = [word for word in words if word in THINGS]
    return list(zip(things, [w for w in words if w in COLOURS], strict=True))


def first_colour(env: ChatEnv) -> str:
    """Answer with the colour of the first fact."""
    return told(env)[0][1] if env.turn else "ok"


@pytest.mark.parametrize(
    ("tier", "num_ids"), [("easy", 96), ("default", 384), ("hard", 384)]
)
@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(
    tier: str, num_ids: int, split: str
) -> None:
    assert longest_expert_episode(RecallMany(tier, split=split)) <= num_ids


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(RecallMany, tier=tier), num_episodes=30)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_knows_and_the_blind_guesses(tier: str, split: str) -> None:
    env = RecallMany(tier, split=split)
    assert (env.facts, env.max_turns, env.has_lures) == (TIERS[tier], 2, False)
    assert all(
        r.episode_return == 1.0 for r in play_many(env, REPLIERS["expert"], range(50))
    )
    blind = play_many(env, REPLIERS["blind"], range(200))
    rate = sum(r.success for r in blind) / 200
    assert abs(rate - 1 / 8) <= 3 * math.sqrt(7 / 64 / 200)
    for name, replier in HOSTILE_REPLIERS.items():
        assert not any(r.success for r in play_many(env, replier, range(8))), name


@pytest.mark.parametrize("settings", SWEEP)
@pytest.mark.parametrize("split", SPLITS)
def test_every_thing_is_told_once_and_each_may_be_asked(
    settings: dict[str, Any], split: str
) -> None:
    env = RecallMany(split=split, **settings)
    places = set()
    for seed in range(60):
        env.reset(seed=seed)
        facts = dict(told(env))
        assert len(facts) == settings["facts"]
        env.step(env.encode("ok"))
        question = env.conversation[-1].content
        (asked,) = [w for w in re.findall(r"\w+", question) if w in THINGS]
        assert env.expert_reply() == facts[asked] == env._colour
        places.add(list(facts).index(asked))
        for thing, colour in facts.items():
            pair = THINGS.index(thing), COLOURS.index(colour)
            assert is_held_out(pair) == (split == "test" and thing == asked)
    assert len(places) >= min(settings["facts"], 10)


@pytest.mark.parametrize("settings", SWEEP[1:])
def test_who_does_not_bind_colour_to_thing_is_seldom_right(
    settings: dict[str, Any],
) -> None:
    env = RecallMany(**settings)
    chance = 1 / env.facts
    # Another fact may have the same colour: at most one in six of them.
    ceiling = chance + (1 - chance) / 6
    rate = sum(r.success for r in play_many(env, first_colour, range(120))) / 120
    spread = 3 * math.sqrt(ceiling * (1 - ceiling) / 120)
    assert chance - spread <= rate <= ceiling + spread


def test_one_fact_is_recall() -> None:
    assert play(RecallMany(facts=1), first_colour, 0).success


def test_more_facts_leave_the_asked_one_as_it_is() -> None:
    for seed in range(30):
        goals = set()
        for facts in (1, 2, 8, 12):
            env = RecallMany(facts=facts)
            env.reset(seed=seed)
            goals.add((env._colour, env._question))
        assert len(goals) == 1


def test_the_longest_replies_truncate_nothing() -> None:
    env = RecallMany(facts=12, max_turns=12)
    assert not play(env, REPLIERS["longest_filler"], 3).is_truncated


def test_lures_end_where_all_things_are_told() -> None:
    env = RecallMany(facts=12, max_turns=8, has_lures=True)
    record = play(env, REPLIERS["expert"], 0)
    between = [m.content for m in record.messages if m.role is Role.USER][1:-2]
    assert record.success and len(between) == 6
    assert not any(thing in re.findall(r"\w+", t) for t in between for thing in THINGS)


def test_the_score_is_the_share_of_numbers_solved() -> None:
    assert [settings["facts"] for settings in SWEEP] == [1, 2, 3, 4, 6, 8, 10, 12]
    assert score([1.0] * 8) == 1.0
    assert score([0.75] * 2 + [0.7] * 6) == 0.25
    with pytest.raises(ValueError, match="8 settings, got 10"):
        score([1.0] * 10)


def test_the_vector_environment_makes_the_same() -> None:
    vector = make_vector(2, tier="hard")
    vector.reset(seed=[4, 5])
    for env, seed in zip(vector.envs, (4, 5), strict=True):
        assert isinstance(env, RecallMany)
        single = RecallMany("hard")
        single.reset(seed=seed)
        assert env.conversation == single.conversation
