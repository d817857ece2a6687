"""Flesch's reading ease."""

from __future__ import annotations

import pytest

from chat_envs.rewards.readability import Readability
from tests.chat_envs.rewards.ratings import rate


def test_the_ease_follows_the_formula_of_flesch() -> None:
    text = "The water is cold. People complain about it."
    # 8 words, 2 sentences; 1 + 2 + 1 + 1 + 2 + 2 + 2 + 1 = 12 syllables.
    ease = 206.835 - 1.015 * 4 - 84.6 * 12 / 8
    assert rate(Readability(), text) == [pytest.approx(ease / 100)]


def test_long_words_in_long_sentences_are_hard_and_nothing_is_not_easy() -> None:
    hard = "Verification of international organisations necessitates authorisation."
    easy = "Go on."
    assert rate(Readability(), hard, easy, "", "...") == [0.0, 1.0, 0.0, 0.0]


def test_a_silent_e_is_no_syllable() -> None:
    one, two = rate(Readability(), "safe " * 20 + ".", "table " * 20 + ".")
    assert one - two == pytest.approx(
        min(1.0, 1.01935) - (206.835 - 20.3 - 169.2) / 100
    )
