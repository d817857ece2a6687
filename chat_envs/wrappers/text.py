"""Text in and text out, for policies that are not language models of ours: APIs, rules, people."""

from __future__ import annotations

import string
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from chat_envs.core import ChatEnv, Observation

__all__ = ["TextActions", "TextObservation", "TextSpace", "require_chat_env"]

_LETTERS = string.ascii_letters + string.digits + string.punctuation + " "
_MAX_SAMPLE = 40


class TextSpace(gymnasium.Space[str]):
    """All strings.

    `gymnasium.spaces.Text` rejects a space and every letter beyond ASCII by default, and comes
    out of an `AsyncVectorEnv` with shared memory as garbage. Of this space Gymnasium makes
    tuples, and refuses shared memory with an error.

    >>> "Grüß dich!" in TextSpace(), 7 in TextSpace()
    (True, False)
    """

    def __init__(self, seed: int | np.random.Generator | None = None) -> None:
        super().__init__(shape=None, dtype=str, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Text has no fixed length: it does not flatten to an array."""
        return False

    def sample(self, mask: Any | None = None, probability: Any | None = None) -> str:
        """Return up to 40 printable ASCII characters. Masks are not supported."""
        if mask is not None or probability is not None:
            raise ValueError("TextSpace takes neither a mask nor probabilities.")
        length = int(self.np_random.integers(0, _MAX_SAMPLE + 1))
        indices = self.np_random.integers(0, len(_LETTERS), length)
        return "".join(_LETTERS[i] for i in indices)

    def contains(self, x: Any) -> bool:
        """Return whether `x` is a string."""
        return isinstance(x, str)

    def __repr__(self) -> str:
        return "TextSpace()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextSpace)

    def __hash__(self) -> int:
        return hash(TextSpace)


class TextActions(
    gymnasium.ActionWrapper[Any, str, Any],
    gymnasium.utils.RecordConstructorArgs,
):
    """Takes replies as text: `env.step("May I have the order number?")`.

    Args:
        env: A `ChatEnv`, wrapped or not, whose actions are whole replies. A text longer than
            its reply length is cut.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        gymnasium.ActionWrapper.__init__(self, env)
        self._chat_env = require_chat_env(env, "TextActions")
        self.action_space = TextSpace()

    def action(self, action: str) -> NDArray[np.int64]:
        """Return the text as ids, (R,)."""
        if not isinstance(action, str):
            raise TypeError(
                f"A reply is a str here, got {type(action).__name__}; step the wrapped "
                "environment with ids."
            )
        return self._chat_env.encode(action)


class TextObservation(
    gymnasium.ObservationWrapper[str, Any, Observation],
    gymnasium.utils.RecordConstructorArgs,
):
    """Gives the transcript so far as text, one `role: content` paragraph a message.

    `MessageObservation` gives the messages one by one instead.

    Args:
        env: A `ChatEnv`, wrapped or not.

    >>> import chat_envs
    >>> env = TextObservation(TextActions(gymnasium.make("chat_envs/Echo-easy-v0")))
    >>> text, info = env.reset(seed=7)
    >>> text.startswith("system: ")
    True
    """

    def __init__(self, env: gymnasium.Env[Observation, Any]) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, env)
        self._chat_env = require_chat_env(env, "TextObservation")
        self.observation_space = TextSpace()

    def observation(self, observation: Observation) -> str:
        """Return the transcript in place of its ids."""
        return self._chat_env.conversation.render()


def require_chat_env(env: gymnasium.Env[Any, Any], wrapper: str) -> ChatEnv:
    """Return the `ChatEnv` inside `env`; the error names the wrapper that needs one."""
    chat_env = env.unwrapped
    if not isinstance(chat_env, ChatEnv):
        raise TypeError(f"{wrapper} needs a ChatEnv, got {type(chat_env).__name__}")
    return chat_env
