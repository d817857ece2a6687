"""What a command of the suite costs: a process of its own, with an empty cache."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["run_command"]

_CODE = "import sys; from chat_envs.command_line import main; sys.exit(main())"
_KIB = 1024  # getrusage counts memory in these on Linux


def run_command(*words: str, root: Path) -> dict[str, Any]:
    """Run `chat-envs WORDS` in the directory `root`, its cache below it.

    Returns:
        `seconds` of the wall clock, `cpu_seconds` of all its processes and threads, and
        `peak_bytes`, the largest resident memory of any child of this process so far.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    environment = os.environ | {"CHAT_ENVS_CACHE": str(root / "cache")}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", _CODE, *words], check=True, cwd=root, env=environment
    )
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1),
        "peak_bytes": after.ru_maxrss * _KIB,
    }
