"""The bigram model: known values, that probabilities sum to 1, that every text has one."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.simulators.ngram import NgramModel, fit, split_text

TEXTS = ["It is red.", "It is big.", "Is it?"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("It IS, red!", ["it", "is", ",", "red", "!"]),
        ("a1 b_2...", ["a1", "b_2", ".", ".", "."]),
        ("\n\t ", []),
        ("été", ["été"]),
    ],
)
def test_words_and_signs(text: str, words: list[str]) -> None:
    assert split_text(text) == words


def test_it_counts_what_follows_what() -> None:
    assert fit(["a b", "a"]).bigrams == {
        "": {"a": 2},
        "a": {"b": 1, "": 1},
        "b": {"": 1},
    }
    assert fit(["A B"]).bigrams == fit(["a b"]).bigrams


def test_a_probability_is_witten_and_bells() -> None:
    # Words in all: a a b END END, of them a, b and END distinct. After a: b and END, once each.
    model = fit(["a b", "a"])
    unigram = (1 + 3 * 64.0**-2) / (5 + 3)
    assert math.exp(model.log_probability("b", "a")) == pytest.approx(
        (1 + 2 * unigram) / (2 + 2)
    )
    spelled = 3 * 64.0**-4 / (5 + 3)
    assert math.exp(model.log_probability("xyz", "a")) == pytest.approx(
        2 * spelled / (2 + 2)
    )
    assert math.exp(model.log_probability("xyz", "never")) == pytest.approx(spelled)


@pytest.mark.parametrize("before", ["", "it", "is", "never"])
def test_probabilities_sum_to_one(before: str) -> None:
    model = fit(TEXTS)
    vocabulary = {word for after in model.bigrams.values() for word in after}
    # 63 letters and an end spell all words: their probabilities sum to 1, of which the known
    # words have a part of their own.
    known = math.fsum(64.0 ** -(len(word) + 1) for word in vocabulary)
    total = math.fsum(math.exp(model.log_probability(w, before)) for w in vocabulary)
    rest = math.exp(model.log_probability("zz", before)) * 64.0**3 * (1.0 - known)
    assert total + rest == pytest.approx(1.0)


def test_perplexity_is_the_mean_over_words_and_the_end() -> None:
    model = fit(TEXTS)
    pairs = [("", "it"), ("it", "is"), ("is", "")]
    expected = -sum(model.log_probability(w, v) for v, w in pairs) / 3
    assert model.log_perplexity("It is") == pytest.approx(expected)
    assert model.log_perplexity("") == pytest.approx(-model.log_probability("", ""))


def test_what_is_usual_is_less_perplexing() -> None:
    model = fit(TEXTS)
    texts = ["It is red.", "Red it is.", "It is blue.", "rd it bl xx", "zzzzzzzzzzzzzz"]
    values = [model.log_perplexity(text) for text in texts]
    assert values == sorted(values)
    assert len(set(values)) == len(values)


@given(st.text(max_size=80))
def test_every_text_has_a_probability(text: str) -> None:
    value = fit(TEXTS).log_perplexity(text)
    assert math.isfinite(value) and value > 0.0


@pytest.mark.parametrize("text", ["a" * 1_000_000, "it " * 100_000, "\ud800\x00"])
def test_so_has_a_strange_one(text: str) -> None:
    assert math.isfinite(fit(TEXTS).log_perplexity(text))


def test_a_model_read_from_json_is_the_same() -> None:
    model = fit(TEXTS)
    again = NgramModel(json.loads(json.dumps(model.bigrams)))
    for text in [*TEXTS, "red red it", "?"]:
        assert again.log_perplexity(text) == model.log_perplexity(text)


def test_a_model_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one text"):
        fit([])
