"""Shaping by a potential leaves the best policy the best, in an environment and not on paper."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from chat_envs.message import Message, Role
from chat_envs.reward import PotentialShaping
from tests.chat_envs.toy import WORDS, SayIt

SEED = 3  # the user asks for other words than "black"


def num_black(messages: tuple[Message, ...]) -> float:
    """Return a potential that tempts: nobody is asked to say it."""
    return float(
        sum(m.role is Role.ASSISTANT and m.content == "black" for m in messages)
    )


def tempting(reply: str) -> float:
    """Return the same as a bonus."""
    return float(reply == "black")


def returns(reward: Any, discount: float) -> dict[tuple[str, ...], float]:
    """Return what every way to play two turns earns."""
    found = {}
    for words in itertools.product(WORDS, repeat=2):
        env = SayIt(num_turns=2, reward=reward)
        env.reset(seed=SEED)
        rewards = [env.step(env.encode(word))[1] for word in words]
        found[words] = rewards[0] + discount * rewards[1]
    return found


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_every_policy_earns_the_same_more_with_shaping(discount: float) -> None:
    plain = returns("task", discount)
    shaping = PotentialShaping(num_black, discount)
    shaped = returns({"task": 1.0, shaping: 5.0}, discount)
    for words, earned in plain.items():
        assert shaped[words] == pytest.approx(earned)  # the potential begins at 0
    best = max(plain, key=plain.__getitem__)
    assert "black" not in best and max(shaped, key=shaped.__getitem__) == best


def test_a_bonus_or_a_potential_of_another_discount_moves_the_optimum() -> None:
    plain = returns("task", 1.0)
    best = max(plain, key=plain.__getitem__)
    bonus = returns({"task": 1.0, tempting: 5.0}, 1.0)
    assert max(bonus, key=bonus.__getitem__) == ("black", "black")
    wrong = returns({"task": 1.0, PotentialShaping(num_black, 0.1): -5.0}, 1.0)
    assert max(wrong, key=wrong.__getitem__) != best
