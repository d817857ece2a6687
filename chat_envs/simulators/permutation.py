"""Orders: drawn uniformly, and divided into two halves by their parity."""

from __future__ import annotations

from typing import Sequence

from chat_envs.simulators.stream import Uniform

__all__ = ["draw_permutation", "is_odd"]


def draw_permutation(rng: Uniform, size: int) -> list[int]:
    """Return the numbers below `size` in a random order, each order equally likely.

    It takes `size` - 1 draws (Fisher and Yates).

    >>> from chat_envs.simulators.stream import Stream
    >>> draw_permutation(Stream([0.0, 0.9, 0.5]), 3)
    [2, 1, 0]
    """
    order = list(range(size))
    for last in range(size - 1, 0, -1):
        other = int(rng.random() * (last + 1))
        order[last], order[other] = order[other], order[last]
    return order


def is_odd(order: Sequence[int]) -> bool:
    """Return whether an odd number of swaps makes `order` of 0, 1, 2, ...

    Of two places or more, one half of all orders is odd; of three or more, each number is at
    each place in both halves.

    >>> is_odd([0, 1, 2]), is_odd([1, 0, 2]), is_odd([1, 2, 0])
    (False, True, False)
    """
    num_swaps = 0
    rest = list(order)
    for place in range(len(rest)):
        while rest[place] != place:
            target = rest[place]
            rest[place], rest[target] = rest[target], target
            num_swaps += 1
    return num_swaps % 2 == 1
