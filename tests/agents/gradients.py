"""Looking at the gradient of an update instead of taking its step."""

from __future__ import annotations

from unittest import mock

import torch

from agents.algorithm import Algorithm
from agents.engine.local import LocalLM
from agents.experience.rollout import Rollout


def gradient_of(algorithm: Algorithm, rollout: Rollout) -> torch.Tensor:
    """Return the gradient of the policy that one update gives to the optimizer, flattened.

    The weights stay as they are, and the algorithm's counters too.
    """
    lm = algorithm.lm
    assert isinstance(lm, LocalLM)
    captured: list[torch.Tensor] = []

    def step() -> float:
        grads = [
            p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters
        ]
        captured.append(torch.cat([g.flatten() for g in grads]).clone())
        for parameter in lm.network.parameters():
            parameter.grad = None
        return 0.0

    parameters = list(lm.module.parameters())
    with mock.patch.object(lm, "step", step):
        algorithm.update(rollout)
    assert len(captured) == 1, f"expected one optimizer step, got {len(captured)}"
    return captured[0]


def relative_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return |a - b| / |b|."""
    return float((a - b).norm() / b.norm())
