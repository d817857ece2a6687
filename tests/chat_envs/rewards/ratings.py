"""Scores of replies, by a reward as an environment uses it."""

from __future__ import annotations

from typing import Any

from chat_envs.message import user
from chat_envs.reward import make_scorer
from chat_envs.rewards.description import make_request

__all__ = ["rate"]


def rate(reward: Any, *replies: str, asked: str = "hello") -> list[float]:
    """Return what `reward` pays each of the replies to the user's `asked`."""
    requests = [make_request(reply, [user(asked)]) for reply in replies]
    return [outcome.total for outcome in make_scorer(reward).score(requests)]
