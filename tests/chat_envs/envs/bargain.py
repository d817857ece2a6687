"""Playing `Negotiation` in tests: by replies and policies, and with a wanted goal."""

from __future__ import annotations

import functools
import math
import re
from typing import Any, Callable

from chat_envs.envs._negotiation_price import (
    PRICE_TIERS,
    PriceGoal,
    PriceTalk,
    best_response,
)
from chat_envs.envs.negotiation import Negotiation
from chat_envs.replier import play_many
from chat_envs.simulators.negotiator import ladder

__all__ = [
    "PRICED",
    "Policy",
    "TIERS",
    "begin",
    "first_offer",
    "given_goal",
    "mean",
    "number",
    "optimum",
    "say",
    "shared",
    "sign",
]

TIERS = ("easy", "default", "hard")
PRICED = ("easy", "default")
Policy = Callable[[Negotiation], str]


@functools.cache
def shared(
    tier: str, split: str = "train", role: str | None = None, **kwargs: Any
) -> Negotiation:
    """Return one environment a setting; every test resets it."""
    return Negotiation(tier, split=split, role=role, **kwargs)


def begin(env: Negotiation, role: str = "seller", **changes: Any) -> PriceGoal:
    """Start a bargain with a given goal, which no seed could be asked for."""
    env.reset(seed=0)
    facts: dict[str, Any] = {
        "item": "lamp",
        "unit": 2,
        "base": 60 if role == "buyer" else 30,
        "limit": 4,
        "ladder": ladder(20, env.max_turns + 1, 1.0),
    }
    goal = PriceGoal(role=role, **(facts | changes))
    tier = PRICE_TIERS[env.tier]
    env._talk = PriceTalk(goal, highest=tier.highest, step=tier.step)
    return goal


def say(env: Negotiation, *replies: str) -> dict[str, Any]:
    """Say `replies` in turn; return the last info, with the reward and the answer."""
    info: dict[str, Any] = {}
    for reply in replies:
        _, reward, terminated, truncated, info = env.step(env.encode(reply))
        assert not truncated
        info |= {"reward": reward, "over": terminated}
        info["answer"] = env.conversation[-1].content
    return info


def number(text: str) -> int:
    """Return the only number of a text."""
    (found,) = re.findall("[0-9]+", text)
    return int(found)


def first_offer(env: Negotiation) -> int:
    return number(env.conversation[2].content)


def sign(env: Negotiation) -> int:
    return 1 if "sell" in env.conversation[1].content.lower() else -1


def mean(env: Negotiation, policy: Policy, count: int = 80) -> float:
    records = play_many(env, policy, range(count))  # type: ignore[arg-type]
    return math.fsum(r.episode_return for r in records) / count


def optimum(tier: str) -> float:
    """Return what the best policy earns on average, over all goals of either split."""
    settings = PRICE_TIERS[tier]
    values = [best_response(tier, n, settings.turns).value for n in settings.limits]
    return math.fsum(values) / len(values)


def given_goal(goal: PriceGoal, *_: Any) -> PriceGoal:
    return goal
