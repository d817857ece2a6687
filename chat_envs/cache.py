"""Where the suite keeps what it made once and may make again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_directory"]


def cache_directory() -> Path:
    """Return the cache directory of this user; it need not exist yet.

    It is `CHAT_ENVS_CACHE`, else `XDG_CACHE_HOME/chat-envs`, else `~/.cache/chat-envs`.
    """
    if own := os.environ.get("CHAT_ENVS_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "chat-envs"
