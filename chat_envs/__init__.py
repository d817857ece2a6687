"""chat-envs: dialogue as a Gymnasium environment.

>>> import gymnasium, chat_envs
>>> env = gymnasium.make("chat_envs/Echo-easy-v0")
>>> observation, info = env.reset(seed=7)
>>> observation["input_ids"].dtype, sorted(info)[:2]
(dtype('int64'), ['action_mask', 'gold_reward'])
"""

from chat_envs.core import ChatEnv, Turn
from chat_envs.message import Conversation, Message, Role, assistant, system, user
from chat_envs.registration import find, register, register_builtin, registrations
from chat_envs.reward import register_reward, reward_function
from chat_envs.tokenizer import load_tokenizer
from chat_envs.vector import ChatVectorEnv, vector_entry_point

__all__ = [
    "ChatEnv",
    "ChatVectorEnv",
    "Conversation",
    "Message",
    "Role",
    "Turn",
    "assistant",
    "find",
    "load_tokenizer",
    "register",
    "register_reward",
    "registrations",
    "reward_function",
    "system",
    "user",
    "vector_entry_point",
]

__version__ = "0.1.0"

register_builtin()
