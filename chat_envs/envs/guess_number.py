"""`GuessNumber`: find the user's number; each guess is answered "higher" or "lower".

The reward is 1 for the number and 0 else: all that counts is to find it within the turns.
A guess is exactly one whole number of the range, in digits; anything else, a list too, is answered
"Sorry, I did not get that." and costs the turn.

Binary search finds every number up to n within floor(log2 n) + 1 guesses, and no policy
can promise fewer (each answer leaves one of two halves), so the expert's return is 1 in every tier.
"""

from __future__ import annotations

import functools
import math
import re
from typing import Any, Mapping

import numpy as np

from chat_envs.core import ChatEnv, Turn
from chat_envs.data_file import load_json
from chat_envs.message import Conversation, Message, Role, system, user
from chat_envs.simulators.combination import join_parts
from chat_envs.vector import vector_entry_point

__all__ = ["GuessNumber", "make_vector", "read_guess", "worst_case_guesses"]

_data = functools.partial(load_json, "guess_number.json")
# One combination of phrases in three is held out, never the first of all.
_combined = functools.partial(join_parts, held_out=3, start=1)

# tier -> highest number, turns, context length (long replies in every turn must not truncate).
_TIERS: Mapping[str, tuple[int, int, int]] = {
    "easy": (10, 4, 384),
    "default": (50, 7, 384),
    "hard": (1000, 12, 640),
}
_NUMBER = re.compile(r"[0-9]+")
_MAX_DIGITS = 9
_MAX_CHARACTERS = 300
_HELD_OUT = (7, 3)  # numbers that leave 3 when divided by 7 are goals of the test split
_SMALLEST_HOLDING_OUT = 20


