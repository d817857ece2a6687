"""What is said around an answer is taken away if listed, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.simulators.courtesy import Courtesy

COURTESY = Courtesy(
    ["ok", "well", "I guess", "I guess it is", "it's", "I'll try", "try", "maybe"],
    ["please", "maybe"],
)


@pytest.mark.parametrize(
    ("text", "core"),
    [
        ("red", ("red",)),
        ("  RED!  ", ("red",)),
        ("red, blue", ("red", "blue")),
        ("red-blue", ("red", "blue")),
        ("*red*", ("red",)),
        ('"red"', ("red",)),
        ("\u201cred\u201d", ("red",)),
        ("I guess red", ("red",)),
        ("I guess it is red", ("red",)),
        ("I guess it", ("it",)),
        ("Ok. I guess: red.", ("red",)),
        ("I'll try red", ("red",)),
        ("I\u2019ll try red", ("red",)),
        ("It's red.", ("red",)),
        ("red please", ("red",)),
        ("maybe red, please", ("red",)),
        ("red\nblue", ("red", "blue")),
    ],
)
def test_the_answer_is_what_is_left(text: str, core: tuple[str, ...]) -> None:
    assert COURTESY.core(text) == core


def test_no_more_than_two_beginnings_and_one_ending_are_taken() -> None:
    assert COURTESY.core("ok well maybe red") == ("maybe", "red")
    assert COURTESY.core("red please maybe") == ("red", "please")
    assert COURTESY.core("red ok") == ("red", "ok")
    assert COURTESY.core("please red") == ("please", "red")


def test_what_introduces_an_answer_can_be_one() -> None:
    for word in ("ok", "well", "try", "please", "maybe"):
        assert COURTESY.core(word) == (word,)
    assert COURTESY.core("I guess") == ("i", "guess")
    assert COURTESY.core("try try") == ("try",)
    assert COURTESY.core("maybe maybe maybe") == ("maybe",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "?!",
        "red 7",
        "<|end|> red",
        "red\x00",
        "r\u00e9d",
        "\u212aed",  # the sign of Kelvin, whose lower case is a k
        "\uff52\uff45\uff44",
        "red/blue",
        "[red]",
        "\ud800",
        "red" + " " * 200,
        "a" * 1_000_000,
    ],
)
def test_anything_but_letters_and_punctuation_is_no_answer(text: str) -> None:
    assert COURTESY.core(text) is None


def test_without_phrases_nothing_is_taken() -> None:
    assert Courtesy([], []).core("I guess red please") == (
        "i",
        "guess",
        "red",
        "please",
    )


@given(st.text(max_size=250))
def test_any_text_is_read(text: str) -> None:
    core = COURTESY.core(text)
    if core is not None:
        assert core and all(part.isascii() and part.islower() for part in core)


WORDS = st.sampled_from("ok well I guess it is red blue please maybe".split())


@given(st.lists(WORDS, min_size=1, max_size=8))
def test_the_answer_is_a_run_of_the_words(words: list[str]) -> None:
    core = COURTESY.core(" ".join(words))
    assert core is not None
    lowered = tuple(word.lower() for word in words)
    starts = range(len(lowered) - len(core) + 1)
    assert any(lowered[i : i + len(core)] == core for i in starts)
    # The first word that belongs to no phrase is never lost.
    assert {"red", "blue"} & set(lowered) == {"red", "blue"} & set(core)
