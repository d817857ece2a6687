"""`Echo`: the user says some words, the agent says the same words.

The simplest task that needs the user's words: whatever cannot learn it does not read. Reward and
success are 1 for the same words in the same order, whatever their case and punctuation, else 0.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import Any, Mapping

import numpy as np

from chat_envs.core import ChatEnv, Turn
from chat_envs.data_file import load_json
from chat_envs.message import Message, Role, system, user
from chat_envs.vector import vector_entry_point

__all__ = ["Echo", "SWEEP", "make_vector", "share_in_place"]

_data = functools.partial(load_json, "echo.json")

SWEEP = tuple({"min_words": k, "max_words": k} for k in (1, 2, 3, 4, 6, 8, 10))
"""Keywords of `Echo`, from easy to hard: how many words are said."""

# tier -> fewest words, most words, word list
_TIERS: Mapping[str, tuple[int, int, str]] = {
    "easy": (1, 2, "easy"),
    "default": (3, 6, "default"),
    "hard": (7, 10, "easy"),
}
_WORD = re.compile(r"\w+")
_MAX_WORDS = 10
_HELD_OUT = 4  # one combination in so many is of the test split


class Echo(ChatEnv):
    """Say what the user says, in one turn.

    Tiers: "easy" one or two of a dozen words, "default" three to six of two dozen, "hard" seven to
    ten of the dozen. Held-out goals are unseen combinations: every word is seen in training at
    every place.

    Args:
        tier: "easy", "default" or "hard".
        min_words: fewest words said; None for the tier's.
        max_words: most words said, at most 10; None for the tier's.
        has_partial_credit: pay the share of words in their place (`share_in_place`) and not
            success alone.
        **kwargs: those of `ChatEnv`.

    Raises:
        ValueError: if the tier is unknown or the word counts are out of range.
    """

    metric_names = ("share_in_place",)
    exempt_hostiles = {"echo_user": "echoing is the task"}

    def __init__(
        self,
        tier: str = "default",
        *,
        min_words: int | None = None,
        max_words: int | None = None,
        has_partial_credit: bool = False,
        **kwargs: Any,
    ) -> None:
        if tier not in _TIERS:
            raise ValueError(f"tier must be one of {sorted(_TIERS)}, got {tier!r}.")
        fewest, most, word_list = _TIERS[tier]
        self.min_words = fewest if min_words is None else min_words
        self.max_words = most if max_words is None else max_words
        if not 1 <= self.min_words <= self.max_words <= _MAX_WORDS:
            raise ValueError(
                f"min_words and max_words must be ordered and within 1 to {_MAX_WORDS}, got "
                f"{self.min_words} and {self.max_words}."
            )
        self.has_partial_credit = has_partial_credit
        self._data = _data()
        self._words: list[str] = self._data["words"][word_list]
        kwargs.setdefault("max_turns", 1)
        super().__init__(**kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        # The goal takes the first draws and as many in every episode: phrasing never changes it.
        draws: list[float] = rng.random(self.max_words + 2).tolist()
        num_words = self.min_words + int(
            draws[0] * (self.max_words - self.min_words + 1)
        )
        indices = _draw_indices(draws[1 : num_words + 1], len(self._words), self.split)
        self._said = [self._words[i] for i in indices]
        openings = self._data["openings"][self.split]
        rules = openings[int(draws[-1] * len(openings))]
        return [
            system(rules.format(turns=self.max_turns)),
            user(" ".join(self._said)),
        ]

    def _respond(self, reply: str) -> Turn:
        share = share_in_place(reply, self._said)
        is_right = share == 1.0
        return Turn(
            messages=[user(self._data["right" if is_right else "wrong"])],
            reward=share if self.has_partial_credit else float(is_right),
            ended=is_right,
            success=is_right,
            why="echoed" if is_right else "",
            metrics={"share_in_place": share},
        )

    def expert_reply(self) -> str:
        """Return what the user said first."""
        said = next(m for m in self.conversation if m.role is Role.USER)
        return said.content

    def blind_reply(self) -> str:
        """Return one combination of the commonest length: no other is likelier."""
        return " ".join(self._words[1 : self.min_words + 1])

    def candidate_replies(self) -> list[str]:
        """Return the words."""
        return list(self._words)


def share_in_place(reply: str, words: list[str]) -> float:
    """Return the share of places at which `reply` and `words` have the same word.

    Places are those of the longer one, so words too many cost as much as words that lack.

    >>> share_in_place("Cat, dog!", ["cat", "dog"]), share_in_place("cat", ["cat", "dog"])
    (1.0, 0.5)
    """
    matches = _WORD.finditer(reply)
    said = [m.group().lower() for m in itertools.islice(matches, len(words))]
    num_extra = sum(1 for _ in matches)
    num_right = sum(map(str.__eq__, said, words))
    return num_right / (len(words) + num_extra)


def _draw_indices(draws: list[float], num_words: int, split: str) -> list[int]:
    """Return an index for each of `draws`, together a combination of `split`.

    A combination is held out if sum_p (2p + 1) i_p, over places p, is divisible by 4. The weights
    are odd, so the last index alone decides whatever the others are, and each occurs in both.
    """
    indices = [int(draw * num_words) for draw in draws[:-1]]
    place = len(indices)
    weighted = sum((2 * p + 1) * i for p, i in enumerate(indices))
    choices = _last_indices(
        num_words, weighted % _HELD_OUT, (2 * place + 1) % _HELD_OUT, split
    )
    return [*indices, choices[int(draws[-1] * len(choices))]]


@functools.cache
def _last_indices(
    num_words: int, weighted: int, weight: int, split: str
) -> tuple[int, ...]:
    is_test = split == "test"
    return tuple(
        i
        for i in range(num_words)
        if ((weighted + weight * i) % _HELD_OUT == 0) == is_test
    )


make_vector = vector_entry_point(Echo)
