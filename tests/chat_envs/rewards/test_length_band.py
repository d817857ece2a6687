"""The band of lengths and its ramps."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from chat_envs.rewards.length_band import LengthBand
from tests.chat_envs.rewards.ratings import rate


@pytest.mark.parametrize("unit", ["words", "tokens", "characters"])
def test_a_length_is_counted_in_its_unit(unit: str) -> None:
    band = LengthBand(low=3, high=3, ramp=1, unit=unit)
    texts = {"words": "one two, three!", "tokens": "one two", "characters": "a b"}
    ids = np.arange(3 if unit == "tokens" else 9)
    assert [band(text, ids) for text in texts.values()] == [
        float(unit in ("tokens", name)) for name in texts
    ]


def test_the_ramps_are_straight_on_both_sides() -> None:
    band = LengthBand(low=4, high=6, ramp=4)
    values = [band("word " * n, np.arange(0)) for n in range(12)]
    assert values == [0, 0.25, 0.5, 0.75, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"low": 5, "high": 4}, "low <= high"),
        ({"low": -1}, "0 <= low"),
        ({"ramp": 0}, "ramp must be at least 1"),
        ({"unit": "word"}, "unit must be one of"),
    ],
)
def test_a_band_that_is_none_is_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LengthBand(**kwargs)


def test_keywords_are_json() -> None:
    kwargs = {"low": 2, "high": 4, "ramp": 2, "unit": "words"}
    band = LengthBand(**json.loads(json.dumps(kwargs)))
    assert rate(band, "one two", "one") == [1.0, 0.5]
