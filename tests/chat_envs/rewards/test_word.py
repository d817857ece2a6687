"""What counts as a word."""

from __future__ import annotations

from chat_envs.rewards.word import grams, split_words


def test_words_are_letters_and_digits_in_small_letters() -> None:
    assert split_words("You\u2019re OK_so 2!") == ["you\u2019re", "ok", "so", "2"]
    assert split_words(" ...\x00 ") == []
    assert grams(["a"], 2) == [] and grams(["a", "b"], 1) == [("a",), ("b",)]
