"""What one of several possible things costs to find by yes/no questions.

A belief is an int whose bit i says that thing i is still possible; all are equally likely. A turn
asks a question or guesses one thing; every turn but the winning one costs 1. *Total* costs
are sums over the things of a belief, so they stay integers; the mean is the total divided by their
number.

Three figures bound each other: `ideal_total` <= `optimal_total` <= `greedy_total`.
"""

from __future__ import annotations

import functools
from typing import Sequence

__all__ = [
    "GUESS",
    "greedy_choice",
    "greedy_total",
    "ideal_total",
    "optimal_total",
]

GUESS = -1


def greedy_choice(masks: Sequence[int], belief: int) -> int:
    """Return the index of the question that tells most, or `GUESS`.

    The expected information of an answer (Shannon 1948), h(p) = -p log p - (1-p) log(1-p), falls
    with |2p - 1|, so the most even split is the best and no logarithm is taken. A guess splits one
    from the rest and may win besides: it is preferred wherever no question tells more.

    Args:
        masks: the things for which the answer to each question is yes.
        belief: the things still possible, at least one.

    >>> greedy_choice([0b0011, 0b0001], 0b1111), greedy_choice([0b01], 0b11)
    (0, -1)
    """
    num_things = belief.bit_count()
    best, choice = abs(num_things - 2), GUESS
    for index, mask in enumerate(masks):
        unevenness = abs(2 * (belief & mask).bit_count() - num_things)
        if unevenness < best:
            best, choice = unevenness, index
    return choice


def greedy_total(masks: Sequence[int], belief: int, num_turns: int) -> int:
    """Return the exact total cost of asking by `greedy_choice`, guessing the lowest bit first."""
    num_things = belief.bit_count()
    if not num_things or not num_turns:
        return 0
    choice = greedy_choice(masks, belief)
    if choice == GUESS:
        rest = belief & (belief - 1)
        return num_things - 1 + greedy_total(masks, rest, num_turns - 1)
    yes = belief & masks[choice]
    return (
        num_things
        + greedy_total(masks, yes, num_turns - 1)
        + greedy_total(masks, belief & ~yes, num_turns - 1)
    )


@functools.cache
def ideal_total(num_things: int, num_turns: int) -> int:
    """Return the least total cost if every conceivable question could be asked.

    A lower bound for any table of `num_things` things.

    >>> [ideal_total(n, 20) for n in (1, 2, 3, 4, 8)]
    [0, 1, 3, 6, 20]
    """
    if num_things <= 0 or num_turns <= 0:
        return 0
    best = num_things - 1 + ideal_total(num_things - 1, num_turns - 1)
    for yes in range(1, num_things // 2 + 1):
        parts = ideal_total(yes, num_turns - 1) + ideal_total(
            num_things - yes, num_turns - 1
        )
        best = min(best, num_things + parts)
    return best


def optimal_total(masks: Sequence[int], belief: int, num_turns: int) -> int:
    """Return the exact total cost of the best way to ask: dynamic programming over beliefs.

    Exponential in the number of things: for about 20 of them at most. `ideal_total` prunes the
    search without changing its result.

    Args:
        masks: the things for which the answer to each question is yes.
        belief: the things still possible.
        num_turns: turns left; a thing not found by then has cost all of them.
    """
    known: dict[tuple[int, int], int] = {}

    def search(belief: int, num_turns: int) -> int:
        num_things = belief.bit_count()
        least = ideal_total(num_things, num_turns)
        if num_things <= 2 or not num_turns:
            return least  # one thing is guessed, of two either
        key = (belief, num_turns)
        if key in known:
            return known[key]
        best = num_things * num_turns
        for yes in sorted({belief & mask for mask in masks}):
            if best == least:
                break
            if yes not in (0, belief):
                no = belief & ~yes
                best = min(best, num_things + _both(yes, no, num_turns - 1, best))
        rest = belief
        while rest and best > least:
            thing = rest & -rest
            rest ^= thing
            best = min(best, num_things - 1 + search(belief ^ thing, num_turns - 1))
        known[key] = best
        return best

    def _both(yes: int, no: int, num_turns: int, best: int) -> int:
        bound = ideal_total(yes.bit_count(), num_turns) + ideal_total(
            no.bit_count(), num_turns
        )
        if (yes | no).bit_count() + bound >= best:
            return bound  # cannot beat `best`
        return search(yes, num_turns) + search(no, num_turns)

    return search(belief, num_turns)
