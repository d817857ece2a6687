"""Wordle's words: the lists, which of them are held out, and what every guess is answered.

A mark is 0 for a letter that is not in the word, 1 for one that stands elsewhere and 2 for one
in its place. An answer is a number whose digits in base 3 are the marks, the first letter's
lowest.
"""

from __future__ import annotations

import functools
from typing import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from chat_envs.data_file import load_json
from chat_envs.simulators.deduction import Deduction

__all__ = ["answer_matrix", "data", "game", "marks_of", "split_words", "word_list"]

data = functools.partial(load_json, "wordle.json")
"""The words and templates."""

# Words whose checksum leaves 2 when divided by 4 are goals of the test split, if they can be.
_HELD_OUT = (4, 2)
_NEAR, _RIGHT = 1, 2


@functools.cache
def word_list(num_letters: int) -> tuple[str, ...]:
    """Return the words of so many letters, in alphabetical order: all goals and guesses."""
    return tuple(" ".join(data()["words"][str(num_letters)]).split())


@functools.cache
def game(num_letters: int) -> Deduction:
    """Return the game of guessing one of the words of so many letters."""
    return Deduction(answer_matrix(word_list(num_letters)))


@functools.cache
def split_words(num_letters: int) -> Mapping[str, tuple[str, ...]]:
    """Return the goals of each split.

    A held-out word is an unseen combination of seen values: each of its letters stands at the same
    place of some training word. A word for which that cannot be is a training word.
    """
    words = word_list(num_letters)
    divisor, remainder = _HELD_OUT
    chosen = [word for word in words if _checksum(word) % divisor == remainder]
    train = set(words).difference(chosen)
    seen = {pair for word in train for pair in enumerate(word)}
    for word in chosen:
        if not seen.issuperset(enumerate(word)):
            train.add(word)
            seen.update(enumerate(word))
    return {
        "train": tuple(word for word in words if word in train),
        "test": tuple(word for word in words if word not in train),
    }


def _checksum(word: str) -> int:
    # Odd weights: no letter at no place decides alone.
    return sum((2 * place + 1) * ord(letter) for place, letter in enumerate(word))


def marks_of(answer: int, num_letters: int) -> list[int]:
    """Return the marks that an answer means, first letter first.

    >>> marks_of(2 + 3 * 0 + 9 * 1, 3)
    [2, 0, 1]
    """
    marks = []
    for _ in range(num_letters):
        answer, mark = divmod(answer, 3)
        marks.append(mark)
    return marks


def answer_matrix(words: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Return the answer to every guess (row) for every goal (column).

    Letters in their place are marked first. The others then take, from left to right, one letter of
    the goal each, so a letter is not marked more often than the goal has it.

    >>> answer_matrix(["eel", "ell"]).tolist()  # the second e of "eel" is one too many
    [[26, 20], [20, 26]]
    """
    letters = np.array([list(word.encode()) for word in words], dtype=np.uint8)
    places = range(letters.shape[1])
    # The goals that have a letter at a place, eight to a byte.
    alphabet = np.arange(letters.max() + 1, dtype=np.uint8)[:, None]
    having = [np.packbits(alphabet == letters[:, place], axis=1) for place in places]
    is_right = [having[k][letters[:, k]] for k in places]
    is_free = [~right for right in is_right]  # the goal's letters that are not taken
    answers = np.zeros((len(words), len(words)), dtype=np.uint8)
    for k in places:
        is_open = ~is_right[k]
        marks = np.zeros_like(is_open)  # the goals for which it stands elsewhere
        for place in places:
            is_near = is_open & is_free[place] & having[place][letters[:, k]]
            marks |= is_near
            is_free[place] &= ~is_near
            is_open &= ~is_near
        for mark, packed in ((_RIGHT, is_right[k]), (_NEAR, marks)):
            answers += _unpacked(packed, len(words)) * np.uint8(mark * 3**k)
    return answers


def _unpacked(packed: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint8]:
    """Return the bits of each row, the first `count` of them."""
    return np.unpackbits(packed, axis=1, count=count)
