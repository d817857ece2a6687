"""Reading and writing models by transformers: safetensors alone, whole or not at all, quietly."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils import logging

__all__ = ["name_accelerator", "quiet", "read_pretrained"]


def name_accelerator() -> None:
    """Tell DeepSpeed its device: it would guess, and say so on standard output.

    transformers imports it through accelerate, to save a model too.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    os.environ.setdefault("DS_ACCELERATOR", device)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what transformers says over a second of reading or writing off the terminal."""
    name_accelerator()
    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if was_shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def read_pretrained(
    loader: Any, source: Path | str, dtype: torch.dtype
) -> PreTrainedModel:
    """Return a model of a directory or hub id; torch's generator is left as it was.

    Args:
        loader: one of transformers' `AutoModelFor...` classes.
        source: a `Path` is a directory and never looked up; a `str` is a hub id.
        dtype: of the weights.

    Raises:
        ValueError: weights are missing or of another shape.
        OSError: there is no such model.
    """
    with torch.random.fork_rng(devices=[]), quiet():
        module, report = loader.from_pretrained(
            source,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=isinstance(source, Path),
            output_loading_info=True,
        )
    incomplete = sorted(report["missing_keys"]) + sorted(
        map(str, report["mismatched_keys"])
    )
    if incomplete:
        # transformers would fill them at random and go on.
        raise ValueError(
            f"The weights of {source} lack {incomplete[:3]}; the directory is damaged."
        )
    read: PreTrainedModel = module
    return read
