"""Combinations that are held out, made of parts that are seen.

A combination is one index for each place, such as a greeting, a core and an ending, or the words
of a value. Those whose indices sum to a multiple of `held_out` belong to the test split. The last
index alone then decides, whatever the others are, so both splits are drawn without a retry; and
a value occurs in both, at every place, if some other place has at least `held_out` values.
"""

from __future__ import annotations

import functools
import itertools
from typing import Sequence

from chat_envs.simulators.stream import Uniform

__all__ = ["draw_combination", "draw_parts", "is_held_out", "join_parts"]


def is_held_out(indices: Sequence[int], held_out: int = 4) -> bool:
    """Return whether the combination belongs to the test split.

    >>> is_held_out([1, 3]), is_held_out([1, 2])
    (True, False)
    """
    return sum(indices) % held_out == 0


def draw_combination(
    draws: Sequence[float], sizes: Sequence[int], split: str, held_out: int = 4
) -> list[int]:
    """Return an index below each of `sizes`, together a combination of `split`.

    Args:
        draws: a uniform draw from [0, 1) for each place.
        sizes: how many values each place has; the last one at least `held_out`.
        split: "train" or "test".
        held_out: one combination in so many is of the test split; at least 2.

    Raises:
        ValueError: if the last place is too small to be in both splits.

    >>> draw_combination([0.0, 0.5], [4, 4], "test"), draw_combination([0.0, 0.5], [4, 4], "train")
    ([0, 0], [0, 2])
    """
    if not 2 <= held_out <= sizes[-1]:
        raise ValueError(
            f"The last place has {sizes[-1]} values; one in {held_out} cannot be held out."
        )
    indices = [int(draw * size) for draw, size in zip(draws[:-1], sizes[:-1])]
    choices = _last_indices(sizes[-1], sum(indices) % held_out, held_out, split)
    return [*indices, choices[int(draws[-1] * len(choices))]]


def draw_parts(
    parts: Sequence[Sequence[str]], rng: Uniform, split: str, held_out: int = 4
) -> list[str]:
    """Return one text of each of `parts`, together a combination of `split`.

    >>> from chat_envs.simulators.stream import Stream
    >>> draw_parts([["Hi."], ["Stop.", "Go."]], Stream([0.0, 0.9, 0.5]), "train", held_out=2)
    ['Hi.', 'Go.']
    """
    sizes = [len(part) for part in parts]
    draws = [rng.random() for _ in parts]
    indices = draw_combination(draws, sizes, split, held_out)
    return [part[i] for part, i in zip(parts, indices)]


def join_parts(
    parts: Sequence[Sequence[str]], held_out: int = 4, *, start: int = 0
) -> dict[str, list[str]]:
    """Return, by split, every combination of one text of each of `parts`, joined.

    Args:
        parts: the texts for each place.
        held_out: one combination in so many is of the test split.
        start: added to each sum; 1 leaves the first combination in the training split.

    >>> join_parts([["Yes", "Yes yes"], [".", "!"]], held_out=3, start=1)
    {'train': ['Yes.', 'Yes!', 'Yes yes.'], 'test': ['Yes yes!']}
    """
    texts: dict[str, list[str]] = {"train": [], "test": []}
    for indices in itertools.product(*(range(len(part)) for part in parts)):
        split = "test" if is_held_out((start, *indices), held_out) else "train"
        texts[split].append("".join(part[i] for part, i in zip(parts, indices)))
    return texts


@functools.cache
def _last_indices(
    size: int, remainder: int, held_out: int, split: str
) -> tuple[int, ...]:
    """Return the indices that complete a sum of `remainder` to a combination of `split`."""
    is_test = split == "test"
    return tuple(
        i for i in range(size) if is_held_out((remainder, i), held_out) == is_test
    )
