"""Rows of runs that take minutes each: kept when they have ended, with intervals over seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.evaluation import bootstrap_interval
from agents.tracking import replace_json

__all__ = ["kept_row", "seed_interval"]


def kept_row(path: Path, measure: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return the row of a file; where there is none it is measured and written, whole."""
    if not path.is_file():
        row = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_json(path, row)
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return kept


def seed_interval(values: Sequence[float]) -> dict[str, float | None]:
    """Return the mean over seeds with its percentile bootstrap interval, 10,000 replicates.

    Of one seed there is no interval, of none there is no mean: null each.
    """
    if len(values) < 2:
        mean = values[0] if values else None
        return {"mean": mean, "low": None, "high": None}
    return dict(bootstrap_interval(values, np.random.default_rng(0)).as_dict())
