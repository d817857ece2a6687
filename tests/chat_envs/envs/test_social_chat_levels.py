"""`SocialChat`: what scripted policies, tricksters and the hostile reach, within which bounds."""

from __future__ import annotations

import functools
import math
from typing import Callable

import numpy as np
import numpy.typing as npt
import pytest

from chat_envs.core import SPLITS, ChatEnv
from chat_envs.envs._social_chat_partner import TIERS, Partner
from chat_envs.envs.social_chat import SocialChat
from chat_envs.replier import HOSTILE_REPLIERS, make_replier, play_many
from chat_envs.simulators.affect import (
    ReplyFeatures,
    draw_noise,
    engagement_reward,
    fade,
    leave_probability,
    mood_reward,
    update,
)
from chat_envs.simulators.stream import split_streams

Values = npt.NDArray[np.float64]


def own(name: str) -> Callable[[ChatEnv], str]:
    """Return the environment's scripted policy `name` as a replier."""

    def replier(env: ChatEnv) -> str:
        reply: str = getattr(env, f"{name}_reply")()
        return reply

    return replier


@functools.cache
def returns(tier: str, name: str, split: str = "train", num: int = 150) -> Values:
    replier = own(name)
    records = play_many(SocialChat(tier, split=split), replier, range(num))
    return np.array([record.episode_return for record in records])


def interval(values: Values) -> tuple[float, float]:
    """Return the 95% interval of the mean."""
    spread = 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - spread, float(values.mean()) + spread


@functools.cache
def bound(tier: str, features: ReplyFeatures, num: int = 600) -> float:
    """Return the mean return of who could choose the features of each reply.

    Every term raises e' and m' or neither, and both raise all that follows, so that the best
    features earn the most. Interest fades by each turn on a topic; with the best of features the
    user is on a fresh one as often as can be.
    """
    settings = TIERS[tier]
    total = 0.0
    for seed in range(num):
        streams = split_streams(np.random.default_rng(seed), 4)
        partner = Partner(settings, "train", *streams)
        rng = streams[1]
        affect = partner.affect
        interests = [topic.interest for topic in partner.topics]
        for _ in range(settings.max_turns):
            best = max(range(len(interests)), key=interests.__getitem__)
            question = features.question * interests[best]
            interests[best] = fade(interests[best])
            before, affect = affect, update(
                affect,
                features._replace(question=question),
                draw_noise(rng),
                draw_noise(rng),
            )
            total += engagement_reward(affect) + mood_reward(before, affect)
            if rng.random() < leave_probability(affect.engagement):
                break
    return total / num


def best(tier: str) -> float:
    return bound(tier, ReplyFeatures(question=1.0, validation=1.0, relevance=1.0))


def worst(tier: str) -> float:
    return bound(tier, ReplyFeatures(repetition=1.0, num_words=0, toxicity=1.0))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("tier", TIERS)
def test_expert_questions_generic_and_praise_come_in_this_order(
    tier: str, split: str
) -> None:
    names = ("expert", "question", "generic", "praise")
    for better, worse in zip(names, names[1:]):
        gap = returns(tier, better, split) - returns(tier, worse, split)
        assert interval(gap)[0] > 0.0, (better, worse)


@pytest.mark.parametrize("tier", TIERS)
def test_praise_earns_near_zero(tier: str) -> None:
    low, high = returns(tier, "blind").mean(), returns(tier, "expert").mean()
    scores = (returns(tier, "praise") - low) / (high - low)
    assert interval(scores)[1] < 0.05


@pytest.mark.parametrize("tier", TIERS)
def test_the_expert_is_near_the_bound_and_the_blind_near_the_floor(tier: str) -> None:
    low, high = worst(tier), best(tier)
    expert = (returns(tier, "expert") - low) / (high - low)
    blind = (returns(tier, "blind") - low) / (high - low)
    assert expert.mean() >= 0.9
    assert expert.mean() <= 1.05
    assert blind.mean() <= 0.15


@pytest.mark.parametrize("tier", TIERS)
def test_held_out_goals_are_as_hard_for_the_expert(tier: str) -> None:
    gap = returns(tier, "expert") - returns(tier, "expert", "test")
    assert abs(gap.mean()) < 4 * float(gap.std(ddof=1)) / math.sqrt(len(gap)) + 0.02


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", [*HOSTILE_REPLIERS, "random"])
def test_the_hostile_and_the_random_earn_nothing(tier: str, name: str) -> None:
    env = SocialChat(tier)
    low, high = returns(tier, "blind").mean(), returns(tier, "expert").mean()
    replier = make_replier(name, np.random.default_rng(1))
    paid = np.array([r.episode_return for r in play_many(env, replier, range(40))])
    assert interval((paid - low) / (high - low))[1] <= 0.25


TRICKS: dict[str, Callable[[SocialChat], str]] = {
    "all emotions": lambda env: " ".join(env.candidate_replies()[:8]),
    "all things": lambda env: " ".join(env.candidate_replies()[-8:]),
    "ask about it": lambda env: "How is it? Where is it? Why?",
    "the user as a question": lambda env: env.conversation[-1].content.rstrip(".")
    + "?",
    "one emotion for ever": lambda env: "You sound sad.",
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", sorted(TRICKS))
def test_tricks_earn_at_most_half_of_what_an_honest_reply_earns(
    tier: str, name: str
) -> None:
    def replier(env: ChatEnv) -> str:
        assert isinstance(env, SocialChat)
        return TRICKS[name](env)

    records = play_many(SocialChat(tier), replier, range(40))
    paid = np.array([record.episode_return for record in records])
    low, high = returns(tier, "blind").mean(), returns(tier, "expert").mean()
    assert interval((paid - low) / (high - low))[1] <= 0.5
