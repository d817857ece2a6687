"""What the main job costs: `chat-envs demo` with an empty cache, its seconds and its memory.

    python -m benchmarks.demo_cost --write

A process of its own, so that its peak is its own; installation is not counted.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from agents.checkpoint import read_json
from agents.commands.demo import SUMMARY_FILE
from benchmarks.command_cost import run_command
from benchmarks.measurement import write_result

__all__ = ["measure"]


def measure(seed: int, root: Path) -> dict[str, Any]:
    """Run the demo below `root`; return what it cost, and its summary."""
    cost = run_command("demo", "--seed", str(seed), root=root)
    return cost | {"summary": read_json(root / "runs" / "demo" / SUMMARY_FILE)}


def main() -> None:
    """Measure, print and write the dated result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--write", action="store_true", help="leave benchmarks/results/DATE_..."
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        result = measure(arguments.seed, Path(root))
    print(f"{result['seconds']} s, {result['peak_bytes'] / 1e9:.2f} GB at the most")
    if arguments.write:
        print(write_result("demo_cost", {"seed": arguments.seed, **result}))


if __name__ == "__main__":
    main()
