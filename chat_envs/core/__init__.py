"""`ChatEnv`, the base class of every dialogue environment, and what its episodes are saved as."""

from chat_envs.core.chat_env import SPLITS, ChatEnv, Observation, RenderModeError
from chat_envs.message import Turn

__all__ = ["ChatEnv", "Observation", "RenderModeError", "SPLITS", "Turn"]
