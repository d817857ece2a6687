"""One token a step: dialogue for algorithms that know only discrete actions.

Shape legend: C ids of a context, R ids of a reply, V entries of the vocabulary.
"""

from __future__ import annotations

import operator
from typing import Any, SupportsIndex

import gymnasium
import numpy as np
from gymnasium import spaces

from chat_envs.core import ChatEnv, Observation

__all__ = ["TokenActions"]


class TokenActions(
    gymnasium.Wrapper[Observation, SupportsIndex, Observation, Any],
    gymnasium.utils.RecordConstructorArgs,
):
    """Makes every token of a reply a step of its own.

    The action space is `Discrete(V)`. A reply ends with any control id or after R tokens; then
    the dialogue takes its turn and its reward arrives. Until then the reward is 0, and the
    observation is the same dict with the tokens of the unfinished reply behind the context.

    The discount acts per turn in a chat environment and per step here: with a discount below 1 a
    long reply costs more than a short one.

    Args:
        env: A `ChatEnv`, wrapped or not, whose actions are whole replies.

    Raises:
        TypeError: If `env` is no `ChatEnv`.

    >>> import chat_envs
    >>> env = TokenActions(gymnasium.make("chat_envs/Echo-easy-v0"))
    >>> observation, info = env.reset(seed=7)
    >>> observation, reward, terminated, truncated, info = env.step(100)
    >>> reward, terminated, info["turn"]
    (0.0, False, 0)
    """

    def __init__(self, env: gymnasium.Env[Observation, Any]) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        gymnasium.Wrapper.__init__(self, env)
        chat_env = env.unwrapped
        if not isinstance(chat_env, ChatEnv):
            raise TypeError(
                f"TokenActions needs a ChatEnv, got {type(chat_env).__name__}"
            )
        self._chat_env = chat_env
        self._num_ids = len(chat_env.tokenizer)
        self.action_space = spaces.Discrete(self._num_ids)
        self._reply: list[int] = []
        self._is_open = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode with an empty reply."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._reply = []
        self._is_open = True
        return observation, info

    def step(
        self, action: SupportsIndex
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Write one token.

        Args:
            action: An id in [0, V).

        Returns:
            The environment's own result where the token ends the reply; else the context with
            the unfinished reply, reward 0, and an `info` whose components are 0.

        Raises:
            TypeError: if the action is no integer: a float or a boolean is not rounded.
            ValueError: if it is no id of the vocabulary.
            gymnasium.error.ResetNeeded: before `reset` and after the episode's end.
        """
        if isinstance(action, bool) or not hasattr(action, "__index__"):
            raise TypeError(f"An action is one integer id, got {action!r}.")
        token = operator.index(action)
        if not 0 <= token < self._num_ids:
            raise ValueError(
                f"An action is an id in [0, {self._num_ids}), got {token}."
            )
        if not self._is_open:
            raise gymnasium.error.ResetNeeded(
                "The episode is over (or never began): call reset() before step()."
            )
        self._reply.append(token)
        is_complete = token in self._chat_env.tokenizer.control_ids
        if not is_complete and len(self._reply) < self._chat_env.reply_length:
            return self._draft(), 0.0, False, False, self._draft_info()
        reply = np.full(
            self._chat_env.reply_length, self._chat_env.tokenizer.pad_id, np.int64
        )
        reply[: len(self._reply)] = self._reply
        self._reply = []
        observation, reward, terminated, truncated, info = self.env.step(reply)
        self._is_open = not (terminated or truncated)
        return observation, float(reward), terminated, truncated, info

    def _draft(self) -> Observation:
        """Return the context with the unfinished reply behind it."""
        observation = self._chat_env.observe()
        written = slice(start := len(self._chat_env.context), start + len(self._reply))
        observation["input_ids"][written] = self._reply
        observation["attention_mask"][written] = 1
        return observation

    def _draft_info(self) -> dict[str, Any]:
        """Return `info` in the middle of a reply: nothing earned yet, the draft as reply text."""
        info = self._chat_env.describe()
        start = len(self._chat_env.context)
        info["action_mask"][start : start + len(self._reply)] = 1
        info["reward_components"] = dict.fromkeys(info["reward_components"], 0.0)
        info["gold_reward"] = 0.0
        info["reward_valid"] = True
        info["reply_text"] = self._chat_env.tokenizer.decode(self._reply)
        return info
