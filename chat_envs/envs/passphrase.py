"""`Passphrase`: of two words one is right, k times in a row, and only the whole row is rewarded.

A wrong word ends the episode with nothing. Who tries at random meets the reward once in 2^k
episodes; who notes which word ended an episode knows all after about k. The deep sea of bsuite
(Osband et al. 2020, arXiv:1908.03568) in language: what counts is exploration.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from typing import Any, Mapping, Sequence

import numpy as np

from chat_envs.context import as_count
from chat_envs.core import ChatEnv, Turn
from chat_envs.data_file import load_json
from chat_envs.envs._diagnostic import SOLVED, as_index, told_turns
from chat_envs.message import Message, Role, system, user
from chat_envs.simulators.choice import ChoiceReader
from chat_envs.simulators.combination import draw_parts
from chat_envs.simulators.permutation import draw_permutation, is_odd
from chat_envs.simulators.stream import split_streams
from chat_envs.vector import vector_entry_point

__all__ = ["Passphrase", "SWEEP", "episodes_to_solve", "make_vector", "score"]

_data = functools.partial(load_json, "passphrase.json")

SWEEP = tuple({"length": length} for length in range(2, 11))
"""Keywords of `Passphrase`, from easy to hard: how many replies must be right."""

_TIERS: Mapping[str, int] = {"easy": 4, "default": 6, "hard": 10}
_MIN_LENGTH = 2
_SMALLEST_HOLDING_OUT = 4  # of fewer questions, half of the orders would tell the rest
# Ids that a message may have on any tokenizer, to size the context so that no reply truncates.
_OPENING_IDS, _QUESTION_IDS = 64, 32
_WINDOW = 20  # episodes over which it is judged whether a phrase is known
_GRACE = 100  # episodes beyond those of a random search
_WORD = re.compile(r"\w+")


class Passphrase(ChatEnv):
    """Find k right words, each of a pair, by nothing but the reward for all of them.

    Tiers: "easy" k = 4, "default" k = 6, "hard" k = 10. The user asks "cat or red?", "owl or
    pink?" and so on: the same k pairs in every episode, in an order drawn anew, each pair in
    either order. The right words are fixed by `code` and never told; the expert is one who has
    learnt them. The reward is 1 for the last of k right replies, and that is success; any other
    reply ends the episode with 0. Held out are orders of the pairs (from k = 4 on) and
    combinations of the words around them.

    Without the user's words, even one who knows the right words guesses their order: in train and
    test alike 2/k! of the episodes can be won so, where orders are held out, else 1/k!.

    After the deep sea of bsuite (Osband et al. 2020, arXiv:1908.03568); there is no cost of moving.

    Args:
        tier: "easy", "default" or "hard".
        length: k, from 2 to 10; None for the tier's.
        code: which words, and which of them are right: an integer of at least 0.
        **kwargs: those of `ChatEnv`; `max_turns` is k.

    Raises:
        TypeError: if a number is no integer.
        ValueError: if the tier is unknown or a number is out of range.
    """

    metric_names = ("num_right",)

    def __init__(
        self,
        tier: str = "default",
        *,
        length: int | None = None,
        code: int = 0,
        **kwargs: Any,
    ) -> None:
        if tier not in _TIERS:
            raise ValueError(f"tier must be one of {sorted(_TIERS)}, got {tier!r}.")
        self._data = _data()
        self._reader = _reader()
        longest = len(self._data["words"]) // 2
        self.length = as_count("length", _TIERS[tier] if length is None else length)
        if not _MIN_LENGTH <= self.length <= longest:
            raise ValueError(
                f"length must be from {_MIN_LENGTH} to {longest}, got {self.length}."
            )
        self.code = as_index("code", code)
        words = _shuffled_words(self.code)
        self._right, self._wrong = words[: self.length], words[longest:]
        room = as_count("reply_length", kwargs.get("reply_length", 24)) + _QUESTION_IDS
        needed = _OPENING_IDS + self.length * room
        kwargs.setdefault("context_length", max(384, needed))
        kwargs.setdefault("max_turns", self.length)
        if as_count("max_turns", kwargs["max_turns"]) < self.length:
            raise ValueError(
                f"max_turns must be at least the length, {self.length}, got "
                f"{kwargs['max_turns']}."
            )
        super().__init__(**kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal, behaviour, phrasing = split_streams(rng, 3)
        self._order = draw_permutation(goal, self.length)
        if self._holds_out_orders and is_odd(self._order) != (self.split == "test"):
            self._order[-2:] = self._order[:-3:-1]
        self._is_right_first = [behaviour.random() < 0.5 for _ in self._order]
        parts = self._data["beginnings"], self._data["questions"]
        beginning, self._question_form = draw_parts(parts, phrasing, self.split)
        rules = self._data["rules"].format(
            length=self.length, turns=told_turns(self.max_turns)
        )
        return [system(rules), user(beginning + self._question(0))]

    def _respond(self, reply: str) -> Turn:
        word = self._reader.read(reply)
        if word != self._right[self._order[self.turn - 1]]:
            why = "wrong" if word else "unread"
            return Turn(
                messages=[user(self._data[why])],
                reward=0.0,
                ended=True,
                why=why,
                metrics={"num_right": self.turn - 1.0},
            )
        metrics = {"num_right": float(self.turn)}
        if self.turn < self.length:
            said = self._data["next"] + self._question(self.turn)
            return Turn(messages=[user(said)], reward=0.0, metrics=metrics)
        return Turn(
            messages=[user(self._data["right"])],
            reward=1.0,
            ended=True,
            success=True,
            why="right",
            metrics=metrics,
        )

    def expert_reply(self) -> str:
        """Return the right one of the two words, as one who has learnt the code."""
        said = self.conversation.last(Role.USER)
        words: list[str] = _WORD.findall(said.content) if said else []
        return next(word for word in words if word in self._right)

    def blind_reply(self) -> str:
        """Return the right words in one order that occurs; no other is likelier.

        It knows the code, so that nothing but the user's words is missing.
        """
        order = list(range(self.length))
        if self._holds_out_orders and self.split == "test":
            order[-2:] = order[:-3:-1]
        return self._right[order[self.turn]]

    def candidate_replies(self) -> list[str]:
        """Return all words."""
        return list(self._data["words"])

    @property
    def _holds_out_orders(self) -> bool:
        return self.length >= _SMALLEST_HOLDING_OUT

    def _question(self, place: int) -> str:
        pair = self._right[self._order[place]], self._wrong[self._order[place]]
        one, other = pair if self._is_right_first[place] else pair[::-1]
        return self._question_form.format(one=one, other=other)


def episodes_to_solve(successes: Sequence[bool]) -> float:
    """Return after how many episodes of training at least 0.75 of the last 20 succeeded.

    Args:
        successes: whether each episode did, in the order of training.

    Returns:
        The number of episodes, infinity if that never happens.

    >>> episodes_to_solve([False] * 30 + [True] * 20), episodes_to_solve([True] * 19)
    (45.0, inf)
    """
    totals = [0, *itertools.accumulate(map(int, successes))]
    for end in range(_WINDOW, len(totals)):
        if totals[end] - totals[end - _WINDOW] >= SOLVED * _WINDOW:
            return float(end)
    return math.inf


def score(runs: Sequence[Sequence[bool]]) -> float:
    """Return the share of `SWEEP` that is solved before 2^k + 100 episodes, in [0, 1].

    Args:
        runs: for each entry of `SWEEP`, whether each training episode succeeded, in order (see
            `episodes_to_solve`).

    >>> score([[True] * 20] * 9), score([[False] * 9999 + [True] * 20] * 9)
    (1.0, 0.0)
    """
    if len(runs) != len(SWEEP):
        raise ValueError(f"The sweep has {len(SWEEP)} settings, got {len(runs)} runs.")
    limits: list[int] = [2 ** settings["length"] + _GRACE for settings in SWEEP]
    solved = [episodes_to_solve(run) < limit for run, limit in zip(runs, limits)]
    return sum(solved) / len(solved)


@functools.cache
def _shuffled_words(code: int) -> list[str]:
    words: list[str] = _data()["words"]
    order = draw_permutation(np.random.default_rng(code), len(words))
    return [words[i] for i in order]


@functools.cache
def _reader() -> ChoiceReader:
    data = _data()
    return ChoiceReader(data["words"], data["frames"], data["aliases"])


make_vector = vector_entry_point(Passphrase)
