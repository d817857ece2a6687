"""Guess-and-answer games: beliefs, both policies, and the bounds against searches of everything."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from typing import Any, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.simulators.deduction import (
    Deduction,
    Policy,
    can_promise,
    lower_total,
    minimax_choice,
    most_parts_choice,
    most_solvable,
    num_found,
    total_cost,
)

POLICIES: dict[str, Policy] = {
    "minimax": minimax_choice,
    "most parts": most_parts_choice,
}


def make_game(rows: list[list[int]]) -> Deduction:
    """Return a game whose wins are where row and column meet; other answers are as given."""
    answers = np.array(rows, dtype=np.uint8)
    np.fill_diagonal(answers, 9)
    return Deduction(answers)


def bulls_and_cows(pegs: int, colours: int) -> Deduction:
    """Return Mastermind, counted peg by peg."""
    codes = list(itertools.product(range(colours), repeat=pegs))
    rows = []
    for guess in codes:
        row = []
        for code in codes:
            exact = sum(a == b for a, b in zip(guess, code))
            both = sum((Counter(guess) & Counter(code)).values())
            row.append(exact * (pegs + 1) + both - exact)
        rows.append(row)
    return Deduction(np.array(rows, dtype=np.uint8))


@st.composite
def games(draw: Any, most: int = 5) -> Deduction:
    """Return a game of a few codes with two or three answers beside the winning one."""
    size = draw(st.integers(1, most))
    values = st.integers(0, draw(st.integers(1, 2)))
    row = st.lists(values, min_size=size, max_size=size)
    return make_game(draw(st.lists(row, min_size=size, max_size=size)))


def classes_of(
    game: Deduction, belief: frozenset[int], guess: int
) -> Iterator[frozenset[int]]:
    """Yield what each answer leaves, the winning one left out."""
    told = {int(game.answers[guess, code]) for code in belief}
    for answer in told - {game.winning}:
        yield frozenset(c for c in belief if game.answers[guess, c] == answer)


def least_worst(game: Deduction, belief: frozenset[int]) -> int:
    """Return the fewest guesses that can be promised, by trying everything."""

    @functools.cache
    def search(belief: frozenset[int]) -> int:
        if not belief:
            return 0
        return 1 + min(
            (
                max(map(search, parts), default=0)
                for guess in range(game.num_codes)
                if belief not in (parts := list(classes_of(game, belief, guess)))
            ),
        )

    return search(belief)


def least_total(game: Deduction, belief: frozenset[int]) -> int:
    """Return the lowest total cost without a limit of turns, by trying everything."""

    @functools.cache
    def search(belief: frozenset[int]) -> int:
        if not belief:
            return 0
        return min(
            sum(len(part) + search(part) for part in parts)
            for guess in range(game.num_codes)
            if belief not in (parts := list(classes_of(game, belief, guess)))
        )

    return search(belief)


def as_set(belief: int) -> frozenset[int]:
    return frozenset(i for i in range(belief.bit_length()) if belief >> i & 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "square and not empty"),
        ([[1, 0]], "square and not empty"),
        ([[2, 0], [0, 1]], "to every right guess"),
        ([[2, 2], [0, 2]], "to every right guess"),
    ],
)
def test_a_game_tells_the_right_guess_from_all_others(
    rows: list[list[int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Deduction(np.array(rows, dtype=np.uint8))


@given(st.integers(1, 70), st.data())
def test_a_belief_lists_its_bits(size: int, data: st.DataObject) -> None:
    game = make_game([[0] * size] * size)
    belief = data.draw(st.integers(0, game.everything))
    assert set(game.members(belief).tolist()) == as_set(belief)
    assert game.members(game.everything).tolist() == list(range(size))


@given(games(), st.data())
def test_an_answer_leaves_what_would_have_given_it(
    game: Deduction, data: st.DataObject
) -> None:
    belief = data.draw(st.integers(1, game.everything))
    guess = data.draw(st.integers(0, game.num_codes - 1))
    seen = 0
    for answer, rest in game.classes(belief, guess):
        expected = {c for c in as_set(belief) if game.answers[guess, c] == answer}
        assert as_set(rest) == expected != set()
        assert rest == game.after(belief, guess, answer)
        assert seen & rest == 0
        seen |= rest
    assert seen == belief
    assert game.after(belief, guess, 200) == 0


@given(games(), st.data())
def test_classes_are_counted_for_every_guess(
    game: Deduction, data: st.DataObject
) -> None:
    belief = data.draw(st.integers(1, game.everything))
    sizes, parts = game.class_sizes(belief), game.num_parts(belief)
    assert sizes.shape == (game.num_codes, int(game.answers.max()) + 1)
    for guess in range(game.num_codes):
        counts = Counter(int(game.answers[guess, c]) for c in as_set(belief))
        assert {a: n for a, n in enumerate(sizes[guess].tolist()) if n} == counts
        assert parts[guess] == len(counts)


@given(games(), st.data())
def test_minimax_takes_the_smallest_largest_class(
    game: Deduction, data: st.DataObject
) -> None:
    belief = data.draw(st.integers(1, game.everything))
    chosen = minimax_choice(game, belief)
    largest = [
        max(Counter(game.answers[g, sorted(as_set(belief))].tolist()).values())
        for g in range(game.num_codes)
    ]
    if belief.bit_count() <= 2:
        assert chosen == min(as_set(belief))
    else:
        best = [g for g in range(game.num_codes) if largest[g] == min(largest)]
        possible = [g for g in best if belief >> g & 1]
        assert chosen == (possible or best)[0]


@given(games(), st.data())
def test_most_parts_takes_the_most_answers(
    game: Deduction, data: st.DataObject
) -> None:
    belief = data.draw(st.integers(1, game.everything))
    chosen = most_parts_choice(game, belief)
    parts = [
        len(set(game.answers[g, sorted(as_set(belief))].tolist()))
        for g in range(game.num_codes)
    ]
    if belief.bit_count() <= 2:
        assert chosen == min(as_set(belief))
    else:
        best = [g for g in range(game.num_codes) if parts[g] == max(parts)]
        possible = [g for g in best if belief >> g & 1]
        assert chosen == (possible or best)[0]


@pytest.mark.parametrize("name", POLICIES)
@given(games())
def test_a_policy_finds_everything_at_last(name: str, game: Deduction) -> None:
    found = num_found(game, POLICIES[name], game.num_codes)
    assert sum(found) == game.num_codes
    assert found[0] == 1
    for turns in range(game.num_codes):
        assert num_found(game, POLICIES[name], turns) == found[:turns]


@given(games())
def test_what_can_be_promised_is_what_a_search_of_everything_says(
    game: Deduction,
) -> None:
    least = least_worst(game, as_set(game.everything))
    for num_guesses in range(game.num_codes + 1):
        assert can_promise(game, num_guesses) == (num_guesses >= least)
    for policy in POLICIES.values():
        found = num_found(game, policy, game.num_codes)
        assert max(i + 1 for i, n in enumerate(found) if n) >= least


@given(games())
def test_no_policy_goes_below_the_lower_total(game: Deduction) -> None:
    best = least_total(game, as_set(game.everything))
    assert lower_total(game) <= best
    for policy in POLICIES.values():
        found = num_found(game, policy, game.num_codes)
        assert total_cost(found, game.num_codes) >= best


@given(games())
def test_the_lower_total_is_exact_where_two_guesses_do(game: Deduction) -> None:
    found = num_found(game, most_parts_choice, game.num_codes)
    best = least_total(game, as_set(game.everything))
    if sum(found[:2]) == game.num_codes:
        assert lower_total(game) == best == total_cost(found, game.num_codes)


def test_three_codes_that_nothing_tells_apart_are_tried_one_by_one() -> None:
    game = make_game([[0] * 3] * 3)
    assert num_found(game, minimax_choice, 5) == [1, 1, 1, 0, 0]
    assert [can_promise(game, k) for k in range(5)] == [False, False, False, True, True]
    assert lower_total(game) == least_total(game, frozenset(range(3))) == 3


def test_three_codes_that_one_guess_tells_apart() -> None:
    game = make_game([[0, 1, 2], [0, 0, 0], [0, 0, 0]])
    assert num_found(game, most_parts_choice, 3) == [1, 2, 0]
    assert (can_promise(game, 1), can_promise(game, 2)) == (False, True)
    # Without the guess that tells: the other two are tried one by one.
    assert not can_promise(game, 2, first_guesses=[1, 2])
    assert can_promise(game, 3, first_guesses=[1, 2])
    assert (lower_total(game), lower_total(game, first_guesses=[1])) == (2, 3)


@pytest.mark.parametrize(
    ("pegs", "colours", "least"),
    [(2, 2, 3), (2, 3, 3), (2, 4, 4), (2, 5, 4), (2, 6, 5)],
)
def test_two_pegs_need_what_is_known(pegs: int, colours: int, least: int) -> None:
    # floor(c / 2) + 2 guesses: Jager and Peczarski 2009.
    assert least == colours // 2 + 2
    game = bulls_and_cows(pegs, colours)
    assert [can_promise(game, k) for k in (least - 1, least)] == [False, True]


def test_the_most_that_guesses_can_find() -> None:
    # 1 + (a - 1) + (a - 1)^2 + ...: the winning answer ends the game, every other one goes on.
    for answers, guesses in itertools.product(range(1, 6), range(5)):
        expected = sum((answers - 1) ** k for k in range(guesses))
        assert most_solvable(answers, guesses) == expected


def test_what_is_not_found_costs_every_turn() -> None:
    assert total_cost([1, 2, 3], 6) == 0 + 2 + 6
    assert total_cost([1, 2, 3], 10) == 0 + 2 + 6 + 4 * 3
    assert total_cost([], 5) == 0


def test_two_games_do_not_share_their_choices() -> None:
    one = make_game([[0, 1, 2], [0, 0, 0], [0, 0, 0]])
    other = make_game([[0, 0, 0], [0, 0, 1], [0, 0, 0]])
    assert minimax_choice(one, 0b111) == 0
    assert minimax_choice(other, 0b111) == 1
    assert one.after(0b111, 0, 1) == 0b010
    assert other.after(0b111, 0, 1) == 0


def test_of_equal_guesses_one_that_may_be_right_is_taken() -> None:
    # Both 0 and 1 tell 1 from 2 and 3; only 1 is still possible.
    game = make_game([[0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert minimax_choice(game, 0b1110) == most_parts_choice(game, 0b1110) == 1


def test_a_second_guess_that_cannot_be_right_costs_a_turn() -> None:
    # After 4, only 0 tells 1, 2 and 3 apart: 1 wrong guess for 0, 2 for each of the others.
    rows = [[0, 0, 1, 2, 3], [0] * 5, [0] * 5, [0] * 5, [1, 0, 0, 0, 0]]
    assert lower_total(make_game(rows), first_guesses=[4]) == 1 + 3 * 2
