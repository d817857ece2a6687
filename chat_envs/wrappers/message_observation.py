"""The conversation as a list of messages, as the APIs of language models take it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from chat_envs.core import Observation
from chat_envs.message import Role
from chat_envs.wrappers.text import TextSpace, require_chat_env

__all__ = ["MessageObservation", "MessageSpace"]

Messages = list[dict[str, str]]

_ROLES = tuple(role.value for role in Role)
_MAX_SAMPLE = 4


class MessageSpace(gymnasium.Space[Messages]):
    """All lists of messages, `{"role": "system" | "user" | "assistant", "content": text}`.

    As of `TextSpace`, Gymnasium makes tuples of it, and refuses shared memory with an error.

    >>> [{"role": "user", "content": "Hi"}] in MessageSpace(), ["Hi"] in MessageSpace()
    (True, False)
    """

    def __init__(self, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """A conversation has no fixed length: it does not flatten to an array."""
        return False

    def sample(
        self, mask: Any | None = None, probability: Any | None = None
    ) -> Messages:
        """Return up to 4 messages of printable ASCII characters. Masks are not supported."""
        if mask is not None or probability is not None:
            raise ValueError("MessageSpace takes neither a mask nor probabilities.")
        texts = TextSpace(self.np_random)
        roles = self.np_random.integers(
            0, len(_ROLES), self.np_random.integers(0, _MAX_SAMPLE + 1)
        )
        return [{"role": _ROLES[i], "content": texts.sample()} for i in roles]

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a list of messages."""
        return isinstance(x, list) and all(
            isinstance(message, dict)
            and message.keys() == {"role", "content"}
            and message["role"] in _ROLES
            and isinstance(message["content"], str)
            for message in x
        )

    def __repr__(self) -> str:
        return "MessageSpace()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MessageSpace)

    def __hash__(self) -> int:
        return hash(MessageSpace)


class MessageObservation(
    gymnasium.ObservationWrapper[Messages, Any, Observation],
    gymnasium.utils.RecordConstructorArgs,
):
    """Gives the conversation so far as a list of messages, ready for a chat API.

    With `TextActions` a model behind an API is a policy in three lines. The system role is the
    environment itself: the rules at the beginning, results of actions later.

    Args:
        env: A `ChatEnv`, wrapped or not.

    >>> import chat_envs
    >>> env = MessageObservation(gymnasium.make("chat_envs/Echo-easy-v0"))
    >>> messages, info = env.reset(seed=7)
    >>> [message["role"] for message in messages]
    ['system', 'user']
    """

    def __init__(self, env: gymnasium.Env[Observation, Any]) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, env)
        self._chat_env = require_chat_env(env, "MessageObservation")
        self.observation_space = MessageSpace()

    def observation(self, observation: Observation) -> Messages:
        """Return the messages in place of their ids, in fresh objects."""
        return [message.as_dict() for message in self._chat_env.conversation]
