"""`CopyBack`: the user gives a value, the agent says it back inside a sentence.

Between `Echo`, which repeats all that it hears, and a task: the value must be found in what the
user says, turned from "my" to "your", and set into a sentence of the agent's own. Reward and
success are 1 for one sentence that gives the right slot the right value, word by word, else 0.

A reply is read sentence by sentence. "Your code is red cat", "your code: red cat" and "red cat is
your code" are the same, in any case and punctuation; two such sentences are no answer.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np

from chat_envs.core import ChatEnv, Turn
from chat_envs.data_file import load_json
from chat_envs.message import Message, system, user
from chat_envs.simulators.combination import draw_combination, draw_parts
from chat_envs.simulators.stream import Stream, split_streams
from chat_envs.vector import vector_entry_point

__all__ = ["Claim", "CopyBack", "SWEEP", "make_vector", "read_claim", "score"]

_data = functools.partial(load_json, "copy_back.json")

SWEEP = tuple({"min_words": k, "max_words": k} for k in (1, 2, 3, 4, 6, 8, 10))
"""Keywords of `CopyBack`, from easy to hard: how many words the value has."""

_MAX_WORDS = 10
_MAX_CHARACTERS = 600
_SENTENCE_END = re.compile(r"[.!?;\n]+")
_WORD = re.compile(r"\w+")
_VERBS = frozenset({"is", "was", "reads"})
_LEADS = frozenset({"so", "ok", "okay", "yes", "and", "hi", "hello", "i", "see", "the"})
_TRAILS = frozenset({"right", "correct", "thanks", "ok", "okay", "yes"})


class Claim(NamedTuple):
    """That the user's `slot` has the value `words`."""

    slot: str
    words: tuple[str, ...]


class _Tier(NamedTuple):
    min_words: int
    max_words: int
    word_list: str
    has_other: bool


_TIERS: Mapping[str, _Tier] = {
    "easy": _Tier(1, 2, "easy", False),
    "default": _Tier(2, 4, "default", False),
    "hard": _Tier(4, 8, "default", True),
}


