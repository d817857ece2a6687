"""What people say around an answer: "I guess ...", "maybe ...", "... please"."""

from __future__ import annotations

import re
from typing import Iterable

__all__ = ["Courtesy"]

# Anything else, a digit, a bracket, a letter with an accent, makes a text no plain answer.
_PLAIN = re.compile(r"[a-zA-Z\s.,:;!?'\"\u2018\u2019\u201c\u201d*_\-]*")
_WORD = re.compile(r"[a-z]+")
_MAX_CHARACTERS = 200


class Courtesy:
    """Takes away what is said before and after an answer, as far as it is listed.

    A beginning or an ending is never taken if nothing would be left, so a word that can introduce
    an answer can be one.

    Args:
        beginnings: phrases that may stand before, such as "I guess"; at most two of them, one
            after the other, are taken, the longest each time.
        endings: single words that may stand behind; at most one is taken.

    >>> courtesy = Courtesy(["well", "I guess", "my guess is"], ["please"])
    >>> courtesy.core("Well, my guess is RED please!"), courtesy.core("I guess, well")
    (('red',), ('well',))
    >>> courtesy.core("please"), courtesy.core("red 7"), courtesy.core("?")
    (('please',), None, None)
    """

    __slots__ = ("_beginnings", "_endings", "_first_words", "_longest")

    def __init__(self, beginnings: Iterable[str], endings: Iterable[str]) -> None:
        phrases = (tuple(_WORD.findall(phrase.lower())) for phrase in beginnings)
        self._beginnings = frozenset(phrases)
        self._endings = frozenset(word.lower() for word in endings)
        self._first_words = frozenset(p[0] for p in self._beginnings if p)
        self._longest = max(map(len, self._beginnings), default=0)

    def core(self, text: str) -> tuple[str, ...] | None:
        """Return the words of the answer, in lower case.

        None if there are none, if the text has more than letters and punctuation, or if it is
        longer than 200 characters.
        """
        if len(text) > _MAX_CHARACTERS or not _PLAIN.fullmatch(text):
            return None
        words = tuple(_WORD.findall(text.lower()))
        for _ in range(2):
            if words and words[0] in self._first_words:
                words = words[self._num_before(words) :]
        if len(words) > 1 and words[-1] in self._endings:
            words = words[:-1]
        return words or None

    def _num_before(self, words: tuple[str, ...]) -> int:
        """Return how many words the longest beginning takes."""
        for length in range(min(self._longest, len(words) - 1), 0, -1):
            if words[:length] in self._beginnings:
                return length
        return 0
