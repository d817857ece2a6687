"""A run as seen by the processes that train in it and do not write it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from agents.tracking.run_directory import CHECKPOINTS

__all__ = ["RunFollower"]


class RunFollower:
    """Stands where the first process has its `RunDirectory`, and writes nothing.

    Args:
        path: the directory, which the first process makes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / CHECKPOINTS
        self.remarks: list[str] = []

    def open_logs(
        self, state: Mapping[str, Any] | None, num_timesteps: int = 0
    ) -> None:
        """Leave the logs to the first process."""

    def log(self, name: str, record: Mapping[str, Any]) -> None:
        """Leave the line to the first process."""

    def log_scalars(self, figures: Mapping[str, float], num_timesteps: int) -> None:
        """Leave the events to the first process."""

    def marks(self) -> dict[str, Any]:
        """Return nothing: the first process knows where the logs stand."""
        return {}

    def write(self, name: str, record: Mapping[str, Any]) -> Path:
        """Leave the file to the first process; return its path."""
        return self.path / name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""
