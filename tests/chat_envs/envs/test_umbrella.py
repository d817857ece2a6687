"""Umbrella: only the first reply counts, the last turn pays, noise is nobody's doing."""

from __future__ import annotations

import functools
import math
import re
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs.umbrella import SWEEP, Umbrella, make_vector, score
from chat_envs.message import Role
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, play, play_many
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode

TIERS = {"easy": (2, 0, 0.0), "default": (6, 1, 0.25), "hard": (12, 4, 0.25)}
THINGS = Umbrella().candidate_replies()
WEATHER = list(Umbrella()._needs)


def begin(env: Umbrella, seed: int) -> tuple[str, str]:
    """Start an episode; return its weather and what the user said."""
    env.reset(seed=seed)
    said = env.conversation[-1].content
    (weather,) = [w for w in re.findall(r"\w+", said) if w in WEATHER]
    return weather, said


@pytest.mark.parametrize(
    ("tier", "num_ids"), [("easy", 96), ("default", 384), ("hard", 384)]
)
@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(
    tier: str, num_ids: int, split: str
) -> None:
    assert longest_expert_episode(Umbrella(tier, split=split)) <= num_ids


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(Umbrella, tier=tier), num_episodes=40)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_packs_and_the_blind_guesses(tier: str, split: str) -> None:
    env = Umbrella(tier, split=split)
    assert (env.max_turns, env.distractors, env.reward_noise) == TIERS[tier]
    for record in play_many(env, REPLIERS["expert"], range(40)):
        assert record.success and record.components["task"] == 1.0
        assert record.num_turns == env.max_turns
        assert record.termination_reason == "right"
    blind = play_many(env, REPLIERS["blind"], range(160))
    rate = sum(r.success for r in blind) / 160
    assert abs(rate - 1 / 8) <= 3 * math.sqrt(7 / 64 / 160)
    for name, replier in HOSTILE_REPLIERS.items():
        records = play_many(env, replier, range(6))
        assert not any(r.success for r in records), name
        assert all(r.components["task"] == -1.0 for r in records)


@pytest.mark.parametrize("settings", SWEEP)
def test_the_sweep_has_its_turns_and_remarks(settings: dict[str, Any]) -> None:
    env = Umbrella(**settings)
    weather, said = begin(env, 1)
    assert said.count(".") >= settings["distractors"] + 1
    assert play(env, REPLIERS["expert"], 1).success
    filler = play(env, REPLIERS["longest_filler"], 1)
    assert not filler.is_truncated
    assert filler.num_turns == settings["max_turns"]


THINGS_OR_NOT = st.sampled_from([*THINGS, "ok", "", "not read at all"])


@given(st.integers(0, 50), st.lists(THINGS_OR_NOT, min_size=6, max_size=6))
def test_success_depends_on_the_first_reply_alone(
    seed: int, replies: list[str]
) -> None:
    env = _default()
    weather, _ = begin(env, seed)
    for turn, reply in enumerate(replies, 1):
        _, _, terminated, _, info = env.step(env.encode(reply))
        assert terminated == (turn == 6)
        if not terminated:
            assert info["success"] is False
            assert info["reward_components"]["task"] == 0.0
    is_right = replies[0] == env._needs[weather]
    assert info["success"] is is_right
    assert info["reward_components"] == {"task": 2.0 * is_right - 1.0, "noise": 0.0}
    assert info["termination_reason"] == ("right" if is_right else "wrong")


@functools.cache
def _default() -> Umbrella:
    return Umbrella()


def test_nothing_tells_before_the_end_whether_it_was_right() -> None:
    env = Umbrella()
    for seed in range(20):
        heard = []
        for first in THINGS:
            begin(env, seed)
            seen = []
            for reply in (first, "ok", "ok", "ok", "ok"):
                reward, info = env.step(env.encode(reply))[1::3]
                seen.append((env.conversation[-1].content, reward, info["metrics"]))
            heard.append(seen)
        assert all(seen == heard[0] for seen in heard)
        told = {w for text, _, _ in heard[0] for w in re.findall(r"\w+", text)}
        assert not told & set(THINGS)


def test_the_end_names_what_was_needed() -> None:
    env = Umbrella("easy")
    weather, _ = begin(env, 0)
    env.step(env.encode("hm"))
    assert env.conversation[-1].content.startswith("Sorry, I did not get that. ")
    assert env.step(env.encode("ok"))[1] == -1.0
    assert env.conversation[-1].content == f"No, I need the {env._needs[weather]}."
    begin(env, 0)
    env.step(env.encode(env.expert_reply()))
    assert "Sorry" not in env.conversation[-1].content
    assert env.step(env.encode("ok"))[1] == 1.0
    assert env.conversation[-1].content == "Yes."