class GuessNumber(ChatEnv):
    """Guess a number from 1 to `highest`.

    Tiers: "easy" 1-10 in 4 turns, "default" 1-50 in 7, "hard" 1-1000 in 12. From 20 numbers on,
    every seventh is a goal of the test split alone; shorter ranges hold out phrasings only, which
    are combinations of parts that are seen in training.

    Args:
        tier: "easy", "default" or "hard".
        highest: the largest number; None for the tier's.
        max_turns: guesses; None for the tier's.
        shaping: weight of the component "shaping", the gain in the potential
            1 - log2(candidates) / log2(highest), which is 0 at the start and by definition 0 at
            the end of an episode. What it pays sums to 0 over every episode, so each policy keeps
            its return and the best stays best (Ng et al. 1999, eq. 2, discount 1).
        **kwargs: those of `ChatEnv`.

    Raises:
        ValueError: if the tier is unknown, or there is nothing to guess.
    """

    component_names = ("task", "shaping")
    metric_names = ("candidates",)

    def __init__(
        self,
        tier: str = "default",
        *,
        highest: int | None = None,
        max_turns: int | None = None,
        shaping: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if tier not in _TIERS:
            raise ValueError(f"tier must be one of {sorted(_TIERS)}, got {tier!r}.")
        tier_highest, tier_turns, context_length = _TIERS[tier]
        self.highest = tier_highest if highest is None else highest
        if self.highest < 2 or len(str(self.highest)) > _MAX_DIGITS:
            raise ValueError(
                f"highest must be from 2 to {10**_MAX_DIGITS - 1}, got {self.highest}."
            )
        if not math.isfinite(shaping) or shaping < 0:
            raise ValueError(
                f"shaping must be a finite weight of at least 0, got {shaping}."
            )
        self.shaping = shaping
        kwargs.setdefault("context_length", context_length)
        limit = tier_turns if max_turns is None else max_turns
        super().__init__(max_turns=limit, **kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        # The goal comes first from the generator, so phrasing never changes it.
        self._goal = _draw_goal(rng.random(), self.highest, self.split)
        self._low, self._high = 1, self.highest
        self._draws = rng.random(self.max_turns + 2).tolist()
        rules, question = self._phrase("system"), self._phrase("user")
        return [
            system(rules.format(turns=self.max_turns)),
            user(question.format(highest=self.highest)),
        ]

    def _respond(self, reply: str) -> Turn:
        guess = read_guess(reply, self.highest)
        is_won = guess == self._goal
        is_over = is_won or self.is_last_turn
        before = self._potential()
        if guess is None:
            text = _data()["unread"]
        elif is_won:
            text = self._phrase("found")
            self._low = self._high = guess
        elif guess < self._goal:
            text = self._phrase("higher")
            self._low = max(self._low, guess + 1)
        else:
            text = self._phrase("lower")
            self._high = min(self._high, guess - 1)
        if is_over and not is_won:
            text += _data()["lost"].format(number=self._goal)
        after = 0.0 if is_over else self._potential()
        return Turn(
            messages=[user(text)],
            reward={"task": float(is_won), "shaping": self.shaping * (after - before)},
            ended=is_won,
            success=is_won,
            why="found" if is_won else "",
            metrics={"candidates": float(self._high - self._low + 1)},
        )

    def expert_reply(self) -> str:
        """Return the middle of what is still possible."""
        low, high = self.interval(self.conversation)
        return str((low + high) // 2)

    def blind_reply(self) -> str:
        """Return a number, another one each turn: without answers all distinct ones are equal.

        They are neighbours in the middle, so that they meet the goals of both splits alike.
        """
        first = max(1, (self.highest - self.max_turns) // 2 + 1)
        return str((first + self.turn - 1) % self.highest + 1)

    def candidate_replies(self) -> list[str]:
        """Return the numbers, the first hundred of them."""
        return [str(number) for number in range(1, min(self.highest, 100) + 1)]

    def interval(self, conversation: Conversation) -> tuple[int, int]:
        """Return the lowest and the highest number that `conversation` leaves possible."""
        low, high = 1, self.highest
        guess = None
        for message in conversation:
            if message.role is Role.ASSISTANT:
                guess = read_guess(message.content, self.highest)
            elif message.role is Role.USER and guess is not None:
                answer = message.content.lower()
                if "higher" in answer:
                    low = max(low, guess + 1)
                elif "lower" in answer:
                    high = min(high, guess - 1)
                guess = None
        return low, high

    def _potential(self) -> float:
        num_candidates = self._high - self._low + 1
        return 1.0 - math.log2(num_candidates) / math.log2(self.highest)

    def _phrase(self, key: str) -> str:
        choices = _phrases(self.split)[key]
        return choices[int(self._draws.pop() * len(choices))]


@functools.cache
def _phrases(split: str) -> dict[str, list[str]]:
    """Return what may be said on a split, by what it says."""
    parts = _data()["openings"] | _data()["answers"]
    return {key: _combined(said)[split] for key, said in parts.items()}


def read_guess(text: str, highest: int) -> int | None:
    """Return the one whole number that `text` names, or None.

    Two numbers are no guess, even if they are equal, nor is a fraction, a negative number or
    one above `highest`.

    >>> read_guess("Is it 7?", 10), read_guess("7 or 8", 10), read_guess("-7", 10)
    (7, None, None)
    >>> read_guess("7.5", 10), read_guess("11", 10), read_guess("seven", 10)
    (None, None, None)
    """
    if len(text) > _MAX_CHARACTERS:
        return None
    matches = _NUMBER.findall(text)
    if len(matches) != 1 or len(matches[0]) > _MAX_DIGITS:
        return None
    before, _, after = text.partition(matches[0])
    if before[-1:] in ("-", "\u2212", ".", ",") or after[:1] == "%":
        return None
    number = int(matches[0])
    return number if 1 <= number <= highest else None


def worst_case_guesses(highest: int) -> int:
    """Return how many guesses the best policy may need for a number from 1 to `highest`.

    >>> [worst_case_guesses(n) for n in (1, 10, 50, 1000)]
    [1, 4, 6, 10]
    """
    return highest.bit_length()


def _draw_goal(draw: float, highest: int, split: str) -> int:
    """Return a goal of `split` for a uniform `draw` in [0, 1)."""
    divisor, remainder = _HELD_OUT
    if highest < _SMALLEST_HOLDING_OUT:
        return 1 + int(draw * highest)
    num_held_out = (highest - remainder) // divisor + 1
    if split == "test":
        return remainder + divisor * int(draw * num_held_out)
    # The k-th number that is not held out: of every seven, one is skipped.
    k = int(draw * (highest - num_held_out))
    number = 1 + k + (k + divisor - remainder) // (divisor - 1)
    return number


make_vector = vector_entry_point(GuessNumber)
