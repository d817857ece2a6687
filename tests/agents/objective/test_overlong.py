"""The soft overlong punishment, against its definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.objective.overlong import overlong_penalty


def by_definition(length: int, limit: int, margin: float) -> float:
    """Equation 13 of arXiv:2503.14476, as it is printed."""
    if length <= limit - margin:
        return 0.0
    if length <= limit:
        return ((limit - margin) - length) / margin
    return -1.0


@given(st.integers(1, 60), st.floats(0.05, 1.0), st.integers(0, 70))
def test_it_is_equation_13(limit: int, share: float, length: int) -> None:
    margin = share * limit
    found = overlong_penalty(torch.tensor([length]), limit=limit, margin=margin)
    assert found.item() == pytest.approx(by_definition(length, limit, margin), abs=1e-5)


def test_a_margin_must_lie_below_the_limit() -> None:
    for margin in (0, -1, 5):
        with pytest.raises(ValueError, match=f"limit=4.*got {margin}"):
            overlong_penalty(torch.tensor([1]), limit=4, margin=margin)
