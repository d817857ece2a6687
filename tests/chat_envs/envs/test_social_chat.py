"""`SocialChat`: contract, levels and their order, bounds, known episodes, streams, secrets."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs._social_chat_language import data
from chat_envs.envs._social_chat_partner import TIERS, Partner
from chat_envs.envs.social_chat import SocialChat
from chat_envs.message import Role
from chat_envs.replier import REPLIERS, play, play_many
from chat_envs.simulators.stream import split_streams
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode

EMOTIONS = {name for names in data()["emotions"].values() for name in names}


# Contract ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(SocialChat, tier=tier), num_episodes=30)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_no_long_replies_truncate_an_episode(tier: str, split: str) -> None:
    env = SocialChat(tier, split=split)
    reply = np.full(env.reply_length, env.encode("a")[0], dtype=np.int64)
    for seed in range(100):
        env.reset(seed=seed)
        is_over = False
        while not is_over:
            env._partner.affect = env._partner.affect._replace(engagement=1.0)
            expert = env.encode(env.expert_reply())
            num_ids = int(np.flatnonzero(expert == min(env.template.stop_ids))[0])
            padded = reply.copy()
            padded[:num_ids] = expert[:num_ids]
            _, _, terminated, truncated, _ = env.step(padded)
            assert not truncated
            is_over = terminated


@pytest.mark.parametrize("tier", TIERS)
def test_the_tiers_are_as_told(tier: str) -> None:
    env = SocialChat(tier)
    env.reset(seed=0)
    assert env.max_turns == {"easy": 4, "default": 8, "hard": 8}[tier]
    assert f"{env.max_turns} turns" in env.conversation[0].content
    assert len(env._words.things) == 12
    assert len(env._words.emotions) == {"easy": 6}.get(tier, 8)


def test_an_unknown_tier_is_refused() -> None:
    with pytest.raises(ValueError, match="tier must be one of"):
        SocialChat("medium")


@pytest.mark.parametrize("tier", TIERS)
def test_a_small_model_has_room_for_an_experts_reply(tier: str) -> None:
    env = SocialChat(tier)
    assert longest_expert_episode(env) <= env.context_length
    for seed in range(60):
        env.reset(seed=seed)
        assert len(env.tokenizer.encode(env.expert_reply())) < 24


# Episodes ------------------------------------------------------------------------------------


def test_the_reward_follows_from_the_affect_of_each_turn() -> None:
    env = SocialChat()
    for seed in range(20):
        env.reset(seed=seed)
        total, is_over = 0.0, False
        while not is_over:
            before = env._partner.affect
            reply = (env.expert_reply(), "I see.", "You idiot!")[env.turn % 3]
            _, reward, is_over, _, info = env.step(env.encode(reply))
            after = env._partner.affect
            total += reward
            gold = 0.5 * (after.engagement + after.mood - before.mood)
            assert reward == pytest.approx(gold)
            assert info["reward_components"] == {
                "engagement": pytest.approx(0.5 * after.engagement),
                "mood": pytest.approx(0.5 * (after.mood - before.mood)),
            }
            assert info["metrics"]["gold"] == pytest.approx(reward)
            assert info["metrics"]["gold_return"] == pytest.approx(total)
            assert abs(reward - sum(info["reward_components"].values())) < 1e-12


def test_metrics_count_what_the_replies_did() -> None:
    env = SocialChat("easy")
    env.reset(seed=0)
    env._partner.affect = env._partner.affect._replace(engagement=1.0)
    metrics = env.step(env.encode(env.expert_reply()))[4]["metrics"]
    assert (metrics["questions"], metrics["validations"]) == (1.0, 1.0)
    assert (metrics["relevance"], metrics["repetition"]) == (1.0, 0.0)
    metrics = env.step(env.encode("I see. Please go on."))[4]["metrics"]
    assert (metrics["questions"], metrics["validations"]) == (1.0, 1.0)
    assert (metrics["relevance"], metrics["repetition"]) == (0.5, 0.0)
    metrics = env.step(env.encode("Please, I see. Go on."))[4]["metrics"]
    assert metrics["repetition"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("tier", TIERS)
def test_who_stays_to_the_end_is_a_success_and_who_leaves_is_none(tier: str) -> None:
    reasons = set()
    for name in ("expert", "blind"):
        for record in play_many(SocialChat(tier), REPLIERS[name], range(60)):
            reasons.add(record.termination_reason)
            stayed = record.termination_reason == "turn_limit"
            assert record.success == stayed
            assert not record.is_truncated
            assert stayed <= (record.num_turns == TIERS[tier].max_turns)
            farewells = data()["tiers"][TIERS[tier].language]["farewells"]
            assert record.messages[-1].content == farewells["end" if stayed else "left"]
    assert reasons == {"left", "turn_limit"}


def test_a_user_who_leaves_in_the_last_turn_is_no_success() -> None:
    env = SocialChat("easy", max_turns=1)
    found = set()
    for seed in range(60):
        env.reset(seed=seed)
        info = env.step(env.encode("a"))[4]
        found.add((info["termination_reason"], info["success"]))
    assert found == {("left", False), ("turn_limit", True)}


# In "easy" the engagement begins near .1 and the best reply lifts it to .44: one in six leaves.
@pytest.mark.parametrize(
    ("tier", "least"), [("easy", 0.7), ("default", 0.8), ("hard", 0.8)]
)
def test_the_expert_keeps_most_users(tier: str, least: float) -> None:
    records = play_many(SocialChat(tier), REPLIERS["expert"], range(120))
    assert np.mean([record.success for record in records]) > least


def test_the_expert_knows_the_conversation_alone() -> None:
    env, other = SocialChat("hard"), SocialChat("hard")
    for seed in range(20):
        env.reset(seed=seed)
        other.reset(seed=seed + 1)
        is_over = False
        while not is_over:
            other.conversation = env.conversation
            reply = other.expert_reply()
            assert reply == env.expert_reply()
            is_over = env.step(env.encode(reply))[2]


# Streams and secrets -------------------------------------------------------------------------


def test_the_goal_does_not_depend_on_what_is_said() -> None:
    one, other = SocialChat("hard"), SocialChat("hard")
    for seed in range(20):
        play(one, REPLIERS["expert"], seed)
        play(other, REPLIERS["praise"], seed)
        for mine, theirs in zip(one._partner.topics, other._partner.topics):
            assert (mine.thing, mine.emotion) == (theirs.thing, theirs.emotion)
            assert mine.facts == theirs.facts


def test_noise_and_phrases_leave_the_goal_as_it_is() -> None:
    for seed in range(20):
        streams = split_streams(np.random.default_rng(seed), 4)
        others = split_streams(np.random.default_rng(seed + 100), 4)
        one = Partner(TIERS["hard"], "train", *streams)
        goal, *_ = split_streams(np.random.default_rng(seed), 4)
        other = Partner(TIERS["hard"], "train", goal, *others[1:])
        assert one.affect == other.affect
        assert one.topics == other.topics


def test_the_noise_of_a_seed_does_not_depend_on_the_reply() -> None:
    for seed in range(20):
        moves = []
        for first in ("I see.", "I see what you mean."):
            env = SocialChat()
            env.reset(seed=seed)
            before = env._partner.affect
            env.step(env.encode(first))
            moves.append(env._partner.affect.mood - before.mood)
        assert moves[0] == pytest.approx(moves[1], abs=1e-12)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_no_emotion_and_no_untold_thing_is_seen_before_the_user_shows_it(
    tier: str, split: str
) -> None:
    env = SocialChat(tier, split=split)
    read = env._words.reader.words
    for seed in range(60):
        observation, info = env.reset(seed=seed)
        is_over = False
        while not is_over:
            texts = [
                m.content for m in env.conversation if m.role is not Role.ASSISTANT
            ]
            seen = {word for text in texts for word in read(text)}
            assert EMOTIONS.isdisjoint(seen)
            untold = [t for t in env._partner.topics if t not in env._partner.mentioned]
            assert seen.isdisjoint({topic.thing for topic in untold})
            ids = observation["input_ids"][: observation["attention_mask"].sum()]
            assert set(info["metrics"]) == set(env.metric_names)
            assert len(ids) == len(env.context)
            step = env.step(env.encode("I see. Please go on."))
            observation, is_over, info = step[0], step[2], step[4]


def test_the_same_seed_is_the_same_episode_and_another_is_not() -> None:
    records = [play(SocialChat(), REPLIERS["expert"], seed) for seed in (5, 5, 6)]
    assert records[0] == records[1]
    assert records[0].messages != records[2].messages


def test_splits_share_no_opening() -> None:
    heard: dict[str, set[str]] = {}
    for split in SPLITS:
        env = SocialChat(split=split)
        heard[split] = set()
        for seed in range(200):
            env.reset(seed=seed)
            heard[split] |= {message.content for message in env.conversation}
    assert heard["train"].isdisjoint(heard["test"])


@pytest.mark.parametrize("tier", TIERS)
@given(texts=st.lists(st.text(max_size=60), max_size=8), seed=st.integers(0, 10_000))
def test_any_replies_give_a_bounded_return(
    tier: str, texts: list[str], seed: int
) -> None:
    env = _env(tier)
    env.reset(seed=seed)
    total = 0.0
    for text in texts:
        if env.is_over:
            break
        info: dict[str, Any]
        _, reward, _, _, info = env.step(env.encode(text))
        total += reward
        assert -1.0 <= reward <= 1.5
        assert math.isfinite(reward)
    assert -1.0 <= total <= 0.5 * env.max_turns + 1.0


@functools.cache
def _env(tier: str) -> SocialChat:
    return SocialChat(tier)
