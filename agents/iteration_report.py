"""What an algorithm says of each iteration, to callbacks and to whoever writes it down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from agents.experience.rollout import Rollout

__all__ = ["IterationReport"]


@dataclass(frozen=True)
class IterationReport:
    """What one iteration did.

    Attributes:
        iteration: counter, from 0.
        num_timesteps: turns played so far, this iteration's included.
        num_tokens: reply tokens generated so far, likewise.
        metrics: what happened; a function of the seed alone, so two runs agree byte for byte.
        timings: what it cost, in seconds and tokens a second; differs from run to run.
        rollout: the episodes themselves.
    """

    iteration: int
    num_timesteps: int
    num_tokens: int
    metrics: Mapping[str, float]
    timings: Mapping[str, float]
    rollout: Rollout
