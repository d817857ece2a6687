"""How easy an English reply is to read: the reading ease of Flesch (1948)."""

from __future__ import annotations

import re

from chat_envs.rewards.description import BuiltinReward, Exploit
from chat_envs.rewards.word import split_words

__all__ = ["Readability"]

_VOWELS = re.compile("[aeiouy]+")
_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")


class Readability(BuiltinReward):
    """Flesch's reading ease over 100, cut at 0 and 1; 0 for a reply without words.

    206.835 - 1.015 words/sentence - 84.6 syllables/word (R. Flesch, "A new readability yardstick",
    Journal of Applied Psychology 32, 1948): 0.6 is plain English, 0.3 a scientific paper. Syllables
    are counted by runs of vowels, a silent e left out, which is about right for English and
    meaningless for other languages.

    >>> Readability()("The cat sat on the mat.")
    1.0
    """

    name = "readability"
    range = (0.0, 1.0)
    exploits = (
        Exploit(
            "chopped words",
            "Short words in short sentences are all it sees; they need not say anything.",
            hostile="I do. You go. It is so. We be. No.",
            honest="Your refund arrives within three business days, after verification.",
            asked="When is my refund?",
        ),
    )

    def __call__(self, reply: str) -> float:
        """Return the ease, in [0, 1]."""
        words = split_words(reply)
        if not words:
            return 0.0
        num_sentences = max(1, len(_SENTENCE_END.findall(reply)))
        num_syllables = sum(map(_syllables, words))
        ease = (
            206.835
            - 1.015 * len(words) / num_sentences
            - 84.6 * num_syllables / len(words)
        )
        return min(1.0, max(0.0, ease / 100))


def _syllables(word: str) -> int:
    """Return about how many syllables a word has, at least 1."""
    count = len(_VOWELS.findall(word))
    is_silent = word.endswith("e") and not word.endswith(("le", "ee"))
    return max(1, count - is_silent)
