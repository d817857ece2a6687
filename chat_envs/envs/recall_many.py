"""`RecallMany`: the user tells several facts at once and asks for one of them.

The memory size task of bsuite (Osband et al. 2020, arXiv:1908.03568) in language: what counts is
how many facts are kept, and which belongs to which.
"""

from __future__ import annotations

from typing import Sequence

from chat_envs.envs._diagnostic import share_solved
from chat_envs.envs.recall import MemoryTier, Recall
from chat_envs.vector import vector_entry_point

__all__ = ["RecallMany", "SWEEP", "make_vector", "score"]

SWEEP = tuple({"facts": facts} for facts in (1, 2, 3, 4, 6, 8, 10, 12))
"""Keywords of `RecallMany`, from easy to hard: how many facts are told."""


class RecallMany(Recall):
    """Keep several facts: "The cup is red. The owl is blue.", and then "What colour is the cup?".

    `Recall` with more facts and less time. Tiers: "easy" two facts, "default" four, "hard" eight,
    all told in turn 1, and one of them is asked for in turn 2. The reward is 1 for the right
    colour alone and 0 else, and so is success. What is held out is that of `Recall`; the facts
    that are not asked for are always of training.

    After the memory size task of bsuite (Osband et al. 2020, arXiv:1908.03568).

    Args:
        tier: "easy", "default" or "hard".
        max_turns: the turn in which one is asked for; None for the tier's.
        facts: how many facts are told, from 1 to 12; None for the tier's.
        has_lures: whether further things are told of between; None for the tier's.
        **kwargs: those of `ChatEnv`.
    """

    tiers = {
        "easy": MemoryTier(max_turns=2, facts=2),
        "default": MemoryTier(max_turns=2, facts=4),
        "hard": MemoryTier(max_turns=2, facts=8),
    }


def score(shares: Sequence[float]) -> float:
    """Return the share of `SWEEP` that is solved, in [0, 1].

    Args:
        shares: for each entry of `SWEEP`, the share of successes of a trained agent; one of at
            least 0.75 is solved.

    >>> score([1.0] * 4 + [0.125] * 4)
    0.5
    """
    return share_solved(shares, len(SWEEP))


make_vector = vector_entry_point(RecallMany)
