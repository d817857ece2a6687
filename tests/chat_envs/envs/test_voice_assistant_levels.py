"""`VoiceAssistant`: asking when unsure is the optimum; what the blind and the hostile earn."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest

from chat_envs.core import SPLITS
from chat_envs.envs.voice_assistant import VoiceAssistant
from chat_envs.message import Role
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, play_many
from tests.chat_envs.envs.house import TIERS, Policy, interval, make, returns

POLICIES: dict[str, Policy] = {
    "expert": lambda env: env.expert_reply(),
    "always_ask": lambda env: env.always_ask_reply(),
    "never_ask": lambda env: env.never_ask_reply(),
    "blind": lambda env: env.blind_reply(),
    "omniscient": lambda env: omniscient(env),
}
NUM_EPISODES = 200
_TOKEN = re.compile(r"[a-zA-Z]+|[^a-zA-Z\s]")


def omniscient(env: VoiceAssistant) -> str:
    """Do what the user wants: no policy can earn more than who knows it."""
    if env._aside:
        return "<silence>"
    return env._butler.act(env._requests[env._num_served])


@functools.cache
def level(name: str, tier: str, split: str = "train", num: int = NUM_EPISODES) -> Any:
    """Return the returns of a policy, one an episode."""
    return returns(make(tier, split=split), POLICIES[name], range(num))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("other", ["always_ask", "never_ask"])
def test_asking_when_unsure_beats_asking_always_and_never(
    tier: str, other: str
) -> None:
    """The 95% interval of the difference, seed by seed, lies above zero."""
    low, _ = interval(level("expert", tier) - level(other, tier))
    assert low > 0.0


def test_the_claim_holds_on_held_out_goals_too() -> None:
    for other in ("always_ask", "never_ask"):
        gain = level("expert", "default", "test") - level(other, "default", "test")
        assert interval(gain)[0] > 0.0


@functools.cache
def threshold_level(tier: str, share: float, num: int = NUM_EPISODES) -> Any:
    env = make(tier)
    ask_below = share * env._tier.scale
    return returns(env, lambda env: env.threshold_reply(ask_below), range(num))


@pytest.mark.parametrize("tier", ["easy", "default"])
def test_no_other_threshold_is_better(tier: str) -> None:
    expert = level("expert", tier)
    env = make(tier)
    assert (
        threshold_level(tier, env._tier.ask_below / env._tier.scale) == expert
    ).all()
    for share in (0.0, 0.5, 0.95, 2.0):
        gain = expert - threshold_level(tier, share)
        assert interval(gain)[1] > 0.0
        # To act on all that can be read is worse, and so is to confirm all of it.
        assert gain.mean() > 0.0 or share not in (0.0, 2.0)


@pytest.mark.slow
@pytest.mark.parametrize("tier", TIERS)
def test_the_best_threshold_lies_inside(tier: str) -> None:
    """The claim of the three policies, with only the threshold to tell them apart."""
    best = make(tier)._tier
    expert = threshold_level(tier, best.ask_below / best.scale, 1500)
    for share in (0.0, 2.0):
        assert interval(expert - threshold_level(tier, share, 1500))[0] > 0.0


@pytest.mark.parametrize("tier", TIERS)
def test_the_expert_comes_close_to_who_knows_the_goal(tier: str) -> None:
    expert, best, blind = (level(n, tier) for n in ("expert", "omniscient", "blind"))
    share = (expert.mean() - blind.mean()) / (best.mean() - blind.mean())
    assert share >= (0.80 if tier == "hard" else 0.88)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_succeeds_and_the_blind_fail(tier: str, split: str) -> None:
    env = make(tier, split=split)
    expert = play_many(env, REPLIERS["expert"], range(200))
    blind = play_many(env, REPLIERS["blind"], range(200))
    assert sum(r.success for r in expert) / 200 >= (0.85 if tier == "hard" else 0.93)
    assert sum(r.success for r in blind) / 200 <= 0.15
    best = sum(r.episode_return for r in expert) / 200
    assert sum(r.episode_return for r in blind) / 200 <= 0.15 * best


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", sorted(HOSTILE_REPLIERS))
def test_hostile_repliers_earn_nothing(tier: str, name: str) -> None:
    env = make(tier)
    blind, expert = level("blind", tier).mean(), level("expert", tier).mean()
    hostile = returns(env, HOSTILE_REPLIERS[name], range(30))
    assert interval((hostile - blind) / (expert - blind))[1] <= 0.25


TRICKS: dict[str, Policy] = {
    "silence": lambda env: "<silence>",
    "ask for ever": lambda env: "please repeat .",
    "claim": lambda env: "done .",
    "every act": lambda env: "\n".join(env.candidate_replies()),
    "order by turn": lambda env: f"ACTION list order {['tea', 'milk'][env.turn % 2]} . ok .",
    "repeat the words as an act": lambda env: "ACTION "
    + env.conversation.last(Role.USER).content  # type: ignore[union-attr]
    + " . ok .",
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", sorted(TRICKS))
def test_tricks_win_less_than_the_expert(tier: str, name: str) -> None:
    """To act on the very words that were heard is no trick, but never to ask."""
    gain = level("expert", tier)[:80] - returns(make(tier), TRICKS[name], range(80))
    low, _ = interval(gain)
    assert low > (0.02 if "words" in name else 0.3)


def test_more_noise_costs_the_expert_more() -> None:
    means = [
        returns(
            make("default", word_error_rate=rate), POLICIES["expert"], range(80)
        ).mean()
        for rate in (0.0, 0.15, 0.4)
    ]
    assert means[0] > means[1] + 0.02 > means[2] + 0.04


def test_without_noise_nobody_need_ask() -> None:
    clean = [
        returns(
            make("default", word_error_rate=0.0), POLICIES[name], range(100)
        ).tolist()
        for name in ("expert", "never_ask", "omniscient")
    ]
    assert clean[0] == clean[1] == clean[2]


@pytest.mark.parametrize(
    ("tier", "typical", "most"), [("easy", 72, 116), ("default", 230, 384)]
)
@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(
    tier: str, typical: int, most: int, split: str
) -> None:
    """On a tokenizer that knows the words: a token each, and three for a role."""
    lengths, replies = [], []
    for record in play_many(make(tier, split=split), REPLIERS["expert"], range(60)):
        sizes = [len(_TOKEN.findall(m.content)) for m in record.messages]
        lengths.append(sum(sizes) + 3 * len(sizes))
        replies += [
            size
            for size, m in zip(sizes, record.messages, strict=True)
            if m.role is Role.ASSISTANT
        ]
    assert sorted(lengths)[30] <= typical
    assert max(lengths) <= most
    assert max(replies) <= 12
