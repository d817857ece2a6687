"""How many ids an expert's dialogue has on the built-in tokenizer."""

from __future__ import annotations

from chat_envs.core import ChatEnv
from chat_envs.replier import REPLIERS, play

__all__ = ["longest_expert_episode"]


def longest_expert_episode(env: ChatEnv, num_episodes: int = 60) -> int:
    """Return the most ids that the context of an expert's episode had at its end."""
    lengths = []
    for seed in range(num_episodes):
        play(env, REPLIERS["expert"], seed)
        lengths.append(env.context_length - env.context.room)
    return max(lengths)
