"""Tensors and records on disk: safetensors and JSON, nothing that could run code.

Every error names the file, since a checkpoint has several.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

__all__ = [
    "load_module",
    "module_state",
    "read_record",
    "read_tensors",
    "write_record",
    "write_tensors",
]


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


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON object."""
    path.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", "utf-8")


def read_record(path: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not a JSON object.
    """
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


def load_module(
    module: nn.Module, tensors: Mapping[str, torch.Tensor], path: Path
) -> None:
    """Copy `tensors` into the module where its own lie, so that addresses stay.

    Raises:
        ValueError: names or shapes differ; the first difference is named. Nothing is changed.
    """
    own = module_state(module)
    if own.keys() != tensors.keys():
        missing = sorted(own.keys() - tensors.keys())[:3]
        surplus = sorted(tensors.keys() - own.keys())[:3]
        raise ValueError(
            f"{path} belongs to another model: missing {missing}, unknown {surplus}."
        )
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            raise ValueError(
                f"{path} belongs to another model: {name} has shape "
                f"{tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}."
            )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
