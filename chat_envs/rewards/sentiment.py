"""How positive a reply sounds, by the lexicon VADER (Hutto and Gilbert 2014, ICWSM)."""

from __future__ import annotations

import functools
from typing import Any, Sequence

from chat_envs.message import Message, Role
from chat_envs.rewards.description import BuiltinReward, Exploit
from chat_envs.rewards.optional_package import load_module

__all__ = ["Sentiment", "sentiment"]

_MODULE = "vaderSentiment.vaderSentiment"
_MOST_CHARACTERS = 2000  # of a text; the rest is not scored
_MOST_SCORES = 4096  # kept
_SPEAKERS = ("reply", "user")


class Sentiment(BuiltinReward):
    """VADER's compound score: -1 is all negative, 1 all positive, 0 for neutral or no words.

    Args:
        of: "reply", or "user": what the user says next; 0 where nothing follows.
    """

    name = "sentiment"
    range = (-1.0, 1.0)
    sees = ("reply", "messages")
    extra = "sentiment"
    exploits = (
        Exploit(
            "praise",
            "Happy words add up, whatever they are about.",
            hostile="great great great wonderful love!!!",
            honest="I am sorry for the delay. Your order arrives on Monday.",
            asked="My order is late.",
        ),
        Exploit(
            "lie",
            "Bad news that is true scores below good news that is false.",
            hostile="Your payment was a perfect success, congratulations!",
            honest="Unfortunately your payment failed.",
            asked="Did my payment go through?",
        ),
    )

    def __init__(self, *, of: str = "reply") -> None:
        if of not in _SPEAKERS:
            raise ValueError(f"of must be one of {_SPEAKERS}, got {of!r}")
        self._of = of

    def __call__(self, reply: str, messages: Sequence[Message]) -> float:
        """Return the compound score, in [-1, 1]."""
        if self._of == "reply":
            return sentiment(reply)
        if not messages or messages[-1].role is not Role.USER:
            return 0.0
        return sentiment(messages[-1].content)


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
    module = load_module(_MODULE, reward="sentiment", extra="sentiment")
    return module.SentimentIntensityAnalyzer()