def test_one_turn_pays_at_once() -> None:
    env = Umbrella(max_turns=1)
    begin(env, 2)
    assert env.step(env.encode(env.expert_reply()))[1:4] == (1.0, True, False)
    begin(env, 2)
    assert env.step(env.encode("hm"))[1:4] == (-1.0, True, False)
    assert env.conversation[-1].content.startswith("Sorry, I did not get that. No")


def test_noise_is_plus_or_minus_its_size_in_all_turns_but_the_last() -> None:
    env = Umbrella("hard", reward_noise=0.5)
    noise = []
    for seed in range(40):
        begin(env, seed)
        for turn in range(12):
            info = env.step(env.encode("ok"))[4]
            value = info["reward_components"]["noise"]
            assert abs(value) == (0.5 if turn < 11 else 0.0)
            noise.append(value)
    assert abs(statistics.fmean(noise)) <= 3 * 0.5 / math.sqrt(440)


def test_noise_length_and_remarks_leave_the_goal() -> None:
    for seed in range(30):
        goals, texts = set(), set()
        for kwargs in (
            {"reward_noise": 0.0},
            {"reward_noise": 3.0},
            {"max_turns": 12, "reward_noise": 1.0},
        ):
            weather, said = begin(Umbrella(**kwargs), seed)
            goals.add(weather)
            texts.add(said)
        assert len(texts) == 1
        goals.add(begin(Umbrella(distractors=9), seed)[0])
        assert len(goals) == 1


def test_the_forecast_stands_anywhere_among_the_remarks() -> None:
    env = Umbrella(distractors=4)
    places = set()
    for seed in range(80):
        weather, said = begin(env, seed)
        rest = re.sub(r"^(Hello|Hi|Well)\. ", "", said)
        sentences = [re.findall(r"\w+", s) for s in rest.split(". ")]
        (place,) = [i for i, words in enumerate(sentences) if weather in words]
        places.add(place)
    assert places == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    "reply",
    [
        "{}",
        "The {}.",
        "Take the {}!",
        "Please bring your {}",
        "Pack a {}",
        "I'd say no {}",
        "You need the {}.",
        "It's the {}",
        "take {} with you",
    ],
)
def test_listed_ways_of_packing_are_read(reply: str) -> None:
    env = Umbrella(max_turns=1)
    begin(env, 1)
    is_listed = "say no" not in reply
    text = reply.format(env.expert_reply().upper())
    env.turn = 1
    assert env._respond(text).success == is_listed


def test_two_things_are_none() -> None:
    env = Umbrella(max_turns=1)
    begin(env, 1)
    assert env.step(env.encode(f"{env.expert_reply()} hat hat"))[1] == -1.0


def test_held_out_are_combinations_and_no_words() -> None:
    heard: dict[str, set[tuple[str, str]]] = {}
    for split in SPLITS:
        env = Umbrella("easy", split=split)
        heard[split] = {begin(env, seed) for seed in range(900)}
    assert heard["train"].isdisjoint(heard["test"])
    assert (len(heard["train"]), len(heard["test"])) == (96, 32)
    words = [{w for _, said in heard[s] for w in said.split()} for s in SPLITS]
    assert words[0] == words[1]
    for pairs in heard.values():
        counts = [[w for w, _ in pairs].count(weather) for weather in WEATHER]
        assert set(counts) == {len(pairs) // 8}


def test_remarks_are_of_neither_weather_nor_things() -> None:
    data = Umbrella()._data
    for text in (*data["remarks"], *data["beginnings"]):
        assert not set(re.findall(r"\w+", text.lower())) & {*THINGS, *WEATHER}
    assert len(set(THINGS)) == 8


def test_the_score_is_the_share_solved() -> None:
    assert len(SWEEP) == 11
    assert score([1.0] * 11) == 1.0
    assert score([0.75] + [0.74] * 10) == pytest.approx(1 / 11)
    with pytest.raises(ValueError, match="11 settings, got 1"):
        score([1.0])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tier": "medium"}, "tier must be one of"),
        ({"distractors": -1}, "distractors must be at least 0"),
        ({"reward_noise": -1.0}, "reward_noise must be"),
        ({"reward_noise": math.nan}, "reward_noise must be"),
        ({"max_turns": 0}, "max_turns must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Umbrella(**kwargs)


def test_the_vector_environment_says_the_same() -> None:
    vector = make_vector(2, tier="hard")
    vector.reset(seed=[4, 5])
    for env, seed in zip(vector.envs, (4, 5), strict=True):
        single = Umbrella("hard")
        single.reset(seed=seed)
        assert env.conversation == single.conversation
        assert env.conversation.last(Role.ASSISTANT) is None
