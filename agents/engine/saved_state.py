"""A saved training state: which file holds what, and reading all of it before anything changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from agents.engine.adapter import has_adapter
from agents.engine.network import CausalNetwork
from agents.engine.optimizer import AdamWState, parse_adamw
from agents.engine.reference import frozen_copy
from agents.engine.state_file import TrainingRecord, check_state, read_tensors
from agents.engine.weight_average import WeightAverage
from agents.engine.weight_store import WeightStore

__all__ = [
    "AVERAGE_FILE",
    "OPTIMIZER_FILE",
    "RECORD_FILE",
    "SavedState",
    "VALUE_HEAD_FILE",
    "parts_of",
    "read_state",
]

VALUE_HEAD_FILE = "value_head.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
AVERAGE_FILE = "average.safetensors"
RECORD_FILE = "training.json"
_MODEL_FILE = "model.safetensors"
_REFERENCE_FILE = "reference.safetensors"


@dataclass(frozen=True)
class SavedState:
    """What was read from a directory, checked against the model that asks for it.

    Attributes:
        record: what is no tensor.
        reference: a network whose weights are still to be written, or the live one.
        files: the tensors of each of `parts_of`.
        moments: the optimizer's.
        average: the average of weights; empty where none is kept.
    """

    record: TrainingRecord
    reference: CausalNetwork | None
    files: dict[str, dict[str, torch.Tensor]]
    moments: AdamWState
    average: dict[str, torch.Tensor]


def parts_of(
    network: CausalNetwork, reference: CausalNetwork | None
) -> dict[str, nn.Module]:
    """Return the module whose weights each file holds."""
    parts: dict[str, nn.Module] = {_MODEL_FILE: network.language_model}
    if network.value_head is not None:
        parts[VALUE_HEAD_FILE] = network.value_head
    if reference is not None and reference is not network:
        parts[_REFERENCE_FILE] = reference.language_model
    return parts


def read_state(
    directory: Path,
    network: CausalNetwork,
    store: WeightStore,
    average: WeightAverage | None,
) -> SavedState:
    """Return what `CausalLM.save` wrote to `directory`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or belongs to another model; the file is named.
    """
    path = directory / RECORD_FILE
    record = TrainingRecord.read(path)
    has_value_head = network.value_head is not None
    if record.has_value_head != has_value_head:
        raise ValueError(
            f"{path} was written with has_value_head={record.has_value_head}, this model has "
            f"has_value_head={has_value_head}; construct it like the one saved."
        )
    reference: CausalNetwork | None = None
    if record.has_reference:
        is_live = has_adapter(network.language_model)
        reference = network if is_live else frozen_copy(network)
    parts = parts_of(network, reference)
    files = {name: read_tensors(directory / name) for name in parts}
    for name, part in parts.items():
        check_state(store.expected(part), files[name], directory / name)
    path = directory / OPTIMIZER_FILE
    moments = parse_adamw(read_tensors(path), store.expected(network), path)
    store.check_moments(moments, path)
    averaged: dict[str, torch.Tensor] = {}
    if average is not None:
        path = directory / AVERAGE_FILE
        averaged = read_tensors(path)
        check_state(average.tensors, averaged, path)
    return SavedState(record, reference, files, moments, averaged)
