"""`Drift`: a reward that ignores fluency, and a measure of how the language fares under it.

The user says how some things are and asks about one. The reward is 1 for a reply with the right
word for it, wherever it stands, less 0.02 for each further word (of 15 at most): "big" pays more
than "The bus is big.", and "bus cat cat big" as much. Nothing asks for a sentence but what the
agent was before.

Each reply's log-perplexity under a bigram model of fluent replies, in nats a word, is the metric
"log_perplexity". The model ships as data: counts over `reference_sentences`. The diagnostic
trains at several KL coefficients, which are the trainer's, and asks how much perplexity grew.
"""

from __future__ import annotations

import functools
import math
import re
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np

from chat_envs.core import ChatEnv, Turn
from chat_envs.data_file import load_json
from chat_envs.message import Message, system, user
from chat_envs.simulators.combination import draw_combination, draw_parts
from chat_envs.simulators.ngram import NgramModel
from chat_envs.simulators.stream import Stream, split_streams
from chat_envs.vector import vector_entry_point

__all__ = [
    "Drift",
    "SWEEP",
    "load_ngram",
    "make_vector",
    "reference_sentences",
    "score",
]

_data = functools.partial(load_json, "drift.json")

SWEEP = tuple({"kl_coefficient": c} for c in (0.1, 0.03, 0.01, 0.003, 0.0))
"""Keywords of the *trainer*, from easy to hard: what holds the language to the reference model."""

_PRICE = 0.02
_MAX_EXTRA_WORDS = 15
_WORD = re.compile(r"\w+")


class _Tier(NamedTuple):
    num_facts: int
    word_list: str


_TIERS: Mapping[str, _Tier] = {
    "easy": _Tier(2, "easy"),
    "default": _Tier(3, "default"),
    "hard": _Tier(4, "default"),
}


class Drift(ChatEnv):
    """Say how the thing is that the user asks about, in one turn.

    Tiers: "easy" tells of two of eight things, "default" of three and "hard" of four of twelve.
    Held-out goals are unseen combinations of a thing and how it is, held-out phrasings of a
    greeting, a form of the facts and a question.

    A reply is right if it has the right look and no other one, as a word. Any other word is
    ignored, but costs.

    Args:
        tier: "easy", "default" or "hard".
        **kwargs: those of `ChatEnv`.

    Raises:
        ValueError: if the tier is unknown.
    """

    component_names = ("answer", "length")
    metric_names = ("log_perplexity", "num_words")

    def __init__(self, tier: str = "default", **kwargs: Any) -> None:
        if tier not in _TIERS:
            raise ValueError(f"tier must be one of {sorted(_TIERS)}, got {tier!r}.")
        self._num_facts, word_list = _TIERS[tier]
        self._data = _data()
        self._things: list[str] = self._data["things"][word_list]
        self._looks: list[str] = self._data["looks"][word_list]
        self._known = frozenset(self._looks)
        self.ngram = load_ngram()
        kwargs.setdefault("max_turns", 1)
        super().__init__(**kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal, phrasing, voice = split_streams(rng, 3)
        sizes = [len(self._things), len(self._looks)]
        thing, look = draw_combination(
            [goal.random() for _ in sizes], sizes, self.split
        )
        others = zip(
            _others(thing, sizes[0], self._num_facts - 1, goal),
            _others(look, sizes[1], self._num_facts - 1, goal),
        )
        facts = [(self._things[t], self._looks[k]) for t, k in others]
        self._thing, self._look = self._things[thing], self._looks[look]
        place = int(goal.random() * self._num_facts)
        facts.insert(place, (self._thing, self._look))
        greeting, form, question = draw_parts(
            [self._data[part] for part in ("greetings", "facts", "questions")],
            phrasing,
            self.split,
        )
        told = "".join([form.format(thing=t, look=k) for t, k in facts])
        rules = self._data["rules"][self.split]
        rule = rules[int(phrasing.random() * len(rules))].format(turns=self.max_turns)
        replies = self._data["replies"]
        self._reply = replies[int(voice.random() * len(replies))]
        return [
            system(rule),
            user(greeting + told + question.format(thing=self._thing)),
        ]

    def _respond(self, reply: str) -> Turn:
        words = _WORD.findall(reply.lower())
        is_right = self._known.intersection(words) == {self._look}
        extra = min(len(words) - 1, _MAX_EXTRA_WORDS) if is_right else 0
        return Turn(
            messages=[user(self._data["right" if is_right else "wrong"])],
            reward={"answer": float(is_right), "length": -_PRICE * extra},
            ended=is_right,
            success=is_right,
            why="answered" if is_right else "",
            metrics={
                "log_perplexity": self.ngram.log_perplexity(reply),
                "num_words": float(len(words)),
            },
        )

    def expert_reply(self) -> str:
        """Return a fluent answer."""
        return str(self._reply.format(thing=self._thing, look=self._look))

    def blind_reply(self) -> str:
        """Return one look, alone: all are equally likely, and a sentence costs."""
        return self._looks[0]

    def candidate_replies(self) -> list[str]:
        """Return every look."""
        return list(self._looks)


def reference_sentences() -> list[str]:
    """Return every fluent reply of every tier once: what the shipped model counts."""
    data = _data()
    return [
        sentence
        for form in data["replies"]
        for sentence in sorted(
            {
                form.format(thing=thing, look=look)
                for thing in data["things"]["default"]
                for look in data["looks"]["default"]
            }
        )
    ]


@functools.cache
def load_ngram() -> NgramModel:
    """Return the bigram model of fluent replies that ships with the suite."""
    return NgramModel(load_json("drift_ngram.json")["bigrams"])


def score(before: float, after: Sequence[float]) -> float:
    """Return the diagnostic's score in [0, 1]: 1 - relative growth of perplexity, its mean.

    Perplexity that fell counts as no growth, one that doubled or more as a growth of 1.

    Args:
        before: mean log-perplexity of the agent's replies before training, in nats a word.
        after: the same after training, for each entry of `SWEEP`.

    >>> round(score(1.0, [1.0, 0.5, 1.0, 1.0 + math.log(1.5), 9.0]), 6)
    0.7
    """
    if len(after) != len(SWEEP) or not all(map(math.isfinite, [before, *after])):
        raise ValueError(
            f"Expected a finite mean before and {len(SWEEP)} after, got {before} and {after}."
        )
    growths = [math.expm1(min(max(a - before, 0.0), math.log(2.0))) for a in after]
    return 1.0 - sum(growths) / len(growths)


def _others(index: int, size: int, count: int, rng: Stream) -> list[int]:
    """Return `count` distinct indices below `size`, none of them `index`."""
    rest = [i for i in range(size) if i != index]
    return [rest.pop(int(rng.random() * len(rest))) for _ in range(count)]


make_vector = vector_entry_point(Drift)
