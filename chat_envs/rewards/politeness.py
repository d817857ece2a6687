"""How polite an English reply sounds, by the markers that it uses."""

from __future__ import annotations

import re

from chat_envs.rewards.description import BuiltinReward, Exploit

__all__ = ["Politeness"]

_MOST_CHARACTERS = 2000  # of a reply; the rest is not read


def _start(words: str) -> re.Pattern[str]:
    """Return a pattern of words with which a sentence begins."""
    return re.compile(rf"(?:^|[.!?]\s)\s*(?:{words})\b")


def _anywhere(words: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{words})\b")


_POLITE = {
    "gratitude": _anywhere("thank you|thanks|i appreciate|grateful"),
    "deference": _anywhere(
        "nice work|good work|well done|(?:good|great) (?:point|question)"
    ),
    "greeting": _start("hi|hello|hey|good (?:morning|afternoon|evening)"),
    "apology": _anywhere("sorry|apolog(?:y|ies|i[sz]e)|excuse me|forgive me|my fault"),
    "please": re.compile(r"[^.!?\s]\s+please\b"),
    "indirect": _anywhere("by the way"),
    "modal": _anywhere("could you|would you"),
    "hedge": _anywhere("perhaps|maybe|possibly|i think|i believe|it seems|i suggest"),
}
_RUDE = {
    "please first": _start("please"),
    "direct question": _start("what|why|who|how"),
    "direct start": _start("so|then|and|but|or"),
    "you first": _start("you|your|you're"),
    "factuality": _anywhere("really|actually|honestly|in fact|the truth|the point"),
}


class Politeness(BuiltinReward):
    """Polite strategies less rude ones, each counted once, over `full`; cut at -1 and 1.

    The strategies and their signs are those of Danescu-Niculescu-Mizil et al., "A computational
    approach to politeness" (ACL 2013): gratitude, deference, greeting, apology, please, indirect
    start, counterfactual modal, hedge; against them please, a question word, a conjunction or
    "you" at the start, and factuality. The lists of words are a small choice of this suite's own.

    Args:
        full: how many strategies earn all, at least 1.

    >>> Politeness(full=2)("Hello! Could you tell me the number?")
    1.0
    """

    name = "politeness"
    range = (-1.0, 1.0)
    exploits = (
        Exploit(
            "stacked markers",
            "Markers are counted, never understood: courtesy that says nothing earns all.",
            hostile="Hello! Sorry, thank you, perhaps. By the way, could you?",
            honest="Your refund was sent today; it arrives on Monday.",
            asked="Where is my refund?",
        ),
        Exploit(
            "polite insult",
            "No word for an insult is on its lists.",
            hostile="Thank you, I think that is a stupid idea, sorry.",
            honest="That is a fine idea.",
            asked="What do you say to my idea?",
        ),
    )

    def __init__(self, *, full: int = 3) -> None:
        if full < 1:
            raise ValueError(f"full must be at least 1, got {full}")
        self._full = full

    def __call__(self, reply: str) -> float:
        """Return the balance of strategies, in [-1, 1]."""
        text = reply[:_MOST_CHARACTERS].casefold().replace("\u2019", "'")
        balance = sum(bool(p.search(text)) for p in _POLITE.values())
        balance -= sum(bool(p.search(text)) for p in _RUDE.values())
        return max(-1.0, min(1.0, balance / self._full))
