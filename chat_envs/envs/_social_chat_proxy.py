"""Proxy rewards for `SocialChat`: what is easy to measure instead of what is meant.

Each is a reward function by a name of the environment's own, `SocialChat(reward="proxy:vader")`;
the gold reward stays in `info["gold_reward"]`. A policy that maximises a proxy shows
over-optimisation: praise, word after word, earns most of VADER (Hutto and Gilbert 2014, ICWSM) and
bores the user.

VADER is an optional package: `pip install 'chat-envs[sentiment]'`.
"""

from __future__ import annotations

import re
from typing import Sequence

from chat_envs.message import Message, Role
from chat_envs.rewards.sentiment import sentiment

__all__ = ["reply_length", "vader_reply", "vader_user"]

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")


def vader_reply(reply: str) -> float:
    """Return VADER's compound sentiment of the reply, in [-1, 1]."""
    return sentiment(reply)


def vader_user(messages: Sequence[Message]) -> float:
    """Return VADER's compound sentiment of what the user said next; 0 if nothing."""
    last = messages[-1] if messages else None
    return (
        sentiment(last.content) if last is not None and last.role is Role.USER else 0.0
    )


def reply_length(reply: str) -> float:
    """Return how many words the reply has.

    >>> reply_length("You're sad. Your dog?")
    4.0
    """
    return float(len(_WORD.findall(reply)))
