"""Playing `CustomerService` in tests: by policies, by replies, and with a wanted goal."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from chat_envs.envs import customer_service
from chat_envs.envs.customer_service import CustomerService

__all__ = [
    "DATA",
    "Policy",
    "TIERS",
    "blind",
    "expert",
    "last",
    "levels",
    "make",
    "play",
    "say",
    "with_goal",
]

Policy = Callable[[CustomerService], str]
TIERS = ("easy", "default", "hard")
DATA = customer_service._data()


def make(tier: str = "easy", **kwargs: Any) -> CustomerService:
    """Return an environment whose context holds any episode, whatever the tokenizer."""
    kwargs = {"context_length": 4000, "reply_length": 128} | kwargs
    return CustomerService(tier=tier, **kwargs)


def expert(env: CustomerService) -> str:
    return env.expert_reply()


def blind(env: CustomerService) -> str:
    return env.blind_reply()


def play(
    env: CustomerService, policy: Policy, seed: int
) -> tuple[float, dict[str, Any]]:
    """Play an episode; return its return and last info."""
    env.reset(seed=seed)
    total = 0.0
    while True:
        _, reward, terminated, truncated, info = env.step(env.encode(policy(env)))
        total += float(reward)
        if terminated or truncated:
            return total, info


def levels(env: CustomerService, policy: Policy, num: int) -> tuple[float, float]:
    """Return mean return and mean success over `num` episodes."""
    episodes = [play(env, policy, seed) for seed in range(num)]
    return (
        float(np.mean([total for total, _ in episodes])),
        float(np.mean([info["success"] for _, info in episodes])),
    )


def say(env: CustomerService, *replies: str) -> dict[str, Any]:
    """Say `replies` in turn; return the last info, with the reward."""
    info: dict[str, Any] = {}
    for reply in replies:
        _, reward, terminated, truncated, info = env.step(env.encode(reply))
        info |= {"reward": reward, "terminated": terminated, "truncated": truncated}
    return info


def with_goal(
    env: CustomerService, intent: str, outcome: str | None = None
) -> dict[str, str]:
    """Reset to the first seed whose customer wants `intent`; return what the customer knows."""
    for seed in range(500):
        env.reset(seed=seed)
        errand = env._scenario.errands[0]
        wanted = outcome is None or errand.facts.get("outcome") == outcome
        if errand.constraints["intent"] == intent and wanted and not errand.mistake:
            return dict(errand.constraints)
    raise AssertionError(f"no seed has {intent} {outcome}")


def last(env: CustomerService) -> str:
    return env.conversation[-1].content
