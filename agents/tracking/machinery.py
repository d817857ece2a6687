"""What the numbers of a run depend on beside its config: versions, source, threads."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from agents.checkpoint import checksum
from agents.engine import process_group
from agents.engine.tiny_model import TINY_SHAPES
from agents.tracking.lock import RunError
from chat_envs.tokenizer import BuiltinTokenizer, load_tokenizer

__all__ = ["check_tokenizer", "machinery", "source_checksum"]

_SOURCES = ("agents", "chat_envs")
# What no number depends on, so that editing it leaves runs and caches valid.
_NOT_DETERMINING = ("commands", "testing", "tracking", "report.py", "anchors.json")
_PACKAGES = (
    "chat-envs",
    "deepspeed",
    "gymnasium",
    "numpy",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
)


def machinery() -> dict[str, Any]:
    """Return what else the numbers of a run depend on: versions, source, threads."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # an extra that is not installed
            continue
    return {
        "versions": versions,
        "git_commit": _git_commit(),
        "source": source_checksum(),
        "builtin_tokenizer": _builtin_fingerprint(),
        "threads": torch.get_num_threads(),
        "processes": process_group.num_processes(),
        "has_cuda": torch.cuda.is_available(),
    }


def check_tokenizer(path: Path, stored: Mapping[str, Any]) -> None:
    """Refuse a run whose ids mean other words than the built-in tokenizer's of now.

    Args:
        path: its `config.json`.
        stored: what that file holds.

    Raises:
        RunError: the built-in tokenizer has been trained anew since.
    """
    then = stored.get("machinery", {}).get("builtin_tokenizer")
    uses_it = stored.get("config", {}).get("lm") in TINY_SHAPES
    if uses_it and then not in (None, _builtin_fingerprint()):
        raise RunError(
            f"{path}: the model was trained on another built-in tokenizer than the one installed, "
            "so it would read and write other words. Train it again, or install the version of "
            f"chat-envs that it was trained with (git commit "
            f"{stored['machinery'].get('git_commit')})."
        )


def _builtin_fingerprint() -> str:
    tokenizer = load_tokenizer("builtin")
    assert isinstance(tokenizer, BuiltinTokenizer)
    return tokenizer.fingerprint


def source_checksum() -> str:
    """Return the SHA-256 of our own source and data, of all that numbers may depend on."""
    digest = hashlib.sha256()
    for path in _source_files():
        digest.update(f"{path.name}:{checksum(path)}\n".encode())
    return digest.hexdigest()


def _source_files() -> Iterator[Path]:
    """Yield source and data files, in an order that is the same everywhere."""
    top = Path(__file__).parents[2]
    for package in _SOURCES:
        for path in sorted((top / package).rglob("*")):
            parts = path.relative_to(top).parts
            is_source = path.suffix in (".py", ".json")
            if is_source and not any(part in _NOT_DETERMINING for part in parts):
                yield path


def _git_commit() -> str | None:
    """Return this source's commit, with "-dirty" if it was changed; None outside git."""
    here = Path(__file__)
    try:
        for command in (
            # A package installed below somebody else's repository is not of its commit.
            ["ls-files", "--error-unmatch", here.name],
            ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        ):
            found = subprocess.run(
                ["git", "-C", str(here.parent), *command],
                capture_output=True,
                text=True,
            )
            if found.returncode != 0:
                return None
    except FileNotFoundError:  # git is not installed
        return None
    return found.stdout.strip()
