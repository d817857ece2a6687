"""What `info` says of episodes: of one as scalars, of many as one array a key.

The two are written side by side, for many cost less read column by column than as rows that are
turned afterwards. The action mask is not here: it is an array already.

Shape legend: n episodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from chat_envs.core.chat_env import ChatEnv

__all__ = ["describe_all", "describe_one"]


def describe_one(env: ChatEnv) -> dict[str, Any]:
    """Return the `info` of one episode, in fresh objects."""
    turn = env._last_turn
    return {
        "turn": env.turn,
        "success": bool(turn.success) and env._terminated,
        "termination_reason": env._reason(),
        "reward_components": dict(env._components),
        "gold_reward": env._gold_reward,
        "metrics": {n: float(turn.metrics.get(n, 0.0)) for n in env.metric_names},
        "reward_valid": env._reward_valid,
        "reply_text": env._reply_text,
    }


def describe_all(envs: Sequence[ChatEnv]) -> dict[str, Any]:
    """Return what `describe_one` says of each of n >= 1 episodes of one class, as (n,) arrays."""
    turns = [env._last_turn for env in envs]
    metrics = [turn.metrics for turn in turns]
    return {
        "turn": _column([env.turn for env in envs]),
        "success": _column(
            [bool(t.success) and e._terminated for t, e in zip(turns, envs)]
        ),
        "termination_reason": _column([env._reason() for env in envs]),
        "reward_components": _columns([env._components for env in envs]),
        "gold_reward": _column([env._gold_reward for env in envs]),
        "metrics": {
            name: np.array([m.get(name, 0.0) for m in metrics], dtype=np.float64)
            for name in envs[0].metric_names
        },
        "reward_valid": _column([env._reward_valid for env in envs]),
        "reply_text": _column([env._reply_text for env in envs]),
    }


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return rows with the same keys as one array a key."""
    return {name: _column([row[name] for row in rows]) for name in rows[0]}


def _column(values: list[Any]) -> npt.NDArray[Any]:
    """Return values of one type as an array, (n,): texts as objects."""
    kind = type(values[0])
    return np.array(values, dtype=object if kind is str else kind)
