"""AdamW for a network: built, clipped, and written to disk by parameter name.

Loshchilov and Hutter 2019, "Decoupled weight decay regularization", algorithm 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from agents.engine.language_model import TrainingConfig
from agents.engine.network import CausalNetwork

__all__ = ["AdamWState", "adamw_state", "build_adamw", "clip_gradients", "parse_adamw"]

AdamWState = dict[torch.Tensor, dict[str, torch.Tensor]]  # as torch keeps it

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def build_adamw(network: CausalNetwork, config: TrainingConfig) -> torch.optim.AdamW:
    """Return an optimizer of two groups: the language model's weights, then the value head's."""
    value_head = network.value_head
    value_rate = config.value_learning_rate
    groups = [
        {
            "params": list(network.language_model.parameters()),
            "lr": config.learning_rate,
        },
        {
            "params": [] if value_head is None else list(value_head.parameters()),
            "lr": config.learning_rate if value_rate is None else value_rate,
        },
    ]
    return torch.optim.AdamW(
        groups,
        betas=config.betas,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
    )


def clip_gradients(parameters: Iterable[torch.Tensor], max_norm: float) -> float:
    """Scale the gradients so that their global norm is at most `max_norm`; return it as it was.

    Raises:
        FloatingPointError: the norm is not finite; clipping would spread the NaN to every weight.
    """
    with_gradient = [p for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(
        [p.grad for p in with_gradient if p.grad is not None]
    )
    if not math.isfinite(norm):
        raise FloatingPointError(
            f"The gradient norm is {float(norm)}; the weights were not changed. Look for a loss "
            "that is not finite, or lower the learning rate."
        )
    torch.nn.utils.clip_grads_with_norm_(with_gradient, max_norm, norm)
    return float(norm)


def adamw_state(
    optimizer: torch.optim.AdamW, network: CausalNetwork
) -> dict[str, torch.Tensor]:
    """Return `{parameter.exp_avg | .exp_avg_sq | .step: tensor}`; empty before the first step."""
    return {
        f"{name}.{moment}": optimizer.state[parameter][moment]
        for name, parameter in network.named_parameters()
        if parameter in optimizer.state
        for moment in _MOMENTS
    }


def parse_adamw(
    tensors: Mapping[str, torch.Tensor], network: CausalNetwork, path: Path
) -> AdamWState:
    """Return what goes into `optimizer.state`, bit for bit; step sizes are not in it.

    Args:
        tensors: what `adamw_state` returned.
        network: the parameters that they belong to.
        path: where they were read, for errors.

    Raises:
        ValueError: they are of another model, or damaged.
    """
    parameters = dict(network.named_parameters())
    fresh: AdamWState = {}
    for key, tensor in tensors.items():
        name, _, moment = key.rpartition(".")
        parameter = parameters.get(name)
        shape = () if moment == "step" or parameter is None else parameter.shape
        if parameter is None or moment not in _MOMENTS or tensor.shape != shape:
            raise ValueError(
                f"{path} belongs to another model: {key} of shape {tuple(tensor.shape)}."
            )
        dtype = torch.float32 if moment == "step" else parameter.dtype
        if tensor.dtype != dtype:
            raise ValueError(
                f"{path} holds {key} as {tensor.dtype}, expected {dtype}: load the model with the "
                "dtype that it was saved in."
            )
        # torch keeps the count of steps on the CPU, the moments beside their parameter.
        device = torch.device("cpu") if moment == "step" else parameter.device
        fresh.setdefault(parameter, {})[moment] = tensor.to(device, copy=True)
    for state in fresh.values():
        if len(state) != len(_MOMENTS):
            raise ValueError(
                f"{path} is not whole: a parameter has only {sorted(state)}."
            )
    return fresh
