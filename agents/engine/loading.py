"""`load_lm`: from a name to a language model. Nothing here runs code that came with weights."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Sized

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from agents.engine.causal_lm import CausalLM
from agents.engine.local import LocalLM
from agents.engine.network import cast_parameters
from agents.engine.pretrained import name_accelerator, read_pretrained
from agents.engine.process_group import local_rank
from agents.engine.saved_state import VALUE_HEAD_FILE
from agents.engine.smollm2 import smollm2_directory
from agents.engine.tiny_model import TINY_SHAPES, build_tiny

__all__ = ["ENGINES", "MODEL_NAMES", "load_lm"]

ENGINES = ("auto", "local", "deepspeed")
MODEL_NAMES = (*TINY_SHAPES, "smollm2-135m")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def load_lm(
    name: str | Path,
    *,
    tokenizer: Sized | None = None,
    vocab_size: int | None = None,
    engine: str = "auto",
    seed: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    has_value_head: bool = False,
    lora: Mapping[str, Any] | Path | str | None = None,
    gradient_checkpointing: bool = False,
    deepspeed_config: Mapping[str, Any] | None = None,
) -> CausalLM:
    """Return the language model called `name`.

    Args:
        name: "tiny" or "small" (random weights from `seed`), "smollm2-135m", a Hugging Face
            directory, or a hub id where a network allows it.
        tokenizer: anything with a length; the model may say its ids and no others.
        vocab_size: the same as a number; not both.
        engine: "local", "deepspeed", or "auto": DeepSpeed where it is installed beside a CUDA
            device, else local.
        seed: of random weights.
        device: None takes CUDA where there is one (each process its own), else the CPU.
        dtype: of the weights.
        has_value_head: give it a critic; its values start at 0 unless the directory has one.
        lora: train low-rank adapters alone: their shape, {"r": 16, "alpha": 32}, or a directory of
            adapters that peft wrote. They are never merged into the weights that decode.
        gradient_checkpointing: keep no layer's activations while training, compute them anew:
            less memory, one more forward.
        deepspeed_config: merged with ours; only for engine "deepspeed".

    Raises:
        ValueError: unknown name or engine, no vocabulary, weights that are not safetensors.
        FileNotFoundError: a directory that is not there.
        ModuleNotFoundError: an optional package is missing; says what to install.

    >>> lm = load_lm("tiny", vocab_size=300, seed=1, engine="local", device="cpu")
    >>> lm.name, lm.vocab_size
    ('tiny', 300)
    """
    name = str(name)
    vocab_size = _vocab_size(tokenizer, vocab_size)
    build, options = _engine(engine, deepspeed_config)
    module, directory = _load_module(name, vocab_size, seed, dtype)
    if lora is not None:
        _add_adapter(module, lora, seed)
    if gradient_checkpointing:
        _checkpoint_activations(module)
    if device is None:
        device = f"cuda:{local_rank()}" if torch.cuda.is_available() else "cpu"
    nn.Module.to(module, device=torch.device(device))
    options |= {"name": name, "vocab_size": vocab_size}
    lm = build(module, has_value_head=has_value_head, **options)
    if has_value_head and directory and (directory / VALUE_HEAD_FILE).is_file():
        lm.load_value_head(directory / VALUE_HEAD_FILE)
    return lm


def _vocab_size(tokenizer: Sized | None, vocab_size: int | None) -> int | None:
    if tokenizer is not None and vocab_size is not None:
        raise ValueError("Pass tokenizer= or vocab_size=, not both.")
    return vocab_size if tokenizer is None else len(tokenizer)


def _checkpoint_activations(module: PreTrainedModel) -> None:
    # Re-entrant checkpoints would want an input with a gradient, which frozen weights lack.
    module.gradient_checkpointing_enable(  # type: ignore[no-untyped-call]
        {"use_reentrant": False}
    )


def _add_adapter(
    module: PreTrainedModel, lora: Mapping[str, Any] | Path | str, seed: int
) -> None:
    if importlib.util.find_spec("peft") is None:
        raise ModuleNotFoundError("lora= needs peft: pip install 'chat-envs[lora]'.")
    # By name: peft is optional and takes seconds to import.
    adapters = importlib.import_module("agents.engine.lora")
    if isinstance(lora, Mapping):
        adapters.add_lora(module, lora, seed)
    else:
        adapters.load_lora(module, Path(lora).expanduser())


def _engine(
    engine: str, deepspeed_config: Mapping[str, Any] | None
) -> tuple[type[CausalLM], dict[str, Any]]:
    """Return the class that the name stands for, and what it takes beside the module."""
    if engine not in ENGINES:
        raise ValueError(
            f"engine must be one of {ENGINES}, got {engine!r}{_nearest(engine, ENGINES)}."
        )
    has_deepspeed = importlib.util.find_spec("deepspeed") is not None
    if engine == "auto":
        engine = "deepspeed" if has_deepspeed and torch.cuda.is_available() else "local"
    if engine == "local":
        if deepspeed_config:
            raise ValueError(
                "deepspeed_config is given but the engine is 'local'; pass engine='deepspeed'."
            )
        return LocalLM, {}
    if not has_deepspeed:
        raise ModuleNotFoundError(
            "engine='deepspeed' needs DeepSpeed: pip install 'chat-envs[deepspeed]'; "
            "engine='local' does without."
        )
    name_accelerator()
    # By name: DeepSpeed is optional and takes seconds to import.
    hybrid = importlib.import_module("agents.engine.hybrid")
    return hybrid.HybridEngineLM, {"deepspeed_config": deepspeed_config}


def _load_module(
    name: str, vocab_size: int | None, seed: int, dtype: torch.dtype
) -> tuple[PreTrainedModel, Path | None]:
    """Return the module on the CPU, and the directory it came from if it did."""
    if name in TINY_SHAPES:
        if vocab_size is None:
            raise ValueError(
                f"{name!r} has no vocabulary of its own: pass tokenizer= or vocab_size=."
            )
        module = build_tiny(name, vocab_size=vocab_size, seed=seed)
        cast_parameters(module, (dtype for _ in module.parameters()))
        return module, None
    if name == "smollm2-135m":
        directory = smollm2_directory()
        return read_pretrained(AutoModelForCausalLM, directory, dtype), directory
    directory = Path(name).expanduser()
    if directory.is_dir():
        _check_weights(directory)
        return read_pretrained(AutoModelForCausalLM, directory, dtype), directory
    if _HUB_ID.fullmatch(name):
        return _read_hub(name, dtype), None
    if "/" in name or "\\" in name:
        raise FileNotFoundError(f"There is no directory {name}.")
    raise ValueError(
        f"Unknown language model {name!r}{_nearest(name, MODEL_NAMES)}. Known are "
        f"{', '.join(MODEL_NAMES)}, a Hugging Face directory, or a hub id 'owner/model'."
    )


def _check_weights(directory: Path) -> None:
    if (directory / "adapter_config.json").is_file():
        raise ValueError(
            f"{directory} holds an adapter, not a model: load the model that it was trained on and "
            "pass lora= this directory."
        )
    if not (directory / "config.json").is_file():
        raise ValueError(
            f"{directory} is no Hugging Face model directory: it has no config.json."
        )
    if not any(directory.glob("*.safetensors")):
        pickles = sorted(p.name for p in directory.glob("*.bin"))
        found = f"only {', '.join(pickles)}" if pickles else "no weights at all"
        raise ValueError(
            f"{directory} has {found}; weights are read from safetensors alone, since a pickle "
            "can run code. Convert it once, where you trust it: "
            "AutoModelForCausalLM.from_pretrained(dir).save_pretrained(new_dir)."
        )


def _read_hub(name: str, dtype: torch.dtype) -> PreTrainedModel:
    try:
        return read_pretrained(AutoModelForCausalLM, name, dtype)
    except OSError as error:
        raise OSError(
            f"{name!r} is neither a directory here nor reachable as a hub id ({error}). Nothing "
            "is downloaded at run time without a network: pass the path of a local Hugging Face "
            f"directory, or one of {', '.join(MODEL_NAMES)}."
        ) from error


def _nearest(word: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.4)
    return f"; did you mean {close[0]!r}?" if close else ""
