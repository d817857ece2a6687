"""Models as plain Hugging Face directories: weights, tokenizer and chat template together.

`transformers` alone loads such a directory and replies as the model does here; `load_lm`, `--lm`
and `load_tokenizer` read it too. So the steps from a base model to a policy hand on directories.
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol, cast

from agents.checkpoint import read_json, sync, write_json
from agents.engine import process_group
from agents.engine.causal_lm import CausalLM
from agents.engine.loading import MODEL_NAMES, load_lm
from agents.engine.network import output_layer
from agents.engine.pretrained import quiet
from agents.engine.saved_state import VALUE_HEAD_FILE
from agents.engine.tiny_model import TINY_SHAPES
from chat_envs.chat_template import load_template
from chat_envs.tokenizer import Tokenizer, load_tokenizer

__all__ = [
    "check_model_name",
    "export_model",
    "is_model_directory",
    "load_model",
    "tokenizer_name",
    "write_whole",
]


class _Saveable(Protocol):
    """A tokenizer that can write itself; all of this suite can."""

    def save_pretrained(self, directory: Path) -> None: ...


def tokenizer_name(lm: str) -> str:
    """Return what `load_tokenizer` calls the tokenizer of the model `lm`.

    >>> tokenizer_name("tiny"), tokenizer_name("runs/sft")
    ('builtin', 'runs/sft')
    """
    return "builtin" if lm in TINY_SHAPES else lm


def check_model_name(name: str) -> None:
    """Raise unless `name` is one of `MODEL_NAMES`, a directory, or may be a hub id.

    Raises:
        ValueError: it is none of them; the nearest is named.
    """
    if name in MODEL_NAMES or os.path.isdir(name):
        return
    if "/" not in name:
        near = difflib.get_close_matches(name, MODEL_NAMES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"There is no language model {name!r}.{hint} Known are {', '.join(MODEL_NAMES)}, the "
            "directory of a Hugging Face model, or a hub id 'owner/model'."
        )


def load_model(
    name: str, *, engine: str = "auto", seed: int = 0, has_value_head: bool = False
) -> tuple[CausalLM, Tokenizer]:
    """Return a model that may say nothing but text and the ends of replies, and its tokenizer.

    Args:
        name: as for `load_lm`.
        engine: as for `load_lm`.
        seed: of random weights.
        has_value_head: as for `load_lm`.

    Raises:
        ValueError: there is no such model.
    """
    check_model_name(name)
    tokenizer = load_tokenizer(tokenizer_name(name))
    lm = load_lm(
        name,
        tokenizer=tokenizer,
        engine=engine,
        seed=seed,
        has_value_head=has_value_head,
    )
    # As the environments do: a control id that ends nothing would only be dropped.
    lm.forbid(sorted(tokenizer.control_ids - load_template(tokenizer).stop_ids))
    return lm, tokenizer


def export_model(
    lm: CausalLM,
    tokenizer: Tokenizer,
    directory: Path,
    *,
    is_averaged: bool = False,
    has_critic: bool = False,
    beside: Callable[[Path], object] = lambda aside: None,
) -> None:
    """Write a plain Hugging Face directory, at once or not at all; a model there is replaced.

    Of several processes that train together all call this, and the first one writes.

    `generation_config.json` says what ends a reply and which ids are never said, so that greedy
    replies of `transformers` are those of here.

    Args:
        lm: the model.
        tokenizer: its own.
        directory: where to.
        is_averaged: write the moving average of the weights (`ema_decay`).
        has_critic: keep the value head's file, which transformers does not know.
        beside: writes further files into the directory.

    Raises:
        FileExistsError: there is something that is no model.
        RuntimeError: an average is asked for and none is kept.
        TypeError: the tokenizer cannot be written.
    """
    if not hasattr(tokenizer, "save_pretrained"):
        raise TypeError(
            f"{type(tokenizer).__name__} has no method save_pretrained(directory), so there would "
            "be no telling what the model's ids mean."
        )
    if directory.exists() and not is_model_directory(directory):
        raise FileExistsError(
            f"{directory} is there and holds no model, so it is not replaced; choose another place."
        )

    if process_group.rank() > 0:  # where weights are sharded the first one needs all
        with lm.averaged_weights() if is_averaged else nullcontext():
            lm.save_pretrained(directory)
        process_group.barrier()
        return

    def write(aside: Path) -> None:
        with quiet(), lm.averaged_weights() if is_averaged else nullcontext():
            lm.save_pretrained(aside)
        cast(_Saveable, tokenizer).save_pretrained(aside)
        if not has_critic:
            (aside / VALUE_HEAD_FILE).unlink(missing_ok=True)
        told = _generation_config(lm, tokenizer, aside)
        write_json(aside / "generation_config.json", told)
        beside(aside)

    write_whole(directory, write)
    process_group.barrier()


def write_whole(directory: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a new directory, and put it in the place of `directory` when it is whole."""
    aside = directory.with_name(f".{directory.name}.writing")
    old = directory.with_name(f".{directory.name}.removed")
    for path in (aside, old):
        if path.exists():
            shutil.rmtree(path)
    aside.mkdir(parents=True)
    write(aside)
    for path in sorted(aside.rglob("*")):
        sync(path)
    sync(aside)
    if directory.exists():
        directory.rename(old)
    aside.rename(directory)
    sync(directory.parent)
    if old.exists():
        shutil.rmtree(old)


def is_model_directory(path: Path) -> bool:
    """Return whether there are a model's weights, and not a run."""
    try:
        config = json.loads((path / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "model_type" in config


def _generation_config(
    lm: CausalLM, tokenizer: Tokenizer, directory: Path
) -> dict[str, Any]:
    """Return what transformers must know to reply as the model does here."""
    path = directory / "generation_config.json"
    config = read_json(path) if path.is_file() else {}
    template = load_template(tokenizer)
    num_rows = output_layer(lm.module).weight.shape[0]
    # Rows past the vocabulary are padding of the embedding; they were never trained.
    never = {*tokenizer.control_ids, *range(lm.vocab_size, num_rows)}
    return config | {
        "eos_token_id": sorted(template.stop_ids),
        "pad_token_id": tokenizer.pad_id,
        "suppress_tokens": sorted(never - template.stop_ids),
    }
