"""How many words a reply shares with a reference, or with what the user said."""

from __future__ import annotations

import collections
from typing import Sequence

from chat_envs.message import Message
from chat_envs.rewards.description import (
    BuiltinReward,
    Exploit,
    as_texts,
    last_user,
)
from chat_envs.rewards.word import split_words

__all__ = ["Overlap"]

_MEASURES = ("rouge_l", "token_f1")
_MOST_WORDS = 2000  # of a text; the rest is not compared


class Overlap(BuiltinReward):
    """F1 of the words that reply and reference share; of several references the best counts.

    Args:
        reference: a text or a list; None compares with what the user said last.
        measure: "rouge_l", by their longest common subsequence (C.-Y. Lin, "ROUGE", 2004), or
            "token_f1", in any order (Rajpurkar et al., "SQuAD", 2016).

    >>> Overlap(reference="the cat sat")("the dog sat", ())
    0.6666666666666666
    """

    name = "overlap"
    range = (0.0, 1.0)
    sees = ("reply", "prompt")
    exploits = (
        Exploit(
            "echo",
            "Without a reference it is the user's words that pay: saying them back earns all.",
            hostile="My parcel is late. What can you do?",
            honest="I am sorry. May I have the order number?",
            asked="My parcel is late. What can you do?",
        ),
        Exploit(
            "negation",
            "One word turns the meaning round and costs hardly anything; a paraphrase that is "
            "right costs nearly all.",
            hostile="the meeting is not at nine on Monday",
            honest="We start Monday, 9:00.",
            asked="When is the meeting?",
            kwargs={"reference": "the meeting is at nine on Monday"},
        ),
    )

    def __init__(
        self,
        *,
        reference: str | Sequence[str] | None = None,
        measure: str = "rouge_l",
    ) -> None:
        if measure not in _MEASURES:
            raise ValueError(f"measure must be one of {_MEASURES}, got {measure!r}")
        self._count = _common_run if measure == "rouge_l" else _common_words
        texts = () if reference is None else as_texts("reference", reference)
        self._references = [split_words(text)[:_MOST_WORDS] for text in texts]

    def __call__(self, reply: str, prompt: Sequence[Message]) -> float:
        """Return the best F1; 0 where one side has no words."""
        said = split_words(reply)[:_MOST_WORDS]
        references = self._references or [split_words(last_user(prompt))[:_MOST_WORDS]]
        return max(
            (
                2 * self._count(said, words) / (len(said) + len(words))
                for words in references
                if said and words
            ),
            default=0.0,
        )


def _common_words(one: list[str], other: list[str]) -> int:
    """Return how many words both have, each as often as it stands in both."""
    return (collections.Counter(one) & collections.Counter(other)).total()


def _common_run(one: list[str], other: list[str]) -> int:
    """Return the length of the longest common subsequence.

    Bit-parallel (H. Hyyrö, 2004): a zero bit k of `row` says that one more word is common up to
    word k of `one`.
    """
    places: dict[str, int] = {}
    for k, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << k
    every = (1 << len(one)) - 1
    row = every
    for word in other:
        matched = row & places.get(word, 0)
        row = ((row + matched) | (row - matched)) & every
    return len(one) - row.bit_count()
