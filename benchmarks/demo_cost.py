"""What the main job costs: `chat-envs demo` with an empty cache, its seconds and its memory.

    python -m benchmarks.demo_cost --write

A process of its own, so that its peak is its own; installation is not counted.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from agents.checkpoint import read_json
from agents.commands.demo import SUMMARY_FILE
from benchmarks.measurement import write_result

__all__ = ["measure"]

_KIB = 1024  # getrusage counts memory in these on Linux


def measure(seed: int, root: Path) -> dict[str, Any]:
    """Run the demo below `root`; return seconds, peak memory in bytes, and its summary."""
    environment = os.environ | {"CHAT_ENVS_CACHE": str(root / "cache")}
    code = "import sys; from chat_envs.command_line import main; sys.exit(main())"
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code, "demo", "--seed", str(seed)],
        check=True,
        cwd=root,
        env=environment,
    )
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "peak_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _KIB,
        "summary": read_json(root / "runs" / "demo" / SUMMARY_FILE),
    }


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
