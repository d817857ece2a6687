"""What the numbers of a run depend on beside its config: versions, commit, threads."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

__all__ = ["machinery"]

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
    """Return what else the numbers of a run depend on: versions, commit, threads."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # an extra that is not installed
            continue
    return {
        "versions": versions,
        "git_commit": _git_commit(),
        "threads": torch.get_num_threads(),
        "has_cuda": torch.cuda.is_available(),
    }


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
