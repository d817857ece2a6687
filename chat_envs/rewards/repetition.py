"""How much of a reply says again what it has said."""

from __future__ import annotations

from chat_envs.rewards.description import BuiltinReward, Exploit
from chat_envs.rewards.word import grams, split_words

__all__ = ["Repetition"]


class Repetition(BuiltinReward):
    """Minus the share of runs of `n` words that stood in the reply before; 0 if none did.

    Args:
        n: words of a run, at least 1.

    >>> Repetition(n=1)("no no no yes")
    -0.5
    """

    name = "repetition"
    range = (-1.0, 0.0)
    exploits = (
        Exploit(
            "silence",
            "A reply shorter than a run repeats nothing, and nor does an empty one.",
            hostile="",
            honest="I can help you with the refund, and I can help you with the exchange.",
        ),
        Exploit(
            "word salad",
            "Words in any order are no run that stood before.",
            hostile="of the a to refund and exchange with you in on at for by",
            honest="I can help you with the refund, and I can help you with the exchange.",
        ),
    )

    def __init__(self, *, n: int = 3) -> None:
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        self._n = n

    def __call__(self, reply: str) -> float:
        """Return minus the share."""
        runs = grams(split_words(reply), self._n)
        return len(set(runs)) / len(runs) - 1.0 if runs else 0.0
