"""What the diagnostics share: checked keywords and results, and the share solved."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.envs._diagnostic import (
    SOLVED,
    as_index,
    check_shares,
    share_solved,
    told_turns,
)

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_an_index_is_an_integer_from_zero_on() -> None:
    assert as_index("code", 0) == 0
    assert type(as_index("code", np.int64(7))) is int
    for wrong in (1.0, "1", True, None):
        with pytest.raises(TypeError, match="code must be an integer"):
            as_index("code", wrong)
    with pytest.raises(ValueError, match="code must be at least 0, got -1"):
        as_index("code", -1)


def test_one_turn_is_no_turns() -> None:
    assert [told_turns(n) for n in (1, 2, 12)] == ["1 turn", "2 turns", "12 turns"]


@pytest.mark.parametrize("shares", [[], [0.5], [0.5] * 3])
def test_each_setting_has_one_result(shares: list[float]) -> None:
    with pytest.raises(ValueError, match=f"has 2 settings, got {len(shares)}"):
        check_shares(shares, 2)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, math.inf])
def test_a_share_lies_between_zero_and_one(share: Any) -> None:
    with pytest.raises(ValueError, match=r"is in \[0, 1\]"):
        share_solved([0.5, share], 2)


def test_a_setting_is_solved_from_three_quarters_on() -> None:
    assert SOLVED == 0.75
    below = math.nextafter(SOLVED, 0.0)
    assert share_solved([SOLVED, below, 1.0, 0.0], 4) == 0.5


@given(SHARES, st.data())
def test_better_results_never_score_less(
    shares: list[float], data: st.DataObject
) -> None:
    better = [data.draw(st.floats(share, 1)) for share in shares]
    scores = [share_solved(s, len(shares)) for s in (shares, better)]
    assert 0.0 <= scores[0] <= scores[1] <= 1.0
