"""A reward function that runs in a process of its own."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import Any

from chat_envs.reward.callable import Result, RewardFunction
from chat_envs.reward.option import EntryOptions, time_limit
from chat_envs.reward.registry import importable_path, resolve_reward
from chat_envs.reward.request import RewardRequest
from chat_envs.reward.worker_pool import WorkerPool, WorkerSpec, shared_pool
from chat_envs.reward.worker_process import WorkerError

__all__ = ["IsolatedFunction", "isolate"]


class IsolatedFunction:
    """Stands for a reward function, and has another process call it.

    Attributes:
        pool: The processes.
        name, names, needs_groups, policy_options: As of the function.
    """

    def __init__(self, pool: WorkerPool, function: RewardFunction | None) -> None:
        self.pool = pool
        self._traits = pool.traits() if function is None else function.traits
        self.name = self._traits.name
        self.names = self._traits.names
        self.needs_groups = self._traits.needs_groups
        self.policy_options = self._traits.options

    @property
    def num_kills(self) -> int:
        """Return how many of its processes were killed or died."""
        return self.pool.num_kills

    def attempt(
        self,
        requests: Sequence[RewardRequest],
        timeout_s: float | None,
        *,
        patience: int | None = None,
    ) -> list[Result]:
        """Return one value a request, or the error in its place: see `RewardFunction.attempt`.

        Args:
            requests: The replies to score.
            timeout_s: Time limit of one call of the function, in seconds.
            patience: How many replies in a row may kill their process before the rest is left.
        """
        limit_s = math.inf if timeout_s is None else timeout_s
        return self.pool.attempt(requests, self._traits, limit_s, patience)


def isolate(
    target: Any, options: EntryOptions, name: str | None, label: str
) -> IsolatedFunction:
    """Return `target` in processes of its own.

    Args:
        target: A name, or what a module has under a name.
        options: Of the entry: kwargs and limits.
        name: The component's name, if it is not the reward's own.
        label: The entry's target, for errors.

    Raises:
        TypeError: If no other process could find it.
        ValueError: If it cannot be made there.
    """
    path = importable_path(target)
    found = resolve_reward(path)
    limit_s = time_limit(options) or 1.0
    # Several threads use more CPU time than passes on a clock.
    cpu_s = options.cpu_s or math.ceil(limit_s + 1) * (os.cpu_count() or 1)
    spec = WorkerSpec(
        target=path,
        kwargs=json.dumps(options.kwargs, sort_keys=True),
        name=name,
        memory_mb=options.memory_mb,
        cpu_s=cpu_s,
        max_processes=options.max_processes,
        workers=options.workers,
    )
    pool = shared_pool(spec)
    is_made_there = options.kwargs is not None or isinstance(found, type)
    try:
        function = None if is_made_there else RewardFunction.of(found, name)
        return IsolatedFunction(pool, function)
    except WorkerError as error:
        raise ValueError(f"reward {label!r} {error}") from error
