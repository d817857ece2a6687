"""Costs of finding one thing of several: known answers, brute force, order of the bounds."""

from __future__ import annotations

import math
from typing import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.simulators.belief import (
    GUESS,
    greedy_choice,
    greedy_total,
    ideal_total,
    optimal_total,
)

TURNS = 20


def brute_force(masks: Sequence[int], belief: int, num_turns: int) -> int:
    """Return the optimum by trying everything: no bound, no memory, no pruning."""
    num_things = belief.bit_count()
    if not num_things or not num_turns:
        return 0
    totals = [num_things * num_turns]
    for i in range(belief.bit_length()):
        if belief >> i & 1:
            rest = brute_force(masks, belief ^ 1 << i, num_turns - 1)
            totals.append(num_things - 1 + rest)
    for mask in masks:
        yes = belief & mask
        if yes not in (0, belief):
            totals.append(
                num_things
                + brute_force(masks, yes, num_turns - 1)
                + brute_force(masks, belief & ~yes, num_turns - 1)
            )
    return min(totals)


tables = st.integers(2, 6).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 2**n - 1), max_size=4), st.just(2**n - 1)
    )
)


@given(tables, st.integers(0, 5))
def test_the_optimum_is_that_of_brute_force(
    table: tuple[list[int], int], num_turns: int
) -> None:
    masks, belief = table
    assert optimal_total(masks, belief, num_turns) == brute_force(
        masks, belief, num_turns
    )


@given(tables, st.integers(0, TURNS))
def test_ideal_optimal_and_greedy_are_in_order(
    table: tuple[list[int], int], num_turns: int
) -> None:
    masks, belief = table
    ideal = ideal_total(belief.bit_count(), num_turns)
    optimal = optimal_total(masks, belief, num_turns)
    assert ideal <= optimal <= greedy_total(masks, belief, num_turns)


@pytest.mark.parametrize("num_things", range(1, 6))
def test_with_every_question_the_optimum_is_ideal(num_things: int) -> None:
    everything = 2**num_things - 1
    assert brute_force(range(everything + 1), everything, 6) == ideal_total(
        num_things, 6
    )


@pytest.mark.parametrize("num_things", [1, 2, 5, 9])
def test_without_questions_one_guesses_in_turn(num_things: int) -> None:
    total = num_things * (num_things - 1) // 2  # 0 + 1 + ... + (n - 1)
    assert optimal_total([], 2**num_things - 1, TURNS) == total
    assert greedy_total([], 2**num_things - 1, TURNS) == total


def test_a_turn_limit_costs_all_turns_where_it_fails() -> None:
    # Two guesses among five: costs 0, 1, 2, 2, 2.
    assert optimal_total([], 0b11111, 2) == 7
    assert greedy_total([], 0b11111, 2) == 7


@pytest.mark.parametrize("power", range(2, 8))
def test_powers_of_two_halve_down_to_a_pair(power: int) -> None:
    # power - 1 halvings leave two things, of which a guess finds one at once: mean power - 1/2.
    num_things = 2**power
    halves = [
        sum(1 << i for i in range(num_things) if i >> bit & 1) for bit in range(power)
    ]
    everything = 2**num_things - 1
    assert ideal_total(num_things, TURNS) / num_things == power - 0.5
    assert greedy_total(halves, everything, TURNS) / num_things == power - 0.5


def test_the_three_figures_differ_on_a_table_where_greed_misleads() -> None:
    # Negative control: they are not one computation.
    masks = [0b0111101, 0b1000100, 0b1111011, 0b1110101]
    everything = 0b1111111
    assert greedy_total(masks, everything, TURNS) == 18
    assert optimal_total(masks, everything, TURNS) == 17
    assert brute_force(masks, everything, 5) == 17  # at 5 turns nobody fails
    assert ideal_total(7, TURNS) == 16


@given(st.lists(st.integers(0, 255), max_size=6), st.integers(1, 255))
def test_the_greedy_question_has_the_most_information(
    masks: list[int], belief: int
) -> None:
    def information(yes: int) -> float:
        share = yes / belief.bit_count()
        parts = (share, 1 - share)
        return -sum(p * math.log2(p) for p in parts if p)

    choice = greedy_choice(masks, belief)
    of_guess = information(1)
    of_questions = [information((belief & mask).bit_count()) for mask in masks]
    if choice == GUESS:
        assert of_guess >= max(of_questions, default=0.0) - 1e-12
    else:
        assert of_questions[choice] >= max(of_questions) - 1e-12
        assert of_questions[choice] > of_guess - 1e-12


def test_the_first_of_equal_questions_is_asked() -> None:
    assert greedy_choice([0b0011, 0b0101], 0b1111) == 0
    assert greedy_choice([0b0111, 0b0101, 0b0011], 0b1111) == 1
