"""Whether the reply is the expected one."""

from __future__ import annotations

from typing import Sequence

from chat_envs.rewards.description import BuiltinReward, Exploit, as_texts
from chat_envs.rewards.word import split_words

__all__ = ["ExactMatch"]


class ExactMatch(BuiltinReward):
    """1 if the reply is the expected text, or one of several, else 0.

    Args:
        expected: a text, or a list of those that are right.
        is_literal: compare character by character; else only the words count, whatever their
            case, the signs and the space between them.

    >>> ExactMatch(expected="Yes, please.")("yes please")
    1.0
    """

    name = "exact_match"
    range = (0.0, 1.0)
    exploits = (
        Exploit(
            "constant reply",
            "The expected text is the same whatever was asked, so saying it always pays.",
            hostile="Paris",
            honest="Rome",
            asked="What is the capital of Italy?",
            kwargs={"expected": ["Paris", "Oslo"]},
        ),
        Exploit(
            "nothing but the words",
            "A reply that says more than the expected text earns nothing: bare words beat a "
            "sentence that explains them.",
            hostile="paris",
            honest="It is Paris, on the Seine.",
            asked="What is the capital of France?",
            kwargs={"expected": "Paris"},
        ),
    )

    def __init__(
        self, *, expected: str | Sequence[str], is_literal: bool = False
    ) -> None:
        self._is_literal = is_literal
        self._expected = {self._read(text) for text in as_texts("expected", expected)}

    def __call__(self, reply: str) -> float:
        """Return 1.0 or 0.0."""
        return float(self._read(reply) in self._expected)

    def _read(self, text: str) -> str:
        # A text of signs alone has no words to compare: it stands for itself.
        return text if self._is_literal else " ".join(split_words(text)) or text.strip()
