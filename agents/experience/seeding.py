"""Randomness from counters: every stream is a function of (seed, purpose, counters).

Nothing random is carried from one iteration to the next, so a checkpoint holds integers only and a
resumed run draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["episode_seed", "numpy_generator", "torch_generator"]

# Purposes keep streams apart that share a seed and counters. The numbers are part of the format:
# changing one changes every run.
PURPOSES = {
    "episode": 1,
    "sampling": 2,
    "minibatch": 3,
    "predict": 4,
    "shuffle": 5,
    "script": 6,
    "bootstrap": 7,
    "blend": 8,
    "refill": 9,
}


def _sequence(
    seed: int, purpose: str, counters: tuple[int, ...]
) -> np.random.SeedSequence:
    if seed < 0 or any(counter < 0 for counter in counters):
        raise ValueError(
            f"Seeds and counters must not be negative, got {seed} and {counters}."
        )
    return np.random.SeedSequence([PURPOSES[purpose], seed, *counters])


def episode_seed(seed: int, iteration: int, group: int) -> int:
    """Return the environment seed of a group of episodes, in [0, 2**31).

    >>> episode_seed(0, 0, 0) == episode_seed(0, 0, 0) != episode_seed(0, 0, 1)
    True
    """
    state = _sequence(seed, "episode", (iteration, group)).generate_state(1)
    return int(state[0]) >> 1


def numpy_generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """Return a generator that depends on its arguments alone."""
    return np.random.default_rng(_sequence(seed, purpose, counters))


def torch_generator(
    seed: int, purpose: str, *counters: int, device: torch.device
) -> torch.Generator:
    """Return a generator on `device` that depends on its arguments alone."""
    state = _sequence(seed, purpose, counters).generate_state(2)
    value = (int(state[0]) << 31) ^ int(state[1])  # below 2**63, as manual_seed wants
    return torch.Generator(device=device).manual_seed(value)
