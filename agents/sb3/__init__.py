"""Stable-Baselines3 meets token environments and language models.

The only package that imports Stable-Baselines3; everything here is for algorithms that see one
token a step (`chat_envs.wrappers.TokenActions`).
"""

from agents.sb3.agent import SB3Agent, make_agent
from agents.sb3.evaluation import evaluate_sb3
from agents.sb3.language_model_policy import LMActorCriticPolicy
from agents.sb3.language_model_source import LMSource
from agents.sb3.setting import ALGORITHMS
from agents.sb3.token_features import TokenFeaturesExtractor
from agents.sb3.vector_environment import ChatVecEnv

__all__ = [
    "ALGORITHMS",
    "ChatVecEnv",
    "LMActorCriticPolicy",
    "LMSource",
    "SB3Agent",
    "TokenFeaturesExtractor",
    "evaluate_sb3",
    "make_agent",
]
