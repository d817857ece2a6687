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

__all__ = [
    "AdamWState",
    "MOMENTS",
    "adamw_state",
    "build_adamw",
    "clip_gradients",
    "learning_rates",
    "parse_adamw",
    "set_adamw_state",
    "set_learning_rates",
]

AdamWState = dict[str, dict[str, torch.Tensor]]  # parameter -> moment -> tensor

MOMENTS = ("exp_avg", "exp_avg_sq", "step")  # as torch names them
# Groups have names, since DeepSpeed drops those without parameters.
_WEIGHTS, _VALUE_HEAD = "weights", "value head"


def build_adamw(network: CausalNetwork, config: TrainingConfig) -> torch.optim.AdamW:
    """Return an optimizer of two groups: the model's trained weights, then the value head's."""
    value_head = network.value_head
    value_rate = config.value_learning_rate
    groups = [
        {
            "name": _WEIGHTS,
            "params": [
                p for p in network.language_model.parameters() if p.requires_grad
            ],
            "lr": config.learning_rate,
        },
        {
            "name": _VALUE_HEAD,
            "params": [] if value_head is None else list(value_head.parameters()),
            "lr": config.learning_rate if value_rate is None else value_rate,
        },
    ]
    return torch.optim.AdamW(
        groups,
        betas=config.betas,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        fused=True,  # one pass over the weights instead of a dozen
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


def learning_rates(optimizer: torch.optim.AdamW) -> tuple[float, float]:
    """Return the step sizes of the weights and of the value head (the weights' without one)."""
    rates = {group["name"]: float(group["lr"]) for group in optimizer.param_groups}
    return rates[_WEIGHTS], rates.get(_VALUE_HEAD, rates[_WEIGHTS])


def set_learning_rates(
    optimizer: torch.optim.AdamW, weights: float, value_head: float
) -> None:
    """Change the step sizes; an optimizer without a value head takes the first alone."""
    rates = {_WEIGHTS: weights, _VALUE_HEAD: value_head}
    for group in optimizer.param_groups:
        group["lr"] = rates[group["name"]]


def adamw_state(
    optimizer: torch.optim.AdamW, network: CausalNetwork
) -> dict[str, torch.Tensor]:
    """Return `{parameter.exp_avg | .exp_avg_sq | .step: tensor}`; empty before the first step."""
    return {
        f"{name}.{moment}": optimizer.state[parameter][moment]
        for name, parameter in network.named_parameters()
        if parameter in optimizer.state
        for moment in MOMENTS
    }


def parse_adamw(
    tensors: Mapping[str, torch.Tensor],
    parameters: Mapping[str, torch.Tensor],
    path: Path,
) -> AdamWState:
    """Return `{parameter: {moment: tensor}}`, checked; step sizes are not in it.

    Args:
        tensors: what `adamw_state` returned.
        parameters: tensors with the shapes and dtypes of the moments; values do not matter.
        path: where they were read, for errors.

    Raises:
        ValueError: they are of another model, or damaged.
    """
    fresh: AdamWState = {}
    for key, tensor in tensors.items():
        name, _, moment = key.rpartition(".")
        parameter = parameters.get(name)
        shape = () if moment == "step" or parameter is None else parameter.shape
        if parameter is None or moment not in MOMENTS or tensor.shape != shape:
            raise ValueError(
                f"{path} belongs to another model: {key} of shape {tuple(tensor.shape)}."
            )
        dtype = torch.float32 if moment == "step" else parameter.dtype
        if tensor.dtype != dtype:
            raise ValueError(
                f"{path} holds {key} as {tensor.dtype}, expected {dtype}: load the model with the "
                "dtype that it was saved in."
            )
        fresh.setdefault(name, {})[moment] = tensor
    for state in fresh.values():
        if len(state) != len(MOMENTS):
            raise ValueError(
                f"{path} is not whole: a parameter has only {sorted(state)}."
            )
    return fresh


def set_adamw_state(
    optimizer: torch.optim.AdamW, network: CausalNetwork, state: AdamWState
) -> None:
    """Make `state` the optimizer's, bit for bit; what it had before is forgotten."""
    parameters = dict(network.named_parameters())
    optimizer.state.clear()
    for name, moments in state.items():
        parameter = parameters[name]
        # torch keeps the count of steps on the CPU, the moments beside their parameter.
        optimizer.state[parameter] = {
            moment: tensor.to(
                "cpu" if moment == "step" else parameter.device, copy=True
            )
            for moment, tensor in moments.items()
        }
