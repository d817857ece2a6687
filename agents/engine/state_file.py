"""Tensors and records on disk: safetensors and JSON, nothing that could run code.

Every error names the file, since a checkpoint has several.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

__all__ = [
    "TrainingRecord",
    "check_state",
    "load_module",
    "module_state",
    "read_tensors",
    "write_tensors",
]

_FORMAT = 1  # of the directory that `CausalLM.save` writes


@dataclass(frozen=True)
class TrainingRecord:
    """What a saved training state holds beside its tensors.

    Attributes:
        has_value_head: whether there is a critic's file.
        has_reference: whether there is a reference model's file.
        num_updates: optimizer steps taken.
        learning_rates: step sizes of the weights and of the value head.
    """

    has_value_head: bool
    has_reference: bool
    num_updates: int
    learning_rates: tuple[float, float]

    def write(self, path: Path) -> None:
        """Write a JSON object."""
        record = {"format": _FORMAT, **asdict(self)}
        text = json.dumps(record, indent=2, sort_keys=True, allow_nan=False)
        path.write_text(text + "\n", "utf-8")

    @classmethod
    def read(cls, path: Path) -> TrainingRecord:
        """Return what `write` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, or of another format; the field is named.
        """
        record = _read_object(path)
        if (found := record.pop("format", None)) != _FORMAT:
            raise ValueError(
                f"{path} has format {found}; this version reads {_FORMAT}."
            )
        names = {field.name for field in fields(cls)}
        if record.keys() != names:
            raise ValueError(
                f"{path} is damaged: it lacks {sorted(names - record.keys())}, and "
                f"{sorted(record.keys() - names)} are unknown."
            )
        is_right = {
            "has_value_head": isinstance(record["has_value_head"], bool),
            "has_reference": isinstance(record["has_reference"], bool),
            "num_updates": type(record["num_updates"]) is int,
            "learning_rates": _are_rates(record["learning_rates"]),
        }
        for name in sorted(names):
            if not is_right[name]:
                raise ValueError(
                    f"{path} is damaged: {name} is {record[name]!r}; take another checkpoint."
                )
        weights_rate, critic_rate = record.pop("learning_rates")
        return cls(**record, learning_rates=(weights_rate, critic_rate))


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write `tensors` to a safetensors file."""
    ready = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    save_file(ready, path)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file, on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a whole safetensors file (a pickle is refused unread).
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; the checkpoint is not whole.")
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}); pickles and damaged files are "
            "not read. Take another checkpoint."
        ) from error
    return tensors


def _are_rates(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(type(rate) is float and 0 <= rate < math.inf for rate in value)
    )


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; the checkpoint is not whole.")
    try:
        record = json.loads(path.read_text("utf-8"))
    except (
        ValueError
    ) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ValueError(
            f"{path} is not JSON ({error}); take another checkpoint."
        ) from error
    if not isinstance(record, dict):
        raise ValueError(f"{path} holds a {type(record).__name__}, not a JSON object.")
    return record


def module_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the module's own parameters and persistent buffers, tied ones once."""
    tensors: dict[str, torch.Tensor] = dict(module.named_parameters())
    persistent = module.state_dict(keep_vars=True)
    for name, buffer in module.named_buffers():
        if name in persistent:
            tensors[name] = buffer
    return tensors


def check_state(
    expected: Mapping[str, torch.Tensor],
    tensors: Mapping[str, torch.Tensor],
    path: Path,
) -> None:
    """Refuse tensors that could not be copied into `expected` bit for bit.

    Args:
        expected: tensors of the right names, shapes and dtypes; their values do not matter.
        tensors: what was read.
        path: where it was read, for errors.

    Raises:
        ValueError: names, shapes or dtypes differ; the file and the first difference are named.
    """
    if expected.keys() != tensors.keys():
        missing = sorted(expected.keys() - tensors.keys())[:3]
        surplus = sorted(tensors.keys() - expected.keys())[:3]
        raise ValueError(
            f"{path} belongs to another model: missing {missing}, unknown {surplus}."
        )
    for name, tensor in expected.items():
        if tensor.shape != tensors[name].shape:
            raise ValueError(
                f"{path} belongs to another model: {name} has shape "
                f"{tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}."
            )
        if tensor.dtype != tensors[name].dtype:
            raise ValueError(
                f"{path} holds {name} as {tensors[name].dtype}, the model as {tensor.dtype}: "
                "load the model with the dtype that it was saved in."
            )


def load_module(
    module: nn.Module, tensors: Mapping[str, torch.Tensor], path: Path
) -> None:
    """Copy `tensors` into the module where its own lie, so that addresses stay.

    Raises:
        ValueError: see `check_state`. Nothing is changed.
    """
    own = module_state(module)
    check_state(own, tensors, path)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
