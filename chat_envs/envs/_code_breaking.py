"""What Wordle and Mastermind share: a hidden code, guesses, marks that leave fewer codes."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Sequence

from chat_envs.core import ChatEnv, Turn
from chat_envs.message import user
from chat_envs.simulators.combination import draw_combination
from chat_envs.simulators.deduction import Deduction
from chat_envs.simulators.stream import Stream

__all__ = ["CodeBreaking"]

_HELD_OUT = 3  # one combination of phrases in so many is of the test split


class CodeBreaking(ChatEnv):
    """A turn is a guess: -1, and 0 for the one that is the code.

    A subclass sets `_game` before `super().__init__` and `_goal` in `_opening`, after `_start`.

    Args:
        shaping: weight of the component "shaping", the gain in the potential
            1 - log2(candidates) / log2(codes), which is 0 at the start and by definition 0 at the
            end of an episode: each policy keeps its return (Ng et al. 1999, eq. 2, discount 1).
        **kwargs: those of `ChatEnv`.

    Raises:
        ValueError: if `shaping` is no finite weight.
    """

    component_names = ("task", "shaping")
    metric_names = ("candidates", "invalid")

    _game: Deduction
    _goal: Any

    def __init__(self, *, shaping: float = 0.0, **kwargs: Any) -> None:
        if not math.isfinite(shaping) or shaping < 0:
            raise ValueError(
                f"shaping must be a finite weight of at least 0, got {shaping}."
            )
        self.shaping = shaping
        super().__init__(**kwargs)

    def _start(self, phrasing: Stream) -> None:
        """Start an episode in which every code is possible."""
        self._phrasing = phrasing
        self._belief = self._game.everything
        self._num_invalid = 0

    def _respond(self, reply: str) -> Turn:
        guess = self._guess_in(reply)
        is_won = guess == self._goal
        is_over = is_won or self.is_last_turn
        before = self._potential()
        if guess is None or not self._is_valid(guess):
            text = self._refusal(guess)
            self._num_invalid += 1
        else:
            text = self._answer(guess)
        if is_over and not is_won:
            text += self._lost()
        after = 0.0 if is_over else self._potential()
        return Turn(
            messages=[user(text)],
            reward={
                "task": 0.0 if is_won else -1.0,
                "shaping": self.shaping * (after - before),
            },
            ended=is_won,
            success=is_won,
            why="found" if is_won else "",
            metrics={
                "candidates": float(self._belief.bit_count()),
                "invalid": float(self._num_invalid),
            },
        )

    @abstractmethod
    def _guess_in(self, reply: str) -> Any:
        """Return the guess that `reply` is, or None."""

    @abstractmethod
    def _is_valid(self, guess: Any) -> bool:
        """Return whether `guess` could be the code."""

    @abstractmethod
    def _answer(self, guess: Any) -> str:
        """Return what is said of a valid guess; the belief takes note."""

    @abstractmethod
    def _refusal(self, guess: Any) -> str:
        """Return what is said of a guess that is not valid, or of None."""

    @abstractmethod
    def _lost(self) -> str:
        """Return what is added when the last try was wrong."""

    def _potential(self) -> float:
        if not self.shaping:
            return 0.0
        num_candidates = self._belief.bit_count()
        return 1.0 - math.log2(num_candidates) / math.log2(self._game.num_codes)

    def _draw(self, first: Sequence[str], second: Sequence[str]) -> tuple[str, str]:
        """Return one of each, together a combination of the split."""
        draws = [self._phrasing.random(), self._phrasing.random()]
        sizes = [len(first), len(second)]
        i, j = draw_combination(draws, sizes, self.split, _HELD_OUT)
        return first[i], second[j]
