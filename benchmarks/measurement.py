"""How anything is measured here: interleaved pairs, medians, and where and with what it ran.

Machines are noisy, so a time is a ratio: both sides in one run, in turns, medians of at least five
pairs, printed with the spread.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Mapping

__all__ = [
    "Comparison",
    "check_pairs",
    "compare",
    "newest",
    "pairs_parser",
    "provenance",
    "source_of",
    "write_result",
]

RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    "numpy",
    "gymnasium",
    "tokenizers",
    "torch",
    "transformers",
    "deepspeed",
    "trl",
)


@dataclass(frozen=True)
class Comparison:
    """Interleaved measurements of several sides.

    Attributes:
        seconds: side -> its measurements, in the order in which they were made.
    """

    seconds: Mapping[str, list[float]]

    def median(self, side: str) -> float:
        """Return the median of one side, in what `compare` measured (seconds a unit)."""
        return statistics.median(self.seconds[side])

    def ratio(self, side: str, other: str) -> tuple[float, float, float]:
        """Return median, least and greatest of side / other over the pairs."""
        ratios = [
            a / b for a, b in zip(self.seconds[side], self.seconds[other], strict=True)
        ]
        return statistics.median(ratios), min(ratios), max(ratios)


def compare(sides: Mapping[str, Callable[[], float]], num_pairs: int = 7) -> Comparison:
    """Run the sides in turns.

    Args:
        sides: name -> a function that does the work once and returns its seconds a unit.
        num_pairs: rounds that count; one more comes before them, to warm up.

    Raises:
        ValueError: if `num_pairs` is below five.
    """
    check_pairs(num_pairs)
    for measure in sides.values():
        measure()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(num_pairs):
        for name, measure in sides.items():
            seconds[name].append(measure())
    return Comparison(seconds)


def check_pairs(num_pairs: int) -> None:
    """Refuse a ratio of too few pairs.

    Raises:
        ValueError: if there are fewer than five.
    """
    if num_pairs < 5:
        raise ValueError(f"A ratio needs at least five pairs, got {num_pairs}.")


def pairs_parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of a benchmark that measures in rounds: `--pairs` and `--write`.

    Args:
        description: the module's docstring.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pairs", type=int, default=7, help="rounds that count (at least 5)"
    )
    parser.add_argument(
        "--write", action="store_true", help="leave benchmarks/results/DATE_..."
    )
    return parser


def provenance() -> dict[str, Any]:
    """Return what is needed to repeat a measurement: command, commit, versions, machine."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "command": " ".join(["python", "-m", _module_name(), *sys.argv[1:]]),
        "commit": _commit(),
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "num_cores": os.cpu_count(),
        "versions": versions,
    }


def newest(name: str, root: Path = RESULTS) -> Mapping[str, Any]:
    """Return the newest result of that name.

    Raises:
        FileNotFoundError: if there is none; says which command makes one.
    """
    paths = sorted(root.glob(f"????-??-??_{name}.json"))
    if not paths:
        raise FileNotFoundError(
            f"{root} has no result {name!r}: run "
            f"`python -m benchmarks.{name.removesuffix('_cpu')} --write`."
        )
    result: Mapping[str, Any] = json.loads(paths[-1].read_text(encoding="utf-8"))
    return result


def source_of(result: Mapping[str, Any]) -> str:
    """Return the words that say where a figure comes from."""
    made = result["provenance"]
    return f"`{made['command']}`, {made['date']}, {made['num_cores']} cores, no GPU"


def _commit() -> str:
    """Return what `COMMIT` says, else what git says; a machine that is lent may have no git."""
    if named := os.environ.get("COMMIT"):
        return named
    if shutil.which("git") is None:
        return "none"
    shown = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
    )
    return shown.stdout.strip() or "none"


def _module_name() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec is not None else Path(sys.argv[0]).name


def write_result(
    name: str, result: Mapping[str, Any], directory: Path | None = None
) -> Path:
    """Write `DATE_name.json` with its provenance; return the path.

    Args:
        name: of the measurement.
        result: what was measured.
        directory: where to; None takes `benchmarks/results`.
    """
    record = {"name": name, "provenance": provenance(), **result}
    directory = RESULTS if directory is None else directory
    path = directory / f"{record['provenance']['date']}_{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    return path
