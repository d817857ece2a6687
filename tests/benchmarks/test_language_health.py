"""Language health, on replies short enough to count by hand."""

from __future__ import annotations

import math

import pytest

from benchmarks.language_health import (
    HEALTH_FIELDS,
    LanguageHealth,
    measure_language,
)


def test_words_and_pairs_are_counted_over_all_replies() -> None:
    found = measure_language(["a b a b", "a b"], [5, 3], [False, True])
    assert found.distinct_1 == 2 / 6
    assert found.distinct_2 == 2 / 4  # (a b) and (b a), of ab ba ab and ab
    assert found.repetition == pytest.approx((1 / 3 + 0) / 2)
    assert found.reply_length == 4.0
    assert found.share_cut == 0.5
    assert found.share_empty == 0.0
    assert found.perplexity is None


def test_silence_has_no_words_to_be_distinct() -> None:
    found = measure_language(["", "  "], [1, 1], [False, False], math.log(0.25))
    assert (found.distinct_1, found.distinct_2, found.repetition) == (None,) * 3
    assert found.share_empty == 1.0
    assert found.perplexity == pytest.approx(4.0)


def test_replies_without_their_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="got 1, 2 and 1"):
        measure_language(["a"], [1, 2], [False])
    with pytest.raises(ValueError, match="got 0, 0 and 0"):
        measure_language([], [], [])


def test_every_field_is_explained() -> None:
    assert list(HEALTH_FIELDS) == list(LanguageHealth().as_dict())
