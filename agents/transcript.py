"""Episodes as plain records, for people: which ones to keep, and what to keep of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from agents.experience.rollout import Episode, Rollout

__all__ = ["describe_episode", "notable_episodes", "turns_of"]


def notable_episodes(rollout: Rollout, number: int) -> list[Episode]:
    """Return the best and the worst episode, then the first ones, `number` at most."""
    totals = np.array([episode.total_reward for episode in rollout])
    chosen: list[int] = []
    if not np.isnan(totals).all():
        chosen = [int(np.nanargmax(totals)), int(np.nanargmin(totals))]
    chosen += range(len(rollout))
    return [rollout.episodes[i] for i in dict.fromkeys(chosen)][:number]


def describe_episode(episode: Episode) -> dict[str, Any]:
    """Return an episode as plain JSON: the transcript and what each turn was paid."""
    total = episode.total_reward
    return {
        "seed": episode.seed,
        "return": None if math.isnan(total) else total,
        "success": episode.success,
        "termination_reason": episode.termination_reason,
        "rewards": episode.rewards.tolist(),
        "components": {
            name: values.tolist() for name, values in episode.reward_components.items()
        },
        "messages": [dict(message) for message in episode.messages],
    }


def turns_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a described episode, each reply with what it was paid.

    Returns:
        Records with `role` and `content`; those of the assistant have `reward`, a number, and
        `components`, name -> number, too.
    """
    turns, turn = [], 0
    for message in record["messages"]:
        line = dict(message)
        if line["role"] == "assistant" and turn < len(record["rewards"]):
            line["reward"] = record["rewards"][turn]
            line["components"] = {
                name: values[turn] for name, values in record["components"].items()
            }
            turn += 1
        turns.append(line)
    return turns
