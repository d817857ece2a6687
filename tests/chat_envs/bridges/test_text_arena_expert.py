"""The experts of textarena's games: they use every answer, and know when there is too much."""

from __future__ import annotations

import pytest

from chat_envs.bridges._text_arena_expert import guess_code, guess_number, pegs
from chat_envs.message import Conversation, assistant, user

NUMBER = user("You have to guess the number between 1 and 20 within 10 turns.")


def code_rules(length: int, highest: int, repeats: str) -> Conversation:
    rules = f"the code that is {length} digits long, each digit from 1 to {highest}, {repeats}."
    return Conversation.of(user(rules))


def test_the_interval_of_a_number_shrinks_from_both_sides() -> None:
    talk = Conversation.of(NUMBER)
    assert guess_number(talk) == "[10]"
    talk += [assistant("[10]"), user("The target number is higher.")]
    assert guess_number(talk) == "[15]"
    talk += [assistant("[15]"), user("The target number is lower.")]
    assert guess_number(talk) == "[12]"


def test_a_guess_that_tells_nothing_new_widens_nothing() -> None:
    talk = Conversation.of(NUMBER)
    for move, answer in (("[10]", "higher"), ("[5]", "higher"), ("[20]", "lower")):
        talk += [assistant(move), user(f"The target number is {answer}.")]
    talk += [assistant("[15]"), user("The target number is lower.")]
    talk += [assistant("[19]"), user("The target number is lower.")]
    assert guess_number(talk) == "[12]"


def test_an_invalid_move_tells_the_expert_nothing() -> None:
    talk = Conversation.of(NUMBER, assistant("ten"), user("The target is higher, no."))
    assert guess_number(talk) == "[10]"


def test_every_code_that_disagrees_with_the_pegs_is_left_out() -> None:
    talk = code_rules(3, 4, "with no duplicates")
    assert guess_code(talk) == "[1 2 3]"
    talk += [assistant("[1 2 3]"), user("Feedback: 1 black peg(s), 2 white peg(s).")]
    assert guess_code(talk) == "[1 3 2]"


def test_codes_with_repeats_are_tried_where_the_rules_have_them() -> None:
    talk = code_rules(3, 4, "with possible repeats")
    assert guess_code(talk) == "[1 1 1]"
    talk += [assistant("[1 1 1]"), user("Feedback: 2 black peg(s), 0 white peg(s).")]
    assert guess_code(talk) == "[1 1 2]"


def test_too_many_codes_are_refused() -> None:
    with pytest.raises(NotImplementedError, match=r"12\^6 are too many"):
        guess_code(code_rules(6, 12, "with possible repeats"))


def test_another_game_is_not_mistaken_for_this_one() -> None:
    with pytest.raises(ValueError, match="is it another game"):
        guess_number(code_rules(3, 4, "with no duplicates"))


@pytest.mark.parametrize(
    ("guess", "expected"),
    [
        ((1, 2, 3), (3, 0)),
        ((3, 1, 2), (0, 3)),
        ((1, 1, 1), (1, 0)),
        ((4, 4, 4), (0, 0)),
    ],
)
def test_pegs_count_each_digit_once(
    guess: tuple[int, ...], expected: tuple[int, int]
) -> None:
    assert pegs((1, 2, 3), guess) == expected