class CopyBack(ChatEnv):
    """Say the user's value back, in one turn, in a sentence: "Your code is red cat" is one.

    Tiers: "easy" has values of one or two of a dozen words and two slots, "default" two to four of
    two dozen and four slots, "hard" four to eight, and another person's value beside the user's.
    Held-out goals are unseen combinations of a slot and words, held-out phrasings unseen
    combinations of a greeting, a core and an ending.

    Args:
        tier: "easy", "default" or "hard".
        min_words: fewest words of a value; None for the tier's.
        max_words: most words of a value, at most 10; None for the tier's.
        has_other: whether the user also tells another person's value; None for the tier's.
        **kwargs: those of `ChatEnv`.

    Raises:
        ValueError: if the tier is unknown or the word counts are out of range.
    """

    metric_names = ("share_in_place",)

    def __init__(
        self,
        tier: str = "default",
        *,
        min_words: int | None = None,
        max_words: int | None = None,
        has_other: bool | None = None,
        **kwargs: Any,
    ) -> None:
        if tier not in _TIERS:
            raise ValueError(f"tier must be one of {sorted(_TIERS)}, got {tier!r}.")
        settings = _TIERS[tier]
        self.min_words = settings.min_words if min_words is None else min_words
        self.max_words = settings.max_words if max_words is None else max_words
        if not 1 <= self.min_words <= self.max_words <= _MAX_WORDS:
            raise ValueError(
                f"min_words and max_words must be ordered and within 1 to {_MAX_WORDS}, got "
                f"{self.min_words} and {self.max_words}."
            )
        self.has_other = settings.has_other if has_other is None else has_other
        self._data = _data()
        self._words: list[str] = self._data["words"][settings.word_list]
        self._slots: list[str] = self._data["slots"][
            "easy" if tier == "easy" else "default"
        ]
        kwargs.setdefault("max_turns", 1)
        super().__init__(**kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal, phrasing, distraction = split_streams(rng, 3)
        length = self.min_words + int(
            goal.random() * (self.max_words - self.min_words + 1)
        )
        sizes = [len(self._slots), *[len(self._words)] * length]
        slot, *words = draw_combination(
            [goal.random() for _ in sizes], sizes, self.split
        )
        self._goal = Claim(self._slots[slot], tuple(self._words[i] for i in words))
        rules = self._data["rules"][self.split]
        greeting, core, ending = draw_parts(
            [self._data[part] for part in ("greetings", "cores", "endings")],
            phrasing,
            self.split,
        )
        said = core.format(slot=self._goal.slot, value=" ".join(self._goal.words))
        other = self._other(words, distraction) if self.has_other else ""
        rule = rules[int(phrasing.random() * len(rules))].format(turns=self.max_turns)
        return [
            system(rule),
            user(greeting + said + other + ending),
        ]

    def _other(self, words: Sequence[int], stream: Stream) -> str:
        """Return a sentence about another person, whose value differs in every word."""
        shifts = [1 + int(stream.random() * (len(self._words) - 1)) for _ in words]
        others = [
            self._words[(i + s) % len(self._words)] for i, s in zip(words, shifts)
        ]
        sentence: str = self._data["other"]
        return sentence.format(slot=self._goal.slot, value=" ".join(others))

    def _respond(self, reply: str) -> Turn:
        claim = read_claim(reply)
        is_right = claim == self._goal
        if claim is None:
            text = self._data["unread"]
        else:
            text = self._data["right" if is_right else "wrong"]
        return Turn(
            messages=[user(text)],
            reward=float(is_right),
            ended=is_right,
            success=is_right,
            why="copied" if is_right else "",
            metrics={"share_in_place": _share_in_place(claim, self._goal)},
        )

    def expert_reply(self) -> str:
        """Return the user's value in a sentence."""
        return f"Your {self._goal.slot} is {' '.join(self._goal.words)}."

    def blind_reply(self) -> str:
        """Return one slot with one value of the commonest length: no other is likelier."""
        return (
            f"Your {self._slots[0]} is {' '.join(self._words[1 : self.min_words + 1])}."
        )

    def candidate_replies(self) -> list[str]:
        """Return a sentence for each slot and word."""
        return [f"Your {s} is {w}." for w in self._words for s in self._slots]


def read_claim(text: str) -> Claim | None:
    """Return the one thing that `text` says of the user, or None if it is none or several.

    >>> read_claim("Hi! Your code is RED cat, right?")
    Claim(slot='code', words=('red', 'cat'))
    >>> read_claim("Red cat is your code.") == read_claim("your code: red cat")
    True
    >>> read_claim("My code is red cat."), read_claim("Your code is a. Your code is b.")
    (None, None)
    """
    if len(text) > _MAX_CHARACTERS:
        return None
    claims = [
        claim
        for sentence in _SENTENCE_END.split(text.lower())
        if (claim := _claim(_WORD.findall(sentence))) is not None
    ]
    return claims[0] if len(claims) == 1 else None


def score(shares: Sequence[float]) -> float:
    """Return the diagnostic's score in [0, 1].

    Args:
        shares: for each entry of `SWEEP`, the share of successes of a trained agent.

    >>> score([1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0])
    0.642857...
    """
    if len(shares) != len(SWEEP) or not all(0 <= s <= 1 for s in shares):
        raise ValueError(f"Expected {len(SWEEP)} shares in [0, 1], got {shares}.")
    return sum(shares) / len(SWEEP)


def _claim(words: list[str]) -> Claim | None:
    if "your" not in words:
        return None
    place = words.index("your")
    if place + 1 == len(words):
        return None
    before, slot, after = words[:place], words[place + 1], words[place + 2 :]
    if not after and before and before[-1] in _VERBS:
        return _checked(slot, before[:-1])
    if after and after[0] in _VERBS:
        after = after[1:]
    return _checked(slot, after) if _LEADS.issuperset(before) else None


def _checked(slot: str, words: list[str]) -> Claim | None:
    """Return the claim without the words that only surround a value; None if nothing is left."""
    start, end = 0, len(words)
    while start < end and words[start] in _LEADS:
        start += 1
    while start < end and words[end - 1] in _TRAILS:
        end -= 1
    return Claim(slot, tuple(words[start:end])) if start < end else None


def _share_in_place(claim: Claim | None, goal: Claim) -> float:
    """Return the share of places at which the values have the same word, 0 for another slot."""
    if claim is None or claim.slot != goal.slot:
        return 0.0
    num_right = sum(map(str.__eq__, claim.words, goal.words))
    return num_right / max(len(claim.words), len(goal.words))


make_vector = vector_entry_point(CopyBack)
