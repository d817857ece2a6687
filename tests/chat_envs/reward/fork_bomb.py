"""A reward that misbehaves as `hostile` does, and forks in its children too."""

from __future__ import annotations

import os
import time
from typing import Any

from tests.chat_envs.reward.hostile import LONG_S, obey

__all__ = ["obey_or_fork"]

NUM_DOUBLINGS = 6  # 64 processes: far more than a worker may have, and no more


def obey_or_fork(reply: str) -> Any:
    """Do what the reply says."""
    if reply != "bomb":
        return obey(reply)
    for _ in range(NUM_DOUBLINGS):
        os.fork()
    time.sleep(LONG_S)
    os._exit(0)
