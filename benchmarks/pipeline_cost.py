"""What the three steps cost and gain: `chat-envs pipeline FILE` with an empty cache.

python -m benchmarks.pipeline_cost --write                                  # pipeline_tiny
python -m benchmarks.pipeline_cost docs/pipeline_smollm2.yaml --write
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from agents.checkpoint import read_json
from agents.pipeline import REPORT_FILE
from benchmarks.command_cost import run_command
from benchmarks.measurement import write_result

__all__ = ["measure"]

_DOCS = Path(__file__).parent.parent / "docs"
# The smaller first: a peak is the largest so far.
FILES = (_DOCS / "pipeline_tiny.yaml", _DOCS / "pipeline_smollm2.yaml")


def measure(file: Path, root: Path) -> dict[str, Any]:
    """Take the steps below `root`; return what they cost, and the pipeline's own report.

    Raises:
        FileNotFoundError: there is no such file.
        subprocess.CalledProcessError: the pipeline failed.
    """
    cost = run_command("pipeline", str(file.resolve(strict=True)), root=root)
    (report,) = (root / "runs").glob(f"*/{REPORT_FILE}")
    return cost | {"report": read_json(report)}


def main() -> None:
    """Measure, print and write the dated result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, default=FILES, metavar="FILE")
    parser.add_argument(
        "--write", action="store_true", help="leave benchmarks/results/DATE_..."
    )
    arguments = parser.parse_args()
    rows = []
    for file in arguments.files:
        with tempfile.TemporaryDirectory() as root:
            row = measure(file, Path(root))
        print(
            f"{file.stem}: {row['seconds']} s, {row['cpu_seconds']} s of processor time, "
            f"{row['peak_bytes'] / 1e9:.2f} GB at the most",
            flush=True,
        )
        rows.append(row)
    if arguments.write:
        print(write_result("pipeline_cost", {"rows": rows}))


if __name__ == "__main__":
    main()
