"""What the diagnostics share: checks of keywords and of results, and the share that is solved."""

from __future__ import annotations

import math
import numbers
from typing import Sequence

__all__ = ["SOLVED", "as_index", "check_shares", "share_solved", "told_turns"]

SOLVED = 0.75
"""A setting is solved if at least this share of episodes succeeds."""


def as_index(name: str, number: object) -> int:
    """Return `number`, an integer of at least 0; `name` is for the error."""
    if isinstance(number, bool) or not isinstance(number, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {number!r}.")
    if number < 0:
        raise ValueError(f"{name} must be at least 0, got {number}.")
    return int(number)


def told_turns(max_turns: int) -> str:
    """Return the turn limit in words.

    >>> told_turns(1), told_turns(6)
    ('1 turn', '6 turns')
    """
    return f"{max_turns} turn" + "s" * (max_turns != 1)


def check_shares(shares: Sequence[float], num_settings: int) -> None:
    """Raise a `ValueError` unless there is one share in [0, 1] for each setting of a sweep."""
    if len(shares) != num_settings:
        raise ValueError(
            f"The sweep has {num_settings} settings, got {len(shares)} results."
        )
    for share in shares:
        if not (math.isfinite(share) and 0.0 <= share <= 1.0):
            raise ValueError(f"A share of successes is in [0, 1], got {share}.")


def share_solved(shares: Sequence[float], num_settings: int) -> float:
    """Return the share of settings whose share of successes is at least `SOLVED`.

    >>> share_solved([1.0, 0.75, 0.5, 0.0], 4)
    0.5
    """
    check_shares(shares, num_settings)
    return sum(share >= SOLVED for share in shares) / num_settings
