"""The reference model: the network as it was, frozen."""

from __future__ import annotations

import copy

import torch
from torch import nn

from agents.engine.network import CausalNetwork, cast_parameters, disable_dropout

__all__ = ["frozen_copy"]


def frozen_copy(network: CausalNetwork) -> CausalNetwork:
    """Return a frozen network of the same shape; its weights are still to be filled in."""
    trained = network.language_model
    device = network.forbidden_V.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        module = type(trained)(copy.deepcopy(trained.config))
    cast_parameters(module, (p.dtype for p in trained.parameters()))
    nn.Module.to(module, device=device)
    disable_dropout(module)
    # Every id, and then the network's own mask, which may have grown.
    reference = CausalNetwork(module, int((~network.forbidden_V).sum()))
    reference.forbidden_V.copy_(network.forbidden_V)
    reference.requires_grad_(False)
    return reference.eval()
