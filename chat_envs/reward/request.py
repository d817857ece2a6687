"""What a reward is told of one reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chat_envs.message import Message

__all__ = ["FIELDS", "RewardRequest", "groups_of", "is_last"]


@dataclass(frozen=True, slots=True)
class RewardRequest:
    """Everything that a reward may depend on, for one reply of one dialogue.

    Attributes:
        prompt: The messages before the reply.
        messages: All messages after the turn: prompt, reply, and what followed.
        reply: The agent's reply as text.
        reply_ids: Its token ids as written, int64.
        turn: Which turn this is; the first is 1.
        terminated: Whether the task ended with this turn.
        task: The task's own reward; None where the environment leaves it to a reward function.
        task_components: The parts of `task` by name.
        info: What is known of the turn: `success`, `termination_reason`, `metrics`.
    """

    prompt: tuple[Message, ...]
    messages: tuple[Message, ...]
    reply: str
    reply_ids: NDArray[np.int64]
    turn: int
    terminated: bool
    task: float | None
    task_components: Mapping[str, float] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)


FIELDS = tuple(f.name for f in fields(RewardRequest) if f.name != "task_components")
"""What a function may name, and what it gets for it."""


def is_last(request: RewardRequest) -> bool:
    """Return whether the episode is over after this turn, ended or cut."""
    return request.terminated or bool(request.info.get("termination_reason"))


def groups_of(requests: Sequence[RewardRequest]) -> list[list[int]]:
    """Return the indices of the requests that answer the same prompt, group by group."""
    groups: dict[tuple[Message, ...], list[int]] = {}
    for index, request in enumerate(requests):
        groups.setdefault(tuple(request.prompt), []).append(index)
    return list(groups.values())
