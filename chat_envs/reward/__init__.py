"""Rewards: one function, or a weighted mixture, scores every reply of a batch in one call."""

from chat_envs.reward.callable import RewardFunction, reward_function
from chat_envs.reward.failure import RewardError
from chat_envs.reward.registry import register_reward
from chat_envs.reward.request import RewardRequest
from chat_envs.reward.scorer import (
    RewardOutcome,
    Scorer,
    StatefulScorer,
    describe,
    make_scorer,
)
from chat_envs.reward.shaping import PotentialShaping

__all__ = [
    "PotentialShaping",
    "RewardError",
    "RewardFunction",
    "RewardOutcome",
    "RewardRequest",
    "Scorer",
    "StatefulScorer",
    "describe",
    "make_scorer",
    "register_reward",
    "reward_function",
]
