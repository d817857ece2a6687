"""Affect: how a reply moves the mood and the engagement of the person who reads it.

Pure functions of small records, without randomness: noise is an argument. With e the engagement
and m the mood before a reply, e' and m' after it:

    e' = clip(e + .10 question + .12 validation + .15 (relevance - .2) - .25 repetition
              - .10 [more than 60 words] - .15 [fewer than 3 words] - .30 toxicity + noise; 0, 1)
    m' = clip(m + .20 validation + .05 relevance - .20 toxicity + noise; -1, 1)
    P(leaves) = sigmoid(8 (.25 - e'))
    reward = .5 (e' + m' - m)

The noise of both is N(0, .02), and each turn that the talk is on a topic leaves .85 of the interest
in it. The equations are the suite's own: no study of people stands behind the numbers.
"""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

from chat_envs.simulators.stream import Uniform

__all__ = [
    "Affect",
    "ReplyFeatures",
    "draw_noise",
    "engagement_reward",
    "fade",
    "leave_probability",
    "mood_reward",
    "update",
]

NOISE = 0.02
MOST_WORDS = 60
FEWEST_WORDS = 3
_FADING = 0.85
_NORMAL = statistics.NormalDist(0.0, NOISE)
_SMALLEST_DRAW = 2.0**-54  # half a step of a uniform draw: 0 has no quantile


class Affect(NamedTuple):
    """What a person feels: mood in [-1, 1] and engagement in [0, 1]."""

    mood: float
    engagement: float


class ReplyFeatures(NamedTuple):
    """What of a reply counts.

    Attributes:
        question: interest in the topic that it asks about, in [0, 1]; 0 if it asks nothing.
        validation: 1 if it names the right emotion.
        relevance: in [0, 1].
        repetition: overlap with one's own last replies, in [0, 1].
        num_words: its length.
        toxicity: in [0, 1].
    """

    question: float = 0.0
    validation: float = 0.0
    relevance: float = 0.0
    repetition: float = 0.0
    num_words: int = FEWEST_WORDS
    toxicity: float = 0.0


def update(
    affect: Affect,
    features: ReplyFeatures,
    engagement_noise: float = 0.0,
    mood_noise: float = 0.0,
) -> Affect:
    """Return what is felt after a reply, by the equations at the top of the module.

    >>> best = ReplyFeatures(question=1.0, validation=1.0, relevance=1.0)
    >>> after = update(Affect(mood=0.0, engagement=0.5), best)
    >>> round(after.mood, 6), round(after.engagement, 6)
    (0.25, 0.84)
    """
    question, validation, relevance, repetition, num_words, toxicity = features
    engagement = (
        affect.engagement
        + 0.10 * question
        + 0.12 * validation
        + 0.15 * (relevance - 0.2)
        - 0.25 * repetition
        - 0.10 * (num_words > MOST_WORDS)
        - 0.15 * (num_words < FEWEST_WORDS)
        - 0.30 * toxicity
        + engagement_noise
    )
    mood = (
        affect.mood
        + 0.20 * validation
        + 0.05 * relevance
        - 0.20 * toxicity
        + mood_noise
    )
    return Affect(min(1.0, max(-1.0, mood)), min(1.0, max(0.0, engagement)))


def leave_probability(engagement: float) -> float:
    """Return how likely a person leaves the talk now.

    >>> leave_probability(0.25), round(leave_probability(1.0), 4)
    (0.5, 0.0025)
    """
    return 1.0 / (1.0 + math.exp(-8.0 * (0.25 - engagement)))


def engagement_reward(after: Affect) -> float:
    """Return the part of the reward that engagement pays, .5 e'."""
    return 0.5 * after.engagement


def mood_reward(before: Affect, after: Affect) -> float:
    """Return the part of the reward that a change of mood pays, .5 (m' - m)."""
    return 0.5 * (after.mood - before.mood)


def fade(interest: float) -> float:
    """Return what is left of the interest in a topic after a turn on it."""
    return _FADING * interest


def draw_noise(rng: Uniform) -> float:
    """Return a draw from N(0, .02), which takes one uniform draw.

    >>> from chat_envs.simulators.stream import Stream
    >>> draw_noise(Stream([0.5, 0.0]))
    0.0
    """
    return _NORMAL.inv_cdf(max(rng.random(), _SMALLEST_DRAW))
