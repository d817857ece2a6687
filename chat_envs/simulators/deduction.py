"""Guess-and-answer games: which guess tells most about a hidden code, and what nobody can beat.

A game is a matrix: `answers[g, c]` is the answer to guess g if the code is c. Guesses and codes are
the same things in the same order. A belief is an int whose bit i says that code i is still
possible; all are equally likely. A turn is one guess; every turn but the winning one costs 1, and
*total* costs are sums over the codes, so they stay integers.

A policy is a function from a game and a belief to a guess. Two are here: `minimax_choice` (Knuth
1977) promises most in the worst case, `most_parts_choice` (Kooi 2005) costs least on average.
`can_promise` and `lower_total` say what no policy at all can beat.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

__all__ = [
    "Deduction",
    "Policy",
    "can_promise",
    "lower_total",
    "minimax_choice",
    "most_parts_choice",
    "most_solvable",
    "num_found",
    "total_cost",
]

_CACHED_CLASSES = 16384
_CACHED_CHOICES = 8192


@dataclass(frozen=True, eq=False)
class Deduction:
    """A game of guesses and answers.

    Attributes:
        answers: (N, N) uint8, the answer to each guess for each code. The answer to the right
            guess is the same for all codes and given for no other guess.

    Raises:
        ValueError: if the right guess is not told from every other one.

    >>> game = Deduction(np.array([[2, 0, 1], [0, 2, 1], [0, 1, 2]], dtype=np.uint8))
    >>> bin(game.after(0b111, guess=1, answer=0)), game.winning
    ('0b1', 2)
    """

    answers: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        size = len(self.answers)
        if self.answers.shape != (size, size) or not size:
            raise ValueError(
                f"answers must be square and not empty, got shape {self.answers.shape}."
            )
        is_won = self.answers == self.answers[0, 0]
        if not np.array_equal(is_won, np.eye(size, dtype=bool)):
            raise ValueError(
                f"The answer {self.answers[0, 0]} must be given to every right guess and to no "
                "other."
            )

    @property
    def num_codes(self) -> int:
        """How many codes there are."""
        return len(self.answers)

    @property
    def everything(self) -> int:
        """The belief that any code is possible."""
        return (1 << self.num_codes) - 1

    @property
    def winning(self) -> int:
        """The answer to the right guess."""
        return int(self.answers[0, 0])

    def after(self, belief: int, guess: int, answer: int) -> int:
        """Return what is still possible of `belief` after one more answer."""
        return belief & _class(self, guess, answer)

    def members(self, belief: int) -> npt.NDArray[np.intp]:
        """Return the codes that are possible, in ascending order."""
        num_bytes = (self.num_codes + 7) // 8
        packed = np.frombuffer(belief.to_bytes(num_bytes, "little"), dtype=np.uint8)
        bits = np.unpackbits(packed, count=self.num_codes, bitorder="little")
        return np.flatnonzero(bits)

    def classes(self, belief: int, guess: int) -> Iterator[tuple[int, int]]:
        """Yield every answer that `guess` may get, and what is then still possible."""
        for answer in np.unique(self.answers[guess, self.members(belief)]).tolist():
            yield answer, self.after(belief, guess, answer)

    def class_sizes(self, belief: int) -> npt.NDArray[np.intp]:
        """Return how many codes of `belief` give each answer to each guess: (N, A)."""
        return _class_sizes(self.answers[:, self.members(belief)], self._num_values())

    def num_parts(self, belief: int) -> npt.NDArray[np.intp]:
        """Return into how many parts each guess divides `belief`, which is not empty: (N,)."""
        told = np.sort(self.answers[:, self.members(belief)], axis=1)
        parts: npt.NDArray[np.intp] = 1 + np.count_nonzero(
            told[:, 1:] != told[:, :-1], axis=1
        )
        return parts

    def _num_values(self) -> int:
        return int(self.answers.max()) + 1


Policy = Callable[[Deduction, int], int]


@functools.lru_cache(_CACHED_CLASSES)
def _class(game: Deduction, guess: int, answer: int) -> int:
    """Return the codes that give `answer` to `guess`."""
    bits = np.packbits(game.answers[guess] == answer, bitorder="little")
    return int.from_bytes(bits.tobytes(), "little")


def _class_sizes(told: npt.NDArray[np.uint8], num_values: int) -> npt.NDArray[np.intp]:
    """Return how often each of `num_values` answers stands in each row."""
    num_rows = len(told)
    offsets = num_values * np.arange(num_rows)[:, None]
    counts = np.bincount((told + offsets).ravel(), minlength=num_values * num_rows)
    return counts.reshape(num_rows, num_values)


@functools.lru_cache(_CACHED_CHOICES)
def minimax_choice(game: Deduction, belief: int) -> int:
    """Return the guess whose likeliest answer leaves the fewest codes.

    Of equals, one that may itself be right, then the lowest: the strategy of Knuth (1977), "The
    computer as Master Mind", which never needs more than 5 guesses for 4 pegs of 6 colours.

    Args:
        game: the game.
        belief: what is still possible: at least one code.
    """
    if belief.bit_count() <= 2:
        return _lowest(belief)
    return _first_least(2 * game.class_sizes(belief).max(axis=1), game.members(belief))


@functools.lru_cache(_CACHED_CHOICES)
def most_parts_choice(game: Deduction, belief: int) -> int:
    """Return the guess that may get the most different answers.

    Of equals, one that may itself be right, then the lowest (Kooi 2005, "Yet another Mastermind
    strategy"). Each answer more is one code more that the next guess can find.

    Args:
        game: the game.
        belief: what is still possible: at least one code.
    """
    if belief.bit_count() <= 2:
        return _lowest(belief)
    return _first_least(-2 * game.num_parts(belief), game.members(belief))


def _lowest(belief: int) -> int:
    return (belief & -belief).bit_length() - 1


def _first_least(doubled: npt.NDArray[np.intp], members: npt.NDArray[np.intp]) -> int:
    """Return the index of the least of `doubled` even numbers, members before others."""
    doubled[members] -= 1
    return int(doubled.argmin())


def num_found(game: Deduction, policy: Policy, num_turns: int) -> list[int]:
    """Return how many codes `policy` finds with its first guess, its second, and so on.

    What the numbers lack to the number of codes is not found within `num_turns`.
    """
    found = [0] * num_turns
    pending = [(game.everything, 0)]
    while pending:
        belief, turn = pending.pop()
        if turn == num_turns:
            continue
        for answer, rest in game.classes(belief, policy(game, belief)):
            if answer == game.winning:
                found[turn] += 1
            else:
                pending.append((rest, turn + 1))
    return found


def total_cost(found: Sequence[int], num_codes: int) -> int:
    """Return the total cost that `num_found` means; a code not found costs every turn.

    >>> total_cost([1, 4], 6)
    6
    """
    missed = num_codes - sum(found)
    return sum(turn * n for turn, n in enumerate(found)) + len(found) * missed


def lower_total(game: Deduction, first_guesses: Sequence[int] | None = None) -> int:
    """Return a total cost that no policy goes below, if it has three turns or more.

    After the first guess and its answer m codes are left. A second guess that divides them
    into p parts finds one code of each part at best at the third turn, or one at the second if
    it is among them; the others cost a turn more. That is exact for what is left after two guesses
    and optimistic for the rest.

    Args:
        game: the game.
        first_guesses: those to try, one of each kind where others are the same by symmetry;
            None for all.
    """
    guesses = range(game.num_codes) if first_guesses is None else first_guesses
    return min(_lower_total_of(game, guess) for guess in guesses)


def _lower_total_of(game: Deduction, guess: int) -> int:
    total = 0
    for answer, belief in game.classes(game.everything, guess):
        if answer != game.winning:
            best = game.num_parts(belief)
            best[game.members(belief)] += 1
            total += 3 * belief.bit_count() - int(best.max())
    return total


def most_solvable(num_answers: int, num_guesses: int) -> int:
    """Return how many codes `num_guesses` can find at most if a guess has `num_answers` answers.

    >>> [most_solvable(14, k) for k in range(5)]
    [0, 1, 14, 183, 2380]
    """
    total = 0
    for _ in range(num_guesses):
        total = 1 + (num_answers - 1) * total
    return total


def can_promise(
    game: Deduction,
    num_guesses: int,
    first_guesses: Sequence[int] | None = None,
) -> bool:
    """Return whether some policy finds every code within `num_guesses`: an exhaustive search.

    It is exact: a guess is left out only if one of its parts has more codes than the guesses
    that are left could find (`most_solvable`).

    Args:
        game: the game.
        num_guesses: how many guesses there are.
        first_guesses: those to try, one of each kind where others are the same by symmetry;
            None for all.
    """
    num_answers = len(np.unique(game.answers))
    known: dict[tuple[int, int], bool] = {}

    def search(belief: int, left: int, guesses: Sequence[int] | None = None) -> bool:
        size = belief.bit_count()
        if size <= min(left, 1):
            return True
        if size > most_solvable(num_answers, left):
            return False
        key = (belief, left)
        if key not in known:
            largest = game.class_sizes(belief).max(axis=1)
            limit = most_solvable(num_answers, left - 1)
            order = np.arange(game.num_codes) if guesses is None else np.array(guesses)
            order = order[np.argsort(largest[order], kind="stable")]
            known[key] = any(
                largest[guess] <= limit and divides(belief, int(guess), left - 1)
                for guess in order
            )
        return known[key]

    def divides(belief: int, guess: int, left: int) -> bool:
        parts = [
            part
            for answer, part in game.classes(belief, guess)
            if answer != game.winning
        ]
        # The hardest first. A guess that tells nothing only wastes one.
        parts.sort(key=int.bit_count, reverse=True)
        return belief not in parts and all(search(part, left) for part in parts)

    return search(game.everything, num_guesses, first_guesses)
