"""What every kind of bargain in `Negotiation` answers with, and how it is put into words."""

from __future__ import annotations

import functools
import itertools
from typing import Mapping, NamedTuple, Protocol, Sequence

from chat_envs.data_file import load_json
from chat_envs.envs._negotiation_reader import Kind
from chat_envs.simulators.negotiator import Verdict
from chat_envs.simulators.stream import Uniform

__all__ = [
    "Answer",
    "Line",
    "ROLES",
    "Talk",
    "answer_to_verdict",
    "answer_without_offer",
    "data",
    "phrasings",
    "pick",
]

data = functools.partial(load_json, "negotiation.json")
"""The templates."""

ROLES = ("seller", "buyer")
_HELD_OUT_PHRASES = 3  # one combination of parts in so many is of the test split


class Line(NamedTuple):
    """What is to be said: a key of the phrases, and what fills them."""

    key: str
    fields: Mapping[str, object] = {}


class Answer(NamedTuple):
    """What the other side makes of a reply.

    Attributes:
        line: what it says.
        share: what the deal pays, None where there is none.
        pareto: the deal's Pareto efficiency.
        has_left: whether the talk is over without a deal.
    """

    line: Line
    share: float | None = None
    pareto: float = 0.0
    has_left: bool = False


class Talk(Protocol):
    """One bargain."""

    def opening(self) -> tuple[Line, Line]:
        """Return the agent's private briefing and the other side's first words."""

    def respond(self, reply: str) -> Answer:
        """Return what the other side answers."""


def answer_without_offer(kind: Kind) -> Answer | None:
    """Return the answer to a reply that is neither an offer nor a yes, else None.

    >>> answer_without_offer(Kind.SEVERAL).line.key
    'several'
    """
    if kind in (Kind.OFFER, Kind.ACCEPT):
        return None
    return Answer(Line(kind.value), has_left=kind is Kind.QUIT)


def answer_to_verdict(verdict: Verdict) -> Answer:
    """Return the answer to an offer that moved nothing.

    >>> answer_to_verdict(Verdict.LEFT).has_left
    True
    """
    return Answer(Line(verdict.value), has_left=verdict is Verdict.LEFT)


@functools.cache
def phrasings(language: str, split: str) -> Mapping[str, tuple[str, ...]]:
    """Return the templates of `split` by key.

    A template is a head, a core and a tail. Combinations are held out, not parts: each part is
    met in training.
    """
    found: dict[str, tuple[str, ...]] = {
        key: (text,) for key, text in data()["fixed"][language].items()
    }
    for key, parts in data()["parts"][language].items():
        found[key] = tuple(
            _joined(words)
            for words, indices in _combinations(parts)
            if (sum(indices) % _HELD_OUT_PHRASES == 0) == (split == "test")
        )
    return found


def _combinations(
    parts: Sequence[Sequence[str]],
) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
    words = itertools.product(*parts)
    indices = itertools.product(*(range(len(choices)) for choices in parts))
    return list(zip(words, indices, strict=True))


def _joined(words: tuple[str, ...]) -> str:
    *start, tail = words
    text = " ".join(word for word in start if word) + tail
    return text[0].upper() + text[1:]


def pick(choices: Sequence[str], rng: Uniform) -> str:
    """Return one of `choices`."""
    return choices[int(rng.random() * len(choices))]
