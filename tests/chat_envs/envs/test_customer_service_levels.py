"""`CustomerService`: what experts, careless clerks and tricksters reach."""

from __future__ import annotations

import numpy as np
import pytest

from chat_envs.replier import HOSTILE_REPLIERS
from tests.chat_envs.envs.service import (
    DATA,
    TIERS,
    Policy,
    blind,
    expert,
    levels,
    make,
    play,
)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("tier", "least"), [("easy", 1.0), ("default", 0.95), ("hard", 0.9)]
)
def test_the_expert_succeeds(tier: str, least: float, split: str) -> None:
    mean_return, success = levels(make(tier, split=split), expert, 120)
    assert success >= least
    assert mean_return > 0.7


@pytest.mark.parametrize("tier", TIERS)
def test_the_blind_policy_fails(tier: str) -> None:
    env = make(tier)
    best, _ = levels(env, expert, 60)
    mean_return, success = levels(env, blind, 60)
    assert success <= 0.15
    assert mean_return / best <= 0.15


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", sorted(HOSTILE_REPLIERS))
def test_hostile_repliers_earn_nothing(tier: str, name: str) -> None:
    env = make(tier)
    low, _ = levels(env, blind, 25)
    high, _ = levels(env, expert, 25)
    mean_return, success = levels(env, HOSTILE_REPLIERS[name], 25)
    assert (mean_return - low) / (high - low) <= 0.25
    assert success == 0.0


TRICKS: dict[str, Policy] = {
    "confirm everything": lambda env: "Yes .",
    "claim success": lambda env: "It is done .",
    "refuse": lambda env: "I can not , it is packed .",
    "guess the status": lambda env: "It is delivered .",
    "every action": lambda env: "\n".join(
        r for r in env.candidate_replies() if "ACTION" in r
    ),
    "one action a turn": lambda env: env.candidate_replies()[env.turn],
    "every candidate": lambda env: " ".join(env.candidate_replies()),
    "every check": lambda env: "ACTION check "
    + " ".join([*DATA["entities"]["name"], *"0123456789"]),
    "claim and refuse": lambda env: "It is done . I can not .",
    "the item, unverified": lambda env: "ACTION refund "
    + str(env._scenario.errands[0].constraints["item"]),
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", sorted(TRICKS))
def test_tricks_do_not_win(tier: str, name: str) -> None:
    mean_return, success = levels(make(tier), TRICKS[name], 40)
    assert success == 0.0
    assert mean_return < 0.0


@pytest.mark.parametrize("tier", TIERS)
def test_a_careless_clerk_fails_by_violations_alone(tier: str) -> None:
    env, rng = make(tier), np.random.default_rng(0)
    violated = []
    for seed in range(60):
        _, info = play(env, lambda e: e.careless_reply(rng, probability=1.0), seed)
        wrote = any(e.constraints["intent"] != "status" for e in env._scenario.errands)
        violated.append(info["metrics"]["violations"] > 0)
        if tier == "easy":
            assert violated[-1] == wrote == (not info["success"])
    assert np.mean(violated) > 0.6


def test_carelessness_is_decided_once_an_episode_and_at_its_rate() -> None:
    env, rng = make(), np.random.default_rng(0)
    flags = []
    for seed in range(200):
        play(env, lambda e: e.careless_reply(rng, 0.4), seed)
        flags.append(env._is_careless)
    assert (
        abs(np.mean([bool(flag) for flag in flags]) - 0.4) < 0.14
    )  # four standard errors
    played = levels(make(), lambda e: e.careless_reply(rng, 0.0), 30)
    assert played == levels(make(), expert, 30)
