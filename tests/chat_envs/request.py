"""One reward request, made in a line."""

from __future__ import annotations

from typing import Any

import numpy as np

from chat_envs.message import assistant, user
from chat_envs.reward import RewardRequest

__all__ = ["make_request", "make_requests"]


def make_request(
    reply: str = "hello", task: float | None = 1.0, **changes: Any
) -> RewardRequest:
    """Return a request whose only component is `task`."""
    values: dict[str, Any] = {
        "prompt": (user("say hello"),),
        "messages": (user("say hello"), assistant(reply), user("thanks")),
        "reply": reply,
        "reply_ids": np.arange(len(reply), dtype=np.int64),
        "turn": 3,
        "terminated": False,
        "task": task,
        "task_components": {} if task is None else {"task": task},
        "info": {"success": False, "termination_reason": "", "metrics": {}},
    }
    return RewardRequest(**(values | changes))


def make_requests(*replies: str) -> list[RewardRequest]:
    """Return one request a reply, on turns 1, 2, ..."""
    return [make_request(reply, turn=i + 1) for i, reply in enumerate(replies)]
