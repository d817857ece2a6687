"""The equations of mood and engagement: known answers, bounds, directions, noise."""

from __future__ import annotations

import math
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.simulators.affect import (
    Affect,
    ReplyFeatures,
    draw_noise,
    engagement_reward,
    fade,
    leave_probability,
    mood_reward,
    update,
)
from chat_envs.simulators.stream import Stream, split_streams

NEUTRAL = Affect(mood=0.0, engagement=0.5)
# Relevance .2 is what the engagement's equation calls neutral.
PLAIN = ReplyFeatures(relevance=0.2)

share = st.floats(0.0, 1.0)
affects = st.builds(Affect, mood=st.floats(-1.0, 1.0), engagement=share)
features = st.builds(
    ReplyFeatures,
    question=share,
    validation=share,
    relevance=share,
    repetition=share,
    num_words=st.integers(0, 200),
    toxicity=share,
)


@pytest.mark.parametrize(
    ("change", "engagement", "mood"),
    [
        ({}, 0.0, 0.01),
        ({"question": 1.0}, 0.10, 0.01),
        ({"question": 0.85}, 0.085, 0.01),
        ({"validation": 1.0}, 0.12, 0.21),
        ({"relevance": 0.0}, -0.03, 0.0),
        ({"relevance": 1.0}, 0.12, 0.05),
        ({"repetition": 1.0}, -0.25, 0.01),
        ({"num_words": 60}, 0.0, 0.01),
        ({"num_words": 61}, -0.10, 0.01),
        ({"num_words": 3}, 0.0, 0.01),
        ({"num_words": 2}, -0.15, 0.01),
        ({"num_words": 0}, -0.15, 0.01),
        ({"toxicity": 1.0}, -0.30, -0.19),
        ({"question": 1.0, "validation": 1.0, "relevance": 1.0}, 0.34, 0.25),
        ({"toxicity": 0.5, "repetition": 0.5}, -0.275, -0.09),
    ],
)
def test_each_term_has_its_weight(
    change: dict[str, Any], engagement: float, mood: float
) -> None:
    after = update(NEUTRAL, PLAIN._replace(**change))
    assert after.engagement - NEUTRAL.engagement == pytest.approx(engagement, abs=1e-12)
    assert after.mood - NEUTRAL.mood == pytest.approx(mood, abs=1e-12)


def test_noise_is_added_to_both_and_to_each_its_own() -> None:
    after = update(NEUTRAL, PLAIN, 0.03, -0.02)
    assert after.engagement == pytest.approx(0.53)
    assert after.mood == pytest.approx(-0.01)


@given(affects, features, st.floats(-1, 1), st.floats(-1, 1))
def test_both_stay_in_their_bounds(
    affect: Affect, given_features: ReplyFeatures, one: float, other: float
) -> None:
    after = update(affect, given_features, one, other)
    assert 0.0 <= after.engagement <= 1.0
    assert -1.0 <= after.mood <= 1.0


@given(affects, features, share)
def test_what_is_good_never_harms_and_what_is_bad_never_helps(
    affect: Affect, given_features: ReplyFeatures, value: float
) -> None:
    before = update(affect, given_features)
    for name, sign in (
        ("question", 1),
        ("validation", 1),
        ("relevance", 1),
        ("repetition", -1),
        ("toxicity", -1),
    ):
        more = max(value, getattr(given_features, name))
        after = update(affect, given_features._replace(**{name: more}))
        assert sign * (after.engagement - before.engagement) >= 0.0
        assert sign * (after.mood - before.mood) >= 0.0


@pytest.mark.parametrize(
    ("affect", "change", "expected"),
    [
        (Affect(0.95, 0.9), {"validation": 1.0}, Affect(1.0, 1.0)),
        (Affect(-0.9, 0.1), {"toxicity": 1.0}, Affect(-1.0, 0.0)),
    ],
)
def test_the_bounds_clip(
    affect: Affect, change: dict[str, Any], expected: Affect
) -> None:
    assert update(affect, PLAIN._replace(**change)) == expected


@pytest.mark.parametrize(
    ("engagement", "probability"),
    [
        (0.25, 0.5),
        (0.0, 1.0 / (1.0 + math.exp(-2.0))),
        (1.0, 1.0 / (1.0 + math.exp(6.0))),
        (0.375, 1.0 / (1.0 + math.exp(1.0))),
    ],
)
def test_the_bored_leave(engagement: float, probability: float) -> None:
    assert leave_probability(engagement) == pytest.approx(probability)


@given(share, share)
def test_who_is_more_engaged_leaves_less(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert leave_probability(low) >= leave_probability(high)
    assert 0.0 < leave_probability(high) < 1.0


def test_the_reward_is_half_of_engagement_and_of_the_change_of_mood() -> None:
    before, after = Affect(-0.4, 0.1), Affect(-0.1, 0.6)
    assert engagement_reward(after) == pytest.approx(0.3)
    assert mood_reward(before, after) == pytest.approx(0.15)
    total = engagement_reward(after) + mood_reward(before, after)
    assert total == pytest.approx(0.5 * (0.6 - 0.1 + 0.4))


@given(st.lists(affects, min_size=2, max_size=9))
def test_the_moods_rewards_add_up_to_half_of_the_whole_change(
    path: list[Affect],
) -> None:
    total = sum(mood_reward(one, other) for one, other in zip(path, path[1:]))
    assert total == pytest.approx(0.5 * (path[-1].mood - path[0].mood), abs=1e-9)


def test_interest_fades_by_its_factor() -> None:
    assert fade(1.0) == 0.85
    assert fade(fade(0.8)) == pytest.approx(0.8 * 0.85**2)


def test_noise_is_normal_with_its_deviation() -> None:
    (stream,) = split_streams(np.random.default_rng(0), 1)
    draws = [draw_noise(stream) for _ in range(20_000)]
    # Four standard errors of a mean, and of a deviation.
    assert abs(statistics.fmean(draws)) < 4 * 0.02 / math.sqrt(20_000)
    assert statistics.pstdev(draws) == pytest.approx(0.02, abs=4 * 0.02 / 200)
    within = sum(abs(draw) < 0.02 for draw in draws) / 20_000
    assert within == pytest.approx(0.6827, abs=0.014)


@pytest.mark.parametrize("draw", [0.0, 1.0 - 2.0**-53])
def test_the_most_extreme_draws_give_finite_noise(draw: float) -> None:
    noise = draw_noise(Stream([draw, 0.5]))
    assert math.isfinite(noise)
    assert 0.1 < abs(noise) < 0.2


def test_noise_takes_one_draw() -> None:
    stream = Stream([0.1, 0.9, 0.25, 0.5])
    draw_noise(stream)
    assert stream.random() == 0.9
