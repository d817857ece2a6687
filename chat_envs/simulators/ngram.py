"""A bigram model of words with an open vocabulary: how usual a text is, in nats a word.

Probabilities are interpolated after Witten and Bell (1991): with n(v) words seen after v, t(v) of
them distinct, N words in all and T of them distinct,

    P(w | v) = [n(v, w) + t(v) P(w)] / [n(v) + t(v)],    P(w) = [n(w) + T Q(w)] / [N + T]

and Q(w) = 64^-(length + 1) spells a word that was never seen. So every text has a probability above
0. Words are runs of letters and digits, in any case, and single signs. A text begins and ends
with the empty word.
"""

from __future__ import annotations

import collections
import itertools
import math
import re
from typing import Iterable, Mapping

__all__ = ["NgramModel", "fit", "split_text"]

_WORD = re.compile(r"\w+|[^\w\s]")
_EDGE = ""
_LOG_SPELLING = math.log(64.0)


def split_text(text: str) -> list[str]:
    """Return the words and signs of `text`, in lower case.

    >>> split_text("Yes, it IS.")
    ['yes', ',', 'it', 'is', '.']
    """
    return _WORD.findall(text.lower())


class NgramModel:
    """A bigram model.

    Args:
        bigrams: word -> word after it -> how often; the empty word is both edges of a text.

    >>> model = fit(["It is red.", "It is big."])
    >>> model.log_perplexity("It is red.") < model.log_perplexity("Red it is.")
    True
    """

    def __init__(self, bigrams: Mapping[str, Mapping[str, int]]) -> None:
        if not bigrams:
            raise ValueError("A model needs at least one text.")
        self.bigrams = {word: dict(after) for word, after in bigrams.items()}
        self._unigrams: collections.Counter[str] = collections.Counter()
        for after in self.bigrams.values():
            self._unigrams.update(after)
        self._num_words = sum(self._unigrams.values())
        self._num_distinct = len(self._unigrams)
        self._sums = {word: sum(after.values()) for word, after in self.bigrams.items()}
        # What is asked for most, computed once.
        self._known = {
            (word, following): self.log_probability(following, word)
            for word, after in self.bigrams.items()
            for following in after
        }

    def log_probability(self, word: str, before: str) -> float:
        """Return log P(word | before) in nats."""
        count = self._unigrams[word] if word in self._unigrams else 0
        if count:
            spelled = math.exp(-(len(word) + 1) * _LOG_SPELLING)
            unigram = count + self._num_distinct * spelled
            log_unigram = math.log(unigram) - math.log(
                self._num_words + self._num_distinct
            )
        else:  # the sum of logs: a long word's probability is too small for a float
            log_unigram = (
                math.log(self._num_distinct)
                - (len(word) + 1) * _LOG_SPELLING
                - math.log(self._num_words + self._num_distinct)
            )
        after = self.bigrams.get(before)
        if after is None:
            return log_unigram
        total = math.log(self._sums[before] + len(after))
        if word not in after:
            return math.log(len(after)) + log_unigram - total
        return math.log(after[word] + len(after) * math.exp(log_unigram)) - total

    def log_perplexity(self, text: str) -> float:
        """Return the mean -log P of the words of `text` and of its end, in nats."""
        words = [_EDGE, *split_text(text), _EDGE]
        total = 0.0
        for pair in itertools.pairwise(words):
            known = self._known.get(pair)
            total += self.log_probability(pair[1], pair[0]) if known is None else known
        return -total / (len(words) - 1)


def fit(texts: Iterable[str]) -> NgramModel:
    """Return the model of `texts`; one that occurs twice counts twice."""
    bigrams: dict[str, dict[str, int]] = {}
    for text in texts:
        for before, word in itertools.pairwise([_EDGE, *split_text(text), _EDGE]):
            after = bigrams.setdefault(before, {})
            after[word] = after.get(word, 0) + 1
    return NgramModel(bigrams)
