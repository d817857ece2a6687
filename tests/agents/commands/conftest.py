"""A trained run of a second that the commands can read; each test stands in a copy of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.train import train
from tests.agents.small_run import small_config


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that has `runs/small`."""
    directory = tmp_path_factory.mktemp("trained")
    train(small_config(num_transcripts=2), root=directory / "runs")
    return directory


@pytest.fixture
def desk(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Return the working directory: it has `runs/small`, and a cache of its own."""
    directory = tmp_path / "desk"
    shutil.copytree(trained, directory)
    monkeypatch.chdir(directory)
    monkeypatch.setenv("CHAT_ENVS_CACHE", str(tmp_path / "cache"))
    yield directory
