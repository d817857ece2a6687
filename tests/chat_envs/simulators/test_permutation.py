"""Orders: all of them, equally likely, in two halves."""

from __future__ import annotations

import collections
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.simulators.permutation import draw_permutation, is_odd
from chat_envs.simulators.stream import Stream


def num_inversions(order: tuple[int, ...]) -> int:
    return sum(a > b for a, b in itertools.combinations(order, 2))


@pytest.mark.parametrize("size", range(7))
def test_parity_is_that_of_the_inversions(size: int) -> None:
    for order in itertools.permutations(range(size)):
        assert is_odd(order) == (num_inversions(order) % 2 == 1)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_each_number_is_at_each_place_in_both_halves(size: int) -> None:
    halves: dict[bool, list[tuple[int, ...]]] = {False: [], True: []}
    for order in itertools.permutations(range(size)):
        halves[is_odd(order)].append(order)
    for orders in halves.values():
        assert len(orders) == math.factorial(size) // 2
        for place in range(size):
            assert {order[place] for order in orders} == set(range(size))


@given(st.lists(st.integers(), min_size=1, max_size=9))
def test_parity_reads_and_does_not_write(values: list[int]) -> None:
    order = sorted(range(len(values)), key=values.__getitem__)
    before = list(order)
    is_odd(order)
    assert order == before


def test_every_order_is_equally_likely() -> None:
    # The draws of a grid, two thirds and halves, meet every order alike.
    grid = itertools.product((0.1, 0.4, 0.7), (0.25, 0.75))
    orders = [tuple(draw_permutation(Stream([*draws, 0.0]), 3)) for draws in grid]
    assert sorted(orders) == list(itertools.permutations(range(3)))


def test_a_generator_will_do_and_gives_what_a_seed_gave_before() -> None:
    rng = np.random.default_rng(0)
    counts = collections.Counter(draw_permutation(rng, 4)[0] for _ in range(2000))
    assert set(counts) == {0, 1, 2, 3}
    assert all(abs(n - 500) < 4 * math.sqrt(2000 * 3 / 16) for n in counts.values())
    again = [draw_permutation(np.random.default_rng(5), 8) for _ in range(2)]
    assert again[0] == again[1]


@pytest.mark.parametrize("size", [0, 1])
def test_what_has_one_order_takes_no_draw(size: int) -> None:
    rng = Stream([0.25, 0.75, 0.5])
    assert draw_permutation(rng, size) == list(range(size))
    assert rng.random() == 0.25
