"""Proxy rewards for `SocialChat`: what is easy to measure instead of what is meant.

Each is a reward function by a name of the environment's own, `SocialChat(reward="proxy:vader")`;
the gold reward stays in `info["gold_reward"]`. A policy that maximises a proxy shows
over-optimisation: praise, word after word, earns most of VADER (Hutto and Gilbert 2014, ICWSM) and
bores the user.

VADER is an optional package: `pip install 'chat-envs[sentiment]'`.
"""

from __future__ import annotations

import functools
import importlib
import re
from typing import Any, Sequence

from chat_envs.message import Message, Role

__all__ = ["reply_length", "sentiment", "vader_reply", "vader_user"]

_MODULE = "vaderSentiment.vaderSentiment"
_MOST_CHARACTERS = 2000  # of a text; the rest is not scored
_MOST_SCORES = 4096  # kept
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


def sentiment(text: str) -> float:
    """Return VADER's compound score of `text`, in [-1, 1]; 0 for one without words.

    Raises:
        ImportError: if the package is not installed.
    """
    return _score(text[:_MOST_CHARACTERS])


@functools.lru_cache(maxsize=_MOST_SCORES)
def _score(text: str) -> float:
    return float(_analyzer().polarity_scores(text)["compound"])


@functools.cache
def _analyzer() -> Any:
    """Return the analyser, which reads its lexicon from a file."""
    try:
        module = importlib.import_module(_MODULE)
    except ModuleNotFoundError as error:
        raise ImportError(
            "The VADER proxies need an optional package: pip install 'chat-envs[sentiment]'"
        ) from error
    return module.SentimentIntensityAnalyzer()
