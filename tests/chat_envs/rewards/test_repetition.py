"""Runs of words that come again."""

from __future__ import annotations

import pytest

from chat_envs.rewards.repetition import Repetition
from tests.chat_envs.rewards.ratings import rate


def test_repeated_runs_cost_their_share() -> None:
    assert rate(Repetition(), "a b c a b c", "a b c d", "a b", "") == [-0.25, 0, 0, 0]
    assert rate(Repetition(n=1), "No. NO! no?") == [pytest.approx(-2 / 3)]
    with pytest.raises(ValueError, match="n must be at least 1"):
        Repetition(n=0)
