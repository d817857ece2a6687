"""Which strategies count, and how."""

from __future__ import annotations

import pytest

from chat_envs.rewards.politeness import Politeness
from tests.chat_envs.rewards.ratings import rate


def test_each_strategy_counts_once_with_its_sign() -> None:
    texts = {
        "Thanks. Thank you. Thanks": 1,
        "Hello there": 1,
        "Well, hello there": 0,
        "I am sorry": 1,
        "Give it, please": 1,
        "Please give it": -1,
        "That is so. Please go": -1,
        "It is what it is": 0,
        "What is it": -1,
        "You are late": -1,
        "It is actually late": -1,
        "Perhaps it is late": 1,
        "By the way, could you": 2,
        "Good question": 1,
        "So it is": -1,
    }
    assert rate(Politeness(full=10), *texts) == [n / 10 for n in texts.values()]


def test_politeness_is_cut_at_its_range() -> None:
    much = "Hello, sorry, thanks, perhaps. By the way, could you"
    little = "You! So what? What? Actually"
    assert rate(Politeness(full=2), much, little) == [1.0, -1.0]
    with pytest.raises(ValueError, match="full must be at least 1"):
        Politeness(full=0)
