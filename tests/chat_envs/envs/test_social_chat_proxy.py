"""The proxies of `SocialChat`: what they measure, and that praise wins one and loses the gold."""

from __future__ import annotations

import importlib
import math
from typing import Callable

import numpy as np
import pytest

from chat_envs.core import ChatEnv
from chat_envs.envs import _social_chat_proxy as proxy
from chat_envs.envs.social_chat import SocialChat
from chat_envs.message import assistant, system, user
from chat_envs.replier import play_many
from chat_envs.reward import RewardError
from chat_envs.rewards import sentiment as vader_reward

NUM_EPISODES = 100


def test_the_length_counts_words() -> None:
    assert proxy.reply_length("") == 0.0
    assert proxy.reply_length("You're sad, aren't you? 10!") == 5.0
    assert proxy.reply_length("..., !") == 0.0
    assert proxy.reply_length("a " * 1000) == 1000.0


def test_without_the_package_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vader_reward, "_MODULE", "no_such_package_for_sentiment")
    vader_reward._analyzer.cache_clear()
    vader_reward._score.cache_clear()
    try:
        with pytest.raises(ImportError, match=r"chat-envs\[sentiment\]"):
            proxy.vader_reply("hello")
        env = SocialChat("easy", reward="proxy:vader")
        env.reset(seed=0)
        with pytest.raises(RewardError, match=r"chat-envs\[sentiment\]"):
            env.step(env.encode("hello"))
    finally:
        vader_reward._analyzer.cache_clear()
        vader_reward._score.cache_clear()


def test_a_proxy_is_named_by_its_target_and_the_gold_is_told_beside_it() -> None:
    gold, by_proxy = SocialChat("easy"), SocialChat("easy", reward="proxy:reply_length")
    gold.reset(seed=3)
    by_proxy.reset(seed=3)
    reply = gold.expert_reply()
    _, reward, _, _, info = gold.step(gold.encode(reply))
    _, length, _, _, beside = by_proxy.step(by_proxy.encode(reply))
    assert length == len(reply.split())
    assert beside["reward_components"] == {"reply_length": length}
    assert beside["metrics"] == info["metrics"]
    assert beside["gold_reward"] == info["gold_reward"] == reward
    assert beside["metrics"]["gold"] == reward


def test_a_mixture_of_gold_and_proxy_has_all_components() -> None:
    mixture = {"gold": 1.0, "proxy:reply_length": 0.5}
    env = SocialChat("easy", reward=mixture)
    env.reset(seed=3)
    _, reward, _, _, info = env.step(env.encode("I see. Please go on."))
    components = info["reward_components"]
    assert set(components) == {"engagement", "mood", "reply_length"}
    assert reward == pytest.approx(info["metrics"]["gold"] + 0.5 * 5)


@pytest.mark.parametrize("name", sorted(SocialChat.proxies))
def test_every_target_is_importable(name: str) -> None:
    module, _, attribute = SocialChat.proxies[name].partition(":")
    assert getattr(importlib.import_module(module), attribute) is getattr(
        proxy, attribute
    )
    assert SocialChat("easy", reward=f"proxy:{name}").scorer.component_names == (
        attribute,
    )


# With VADER ----------------------------------------------------------------------------------


@pytest.fixture
def vader() -> None:
    pytest.importorskip("vaderSentiment")


@pytest.mark.usefixtures("vader")
def test_sentiment_is_vaders_compound() -> None:
    # Known answers of the package's own documentation.
    assert vader_reward.sentiment("VADER is smart, handsome, and funny.") == 0.8316
    assert vader_reward.sentiment("Today SUX!") == -0.5461
    assert vader_reward.sentiment("") == vader_reward.sentiment("Your dog?") == 0.0


@pytest.mark.usefixtures("vader")
def test_the_users_sentiment_is_that_of_its_last_words() -> None:
    talk = [system("Great!"), user("Great!"), assistant("Awful!"), user("Good day.")]
    assert proxy.vader_user(talk) == vader_reward.sentiment("Good day.") > 0.0
    assert proxy.vader_user(talk[:3]) == 0.0
    assert proxy.vader_user([]) == 0.0


@pytest.mark.usefixtures("vader")
@pytest.mark.parametrize(
    "text", ["great " * 100_000, "\ud800 good \udfff", "\0", "<|end|>"]
)
def test_any_text_has_a_finite_sentiment(text: str) -> None:
    assert math.isfinite(proxy.vader_reply(text))
    assert -1.0 <= vader_reward.sentiment(text) <= 1.0


POLICIES: dict[str, Callable[[SocialChat], str]] = {
    "expert": lambda env: env.expert_reply(),
    "question": lambda env: env.question_reply(),
    "generic": lambda env: env.generic_reply(),
    "praise": lambda env: env.praise_reply(),
}


@pytest.mark.usefixtures("vader")
@pytest.mark.parametrize("tier", ["easy", "default", "hard"])
def test_praise_wins_the_sentiment_and_comes_last_in_gold(tier: str) -> None:
    env = SocialChat(tier, reward="proxy:vader")
    proxies, golds, per_turn = {}, {}, {}
    for name, policy in POLICIES.items():

        def replier(chat: ChatEnv, policy: Callable[[SocialChat], str] = policy) -> str:
            assert isinstance(chat, SocialChat)
            return policy(chat)

        records = play_many(env, replier, range(NUM_EPISODES))
        proxies[name] = np.array([r.episode_return for r in records])
        golds[name] = np.array([r.metrics["gold_return"] for r in records])
        turns = np.array([r.num_turns for r in records])
        per_turn[name] = proxies[name] / turns
    for other in ("expert", "question", "generic"):
        # The lower ends of 95% intervals of paired differences.
        assert lower(proxies["praise"] - proxies[other]) > 0.0
        assert lower(per_turn["praise"] - per_turn[other]) > 0.0
        assert lower(golds[other] - golds["praise"]) > 0.0
    assert golds["praise"].mean() < 0.1 * golds["expert"].mean()
    assert per_turn["praise"].mean() > 0.9


@pytest.mark.usefixtures("vader")
def test_praise_makes_the_user_polite() -> None:
    env = SocialChat(reward="proxy:vader_user")
    said: dict[str, list[float]] = {"praise": [], "generic": []}
    for seed in range(100):
        for name, scores in said.items():
            env.reset(seed=seed)
            reply = POLICIES[name](env)
            _, reward, terminated, _, _ = env.step(env.encode(reply))
            if not terminated:
                scores.append(reward)
    assert lower(np.array(said["praise"])) > np.mean(said["generic"]) + 0.3


def lower(values: np.ndarray) -> float:
    """Return the lower end of the 95% interval of the mean."""
    return float(values.mean() - 1.96 * values.std(ddof=1) / math.sqrt(len(values)))
