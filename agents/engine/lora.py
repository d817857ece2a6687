"""Low-rank adapters by peft; the only file that imports it.

Hu et al. 2021, "LoRA: Low-rank adaptation of large language models", equation 3. An adapter is
never merged into the weights that decode and train, so decoding is training exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import (
    LoraConfig,
    get_peft_model_state_dict,
    inject_adapter_in_model,
    set_peft_model_state_dict,
)
from torch import nn
from transformers import PreTrainedModel

from agents.engine.adapter import adapter_layers
from agents.engine.network import cast_parameters
from agents.engine.state_file import read_tensors, write_tensors

__all__ = ["add_lora", "load_lora", "save_adapter", "save_merged"]

_NAME = "default"  # as peft calls an adapter that nobody named
_CONFIG_FILE = "adapter_config.json"
_TENSORS_FILE = "adapter_model.safetensors"
_OPTIONS = ("alpha", "r", "target_modules")


def add_lora(module: PreTrainedModel, options: Mapping[str, Any], seed: int) -> None:
    """Put fresh adapters beside every linear layer but the output layer; they say 0 at first.

    Args:
        module: its own weights are frozen from now on.
        options: "r", the rank, at least 1; "alpha", the adapters' product is scaled by alpha / r
            (2 r where it is missing); "target_modules", names of layers.
        seed: of the random halves.

    Raises:
        ValueError: an option is unknown, missing or out of its range.
    """
    unknown = sorted(options.keys() - set(_OPTIONS))
    rank = options.get("r")
    if unknown or type(rank) is not int or rank < 1:
        raise ValueError(
            f"lora must be like {{'r': 16, 'alpha': 32}} with a rank r of at least 1, got "
            f"{dict(options)}; known are {', '.join(_OPTIONS)}."
        )
    alpha = options.get("alpha", 2 * rank)
    if type(alpha) is not int or alpha < 1:
        raise ValueError(f"lora's alpha must be a whole number above 0, got {alpha!r}.")
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0.0,  # the decoder has none
        target_modules=options.get("target_modules", "all-linear"),
        task_type="CAUSAL_LM",
    )
    _inject(module, config, seed)


def load_lora(module: PreTrainedModel, directory: Path) -> None:
    """Put the adapters of a peft directory beside the layers of `module`, to train on.

    Raises:
        FileNotFoundError: the directory lacks its configuration or its safetensors.
        ValueError: the tensors are not those of such adapters on such a model.
    """
    for name in (_CONFIG_FILE, _TENSORS_FILE):
        if not (directory / name).is_file():
            raise FileNotFoundError(
                f"{directory} has no {name}: it is no adapter that peft wrote in safetensors "
                "(pickles are not read)."
            )
    config = LoraConfig.from_pretrained(str(directory))
    config.lora_dropout = 0.0
    _inject(module, config, seed=0)
    tensors = read_tensors(directory / _TENSORS_FILE)
    own = get_peft_model_state_dict(module, adapter_name=_NAME)
    found = {name.removeprefix("base_model.model."): t for name, t in tensors.items()}
    shapes = [{name: t.shape for name, t in each.items()} for each in (own, found)]
    if shapes[0] != shapes[1]:
        names = sorted(
            name
            for name in shapes[0].keys() | shapes[1].keys()
            if shapes[0].get(name) != shapes[1].get(name)
        )
        raise ValueError(
            f"{directory} is an adapter of another model: {names[:3]} differ from "
            f"{type(module).__name__}'s. Load the model that it was trained on."
        )
    set_peft_model_state_dict(module, found, adapter_name=_NAME)


def save_adapter(module: PreTrainedModel, directory: Path) -> None:
    """Write the adapters alone, bit for bit, as peft does; `load_lora` reads them back."""
    directory.mkdir(parents=True, exist_ok=True)
    config = module.peft_config[_NAME]
    config.save_pretrained(str(directory))
    tensors = get_peft_model_state_dict(module, adapter_name=_NAME)
    prefixed = {f"base_model.model.{name}": t for name, t in tensors.items()}
    write_tensors(directory / _TENSORS_FILE, prefixed)


def save_merged(module: PreTrainedModel, directory: Path) -> None:
    """Write a plain model with the adapters added to its weights, rounded once.

    The live module is left alone: merging and unmerging would not give the same bits back.
    """
    device = next(module.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        plain = type(module)(module.config)
    cast_parameters(plain, (_plain_dtype(module) for _ in plain.parameters()))
    merged = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in module.state_dict().items()
        if ".lora_" not in name
    }
    with torch.no_grad():
        for name, layer in adapter_layers(module).items():
            delta = layer.get_delta_weight(_NAME)
            merged[f"{name}.weight"] = layer.get_base_layer().weight + delta
    plain.load_state_dict(merged)
    plain.save_pretrained(directory)


def _plain_dtype(module: nn.Module) -> torch.dtype:
    return next(p.dtype for n, p in module.named_parameters() if ".lora_" not in n)


def _inject(module: PreTrainedModel, config: LoraConfig, seed: int) -> None:
    device = next(module.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, module, adapter_name=_NAME)
    module.peft_config = {_NAME: config}  # type: ignore[dict-item]
    # In the precision of the weights: the decoder's and the trainer's products are then the same.
    dtype = _plain_dtype(module)
    cast_parameters(module, (dtype for _ in module.parameters()))
