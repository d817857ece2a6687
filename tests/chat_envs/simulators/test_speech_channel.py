"""The speech channel: its rates, its shares, and that its confidence can be believed."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.simulators.speech_channel import Hearing, SpeechChannel
from chat_envs.simulators.stream import Stream, split_streams

NUM_WORDS = 8
SAID = [f"w{k}" for k in range(NUM_WORDS)]
SIMILAR = {word: (f"s{k}", f"z{k}") for k, word in enumerate(SAID)}
NUM_UTTERANCES = 6000


def stream(seed: int = 0) -> Stream:
    return split_streams(np.random.default_rng(seed), 1)[0]


def hear_many(rate: float, num: int = NUM_UTTERANCES) -> list[Hearing]:
    channel, rng = SpeechChannel(SIMILAR, ["uh"], rate), stream()
    return [channel.hear(SAID, rng) for _ in range(num)]


def count(hearing: Hearing) -> Counter[str]:
    """Return how often each error happened: all words can be told apart."""
    kinds: Counter[str] = Counter(
        {"w": "kept", "u": "inserted"}.get(word[0], "substituted")
        for word in hearing.words
    )
    kinds["deleted"] = NUM_WORDS - kinds["kept"] - kinds["substituted"]
    return kinds


@pytest.mark.parametrize("rate", [0.05, 0.15, 0.25, 0.5, 0.8])
def test_the_word_error_rate_is_the_one_asked_for(rate: float) -> None:
    shares = np.array([h.num_errors / NUM_WORDS for h in hear_many(rate)])
    spread = 4 * shares.std() / math.sqrt(len(shares))
    assert 0 < spread < 0.03
    assert abs(shares.mean() - rate) <= spread


def test_errors_are_substitutions_deletions_and_insertions_in_their_shares() -> None:
    total: Counter[str] = Counter()
    for hearing in hear_many(0.3):
        kinds = count(hearing)
        found = kinds["substituted"] + kinds["deleted"] + kinds["inserted"]
        assert found == hearing.num_errors
        total += kinds
    num_errors = total["substituted"] + total["deleted"] + total["inserted"]
    for kind, share in (("substituted", 0.60), ("deleted", 0.25), ("inserted", 0.15)):
        spread = 4 * math.sqrt(share * (1 - share) / num_errors)
        assert abs(total[kind] / num_errors - share) <= spread


def test_other_shares_are_kept_too() -> None:
    channel = SpeechChannel(
        SIMILAR, ["uh"], 0.4, substitution=0.0, deletion=1.0, insertion=0.0
    )
    rng = stream()
    for _ in range(200):
        hearing = channel.hear(SAID, rng)
        assert set(hearing.words) <= set(SAID)
        assert len(hearing.words) == NUM_WORDS - hearing.num_errors


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_the_confidence_is_the_share_of_words_heard_right(rate: float) -> None:
    hearings = hear_many(rate)
    for low in (0.0, 0.2, 0.4, 0.6, 0.8, 0.95):
        high = {0.8: 0.95, 0.95: 1.01}.get(low, low + 0.2)
        of_bin = [h for h in hearings if low <= h.confidence < high]
        num_words = NUM_WORDS * len(of_bin)
        right = sum(NUM_WORDS - h.num_errors for h in of_bin) / num_words
        expected = sum(h.confidence for h in of_bin) / len(of_bin)
        spread = 4 * math.sqrt(expected * (1 - expected) / num_words) + 1e-9
        assert abs(right - expected) <= spread


def test_most_utterances_are_clear_and_a_few_are_lost() -> None:
    rates = np.array([1 - h.confidence for h in hear_many(0.15)])
    assert abs(np.mean(rates < 0.02) - 0.50) < 0.03
    assert abs(np.mean(rates > 0.55) - 0.10) < 0.02


@pytest.mark.parametrize("rate", [0.1, 0.15, 0.6])
def test_the_rate_has_the_distribution_that_is_told(rate: float) -> None:
    rates = np.array([1 - h.confidence for h in hear_many(rate)])
    for threshold in (0.01, 0.1, 0.5):
        expected = threshold ** (rate / (1 - rate))  # P(u^(1/w - 1) < threshold)
        spread = 4 * math.sqrt(expected * (1 - expected) / NUM_UTTERANCES)
        assert abs(np.mean(rates < threshold) - expected) <= spread


def test_a_clean_channel_changes_nothing_and_draws_nothing() -> None:
    rng, untouched = stream(), stream()
    channel = SpeechChannel(SIMILAR, ["uh"], 0.0)
    assert channel.hear(SAID, rng) == Hearing(tuple(SAID), 1.0, 0)
    assert rng.random() == untouched.random()


def test_a_channel_of_noise_alone_leaves_no_word_untouched() -> None:
    for hearing in hear_many(1.0, 200):
        assert hearing.confidence == 0.0
        assert hearing.num_errors == NUM_WORDS
        assert count(hearing)["kept"] == count(hearing)["inserted"]


def test_words_that_sound_alike_are_equally_likely() -> None:
    heard: Counter[str] = Counter()
    for hearing in hear_many(0.5):
        heard.update(hearing.words)
    for word, (one, other) in SIMILAR.items():
        num = heard[one] + heard[other]
        assert num > 500, word
        assert abs(heard[one] / num - 0.5) < 4 * 0.5 / math.sqrt(num)


def test_a_word_that_sounds_like_nothing_becomes_noise() -> None:
    channel = SpeechChannel({}, ["uh"], 1.0, substitution=1.0, deletion=0, insertion=0)
    assert channel.hear(["milk", "tea"], stream()).words == ("uh", "uh")


# The utterance's own rate is 0.6 where w is a half; then come the words' draws.
@pytest.mark.parametrize(
    ("draws", "words"),
    [
        ([0.6, 0.60], ("milk",)),
        ([0.6, 0.35, 0.0], ("mint",)),
        ([0.6, 0.35, 0.9], ("silk",)),
        ([0.6, 0.37], ()),
        ([0.6, 0.50], ()),
        ([0.6, 0.52, 0.0], ("milk", "uh")),
        ([0.6, 0.59, 0.9], ("milk", "um")),
    ],
)
def test_known_draws_give_known_words(
    draws: list[float], words: tuple[str, ...]
) -> None:
    channel = SpeechChannel({"milk": ("mint", "silk")}, ["uh", "um"], 0.5)
    hearing = channel.hear(["milk"], Stream([*draws, 0.5]))
    assert hearing.words == words
    assert hearing.confidence == pytest.approx(0.4)
    assert hearing.num_errors == int(words != ("milk",))


@given(
    st.lists(st.sampled_from([*SAID, "other"]), max_size=12),
    st.floats(0.0, 1.0),
    st.integers(0, 10_000),
)
def test_what_is_heard_is_what_was_said_or_sounds_like_it(
    said: list[str], rate: float, seed: int
) -> None:
    channel = SpeechChannel(SIMILAR, ["uh", "um"], rate)
    hearing = channel.hear(said, stream(seed))
    assert hearing == channel.hear(said, stream(seed))
    assert 0.0 <= hearing.confidence <= 1.0
    assert 0 <= hearing.num_errors <= len(said)
    allowed = {*said, "uh", "um"}.union(*(SIMILAR.get(word, ()) for word in said))
    assert set(hearing.words) <= allowed
    assert abs(len(hearing.words) - len(said)) <= hearing.num_errors
    if not hearing.num_errors:
        assert hearing.words == tuple(said)


def test_words_heard_right_keep_their_order() -> None:
    for hearing in hear_many(0.3, 300):
        kept = [word for word in hearing.words if word in SIMILAR]
        assert kept == sorted(kept)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"word_error_rate": -0.1}, "word_error_rate"),
        ({"word_error_rate": 1.1}, "word_error_rate"),
        ({"word_error_rate": math.nan}, "word_error_rate"),
        ({"substitution": 0.7}, "sum to 1"),
        ({"substitution": -0.1, "deletion": 0.95}, "shares"),
        ({"fillers": []}, "noise word"),
        ({"similar": {"a": []}}, "'a' sounds like"),
        ({"similar": {"a": ["b", "a"]}}, "'a' sounds like"),
    ],
)
def test_bad_arguments_are_refused(kwargs: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"similar": {}, "fillers": ["uh"]} | kwargs
    with pytest.raises(ValueError, match=message):
        SpeechChannel(**arguments)


def test_tables_are_copied() -> None:
    similar, fillers = {"milk": ["mint"]}, ["uh"]
    channel = SpeechChannel(similar, fillers, 1.0)
    before = [channel.hear(["milk"], stream(seed)) for seed in range(20)]
    similar["milk"].append("silk")
    fillers.append("um")
    assert before == [channel.hear(["milk"], stream(seed)) for seed in range(20)]
