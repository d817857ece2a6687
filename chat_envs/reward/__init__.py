"""Rewards: one function, or a weighted mixture, scores every reply of a batch in one call."""

from chat_envs.reward.callable import RewardFunction, RewardRequest, reward_function
from chat_envs.reward.failure import RewardError
from chat_envs.reward.registry import register_reward
from chat_envs.reward.scorer import RewardOutcome, Scorer, describe, make_scorer

__all__ = [
    "RewardError",
    "RewardFunction",
    "RewardOutcome",
    "RewardRequest",
    "Scorer",
    "describe",
    "make_scorer",
    "register_reward",
    "reward_function",
]
