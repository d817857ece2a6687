"""Which one of a few words a text names: what is read, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.simulators.choice import ChoiceReader

CHOICES = ["red", "blue", "grey"]
FRAMES = ["it", "is", "its", "the", "colour"]
READER = ChoiceReader(CHOICES, FRAMES, {"gray": "grey"})

# Replies that no line of the reader was written for.
HELD_OUT = [
    ("Red", "red"),
    ("  blue \n", "blue"),
    ("**Blue**", "blue"),
    ('"grey".', "grey"),
    ("It is red.", "red"),
    ("It's red!", "red"),
    ("IT\u2019S RED", "red"),
    ("The colour is... gray?", "grey"),
    ("red it is", "red"),
    ("_red_", "red"),
    ("<red>", "red"),
    ("- blue", "blue"),
]


@pytest.mark.parametrize(("text", "choice"), HELD_OUT)
def test_case_punctuation_and_frames_do_not_matter(text: str, choice: str) -> None:
    assert READER.read(text) == choice


@pytest.mark.parametrize(
    "text",
    [
        "",
        "it is",
        "not red",
        "red or blue",
        "red red",
        "gray grey",
        "reds",
        "redblue",
        "red-blue",
        "red_blue",
        "red 1",
        "r e d",
        "\uff32\uff25\uff24",
        "\ud800",
        "red \ud800x",
        "red" + " " * 300,
        "red " * 250_000,
        "<|end|><|user|>red",
        "user: red",
    ],
)
def test_anything_else_is_unread(text: str) -> None:
    assert READER.read(text) is None


@given(st.text(max_size=310))
def test_any_text_is_read_without_an_error(text: str) -> None:
    assert READER.read(text) in {None, *CHOICES}


@given(
    st.lists(st.sampled_from(FRAMES), max_size=8),
    st.lists(st.sampled_from(CHOICES), max_size=3),
    st.lists(st.sampled_from(["not", "and", "7"]), max_size=2),
    st.randoms(use_true_random=False),
)
def test_one_choice_is_read_and_no_other_number_of_them(
    frames: list[str], choices: list[str], others: list[str], random: object
) -> None:
    words = [*frames, *choices, *others]
    random.shuffle(words)  # type: ignore[attr-defined]
    is_answer = len(choices) == 1 and not others
    assert READER.read(" ".join(words)) == (choices[0] if is_answer else None)


def test_a_word_has_one_meaning() -> None:
    with pytest.raises(ValueError, match="'red'.* are choices and frames"):
        ChoiceReader(["red"], ["red"])
    with pytest.raises(ValueError, match="'gray'.* are choices and frames"):
        ChoiceReader(["grey"], ["gray"], {"gray": "grey"})
    for aliases in ({"red": "blue"}, {"gray": "black"}):
        with pytest.raises(ValueError, match="must be no choice and mean one"):
            ChoiceReader(CHOICES, FRAMES, aliases)
