"""Words that reply and reference share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.message import assistant, user
from chat_envs.rewards.overlap import Overlap
from tests.chat_envs.rewards.ratings import rate

WORDS = st.lists(st.sampled_from("abc"), max_size=12)


def common_run(one: list[str], other: list[str]) -> int:
    """Return the length of the longest common subsequence, by the textbook's table."""
    table = np.zeros((len(one) + 1, len(other) + 1), dtype=int)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            best = max(table[i, j + 1], table[i + 1, j])
            table[i + 1, j + 1] = table[i, j] + 1 if a == b else best
    return int(table[-1, -1])


@given(WORDS, WORDS)
def test_rouge_is_the_f1_of_the_longest_common_run(
    said: list[str], reference: list[str]
) -> None:
    if not reference:
        return
    [value] = rate(Overlap(reference=" ".join(reference)), " ".join(said))
    common = common_run(said, reference)
    expected = 2 * common / (len(said) + len(reference)) if common else 0.0
    assert value == pytest.approx(expected)


def test_in_any_order_the_words_count_as_often_as_both_have_them() -> None:
    reward = Overlap(reference="a a b", measure="token_f1")
    assert rate(reward, "b a a", "a a a", "c") == [1, pytest.approx(2 / 3), 0]
    assert rate(Overlap(reference="a a b"), "b a a") == [pytest.approx(2 / 3)]


def test_the_best_reference_counts_and_without_one_the_user_does() -> None:
    assert rate(Overlap(reference=["one two", "three"]), "Three") == [1]
    assert rate(Overlap(), "My hat", asked="my hat!") == [1]
    assert Overlap()("my hat", [user("my hat"), assistant("yes")]) == 1
    assert Overlap()("my hat", ()) == 0
    with pytest.raises(ValueError, match="measure must be one of"):
        Overlap(measure="rouge")
