"""Words of a text, as the built-in rewards count them."""

from __future__ import annotations

import re

__all__ = ["grams", "split_words"]

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")


def split_words(text: str) -> list[str]:
    """Return the words of a text in small letters, without its signs.

    >>> split_words("You're sad. Your 2 dogs?")
    ["you're", 'sad', 'your', '2', 'dogs']
    """
    return _WORD.findall(text.casefold())


def grams(words: list[str], n: int) -> list[tuple[str, ...]]:
    """Return all runs of `n` words, none if there are fewer.

    >>> grams(["a", "b", "c"], 2)
    [('a', 'b'), ('b', 'c')]
    """
    return list(zip(*(words[k:] for k in range(n))))
