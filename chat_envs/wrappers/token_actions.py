"""One token a step: dialogue for algorithms that know only discrete actions.

Shape legend: A actions, C ids of a context, R ids of a reply, V entries of the vocabulary.
"""

from __future__ import annotations

import operator
from typing import Any, Sequence, SupportsIndex

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from chat_envs.core import ChatEnv, Observation

__all__ = ["TokenActions"]

_VOCABULARIES = ("all", "candidates")


class TokenActions(
    gymnasium.Wrapper[Observation, SupportsIndex, Observation, Any],
    gymnasium.utils.RecordConstructorArgs,
):
    """Makes every token of a reply a step of its own.

    The action space is `Discrete(A)`; with the whole vocabulary, A is V and an action is an id. A
    reply ends with any control id or after R tokens; then the dialogue takes its turn and its
    reward arrives. Until then the reward is 0, and the observation is the same dict with the
    tokens of the unfinished reply behind the context.

    The discount acts per turn in a chat environment and per step here: with a discount below 1 a
    long reply costs more than a short one.

    Args:
        env: A `ChatEnv`, wrapped or not, whose actions are whole replies.
        vocabulary: what may be written. "all" ids; or, for a policy that knows no language and
            would find one right word among a thousand by luck alone, "candidates": the ids of the
            environment's `candidate_replies()` and a stop id; or ids of your own choice. What is
            not there cannot be said, so look whether the expert would find its words
            (`expert_reply`). Action a writes `ids[a]`; observations hold ids as ever.

    Raises:
        TypeError: If `env` is no `ChatEnv`, or an id no integer.
        ValueError: If the vocabulary is unknown, empty, or has an id twice or none of the
            tokenizer's.

    >>> import chat_envs
    >>> env = TokenActions(gymnasium.make("chat_envs/Echo-easy-v0"))
    >>> observation, info = env.reset(seed=7)
    >>> observation, reward, terminated, truncated, info = env.step(100)
    >>> reward, terminated, info["turn"]
    (0.0, False, 0)
    """

    def __init__(
        self,
        env: gymnasium.Env[Observation, Any],
        vocabulary: str | Sequence[int] = "all",
    ) -> None:
        chat_env = env.unwrapped
        if not isinstance(chat_env, ChatEnv):
            raise TypeError(
                f"TokenActions needs a ChatEnv, got {type(chat_env).__name__}"
            )
        if not isinstance(vocabulary, str):
            vocabulary = [operator.index(id) for id in vocabulary]
        gymnasium.utils.RecordConstructorArgs.__init__(self, vocabulary=vocabulary)
        gymnasium.Wrapper.__init__(self, env)
        self._chat_env = chat_env
        self._control_ids = chat_env.tokenizer.control_ids
        self._reply_length = chat_env.reply_length
        self._ids = _ids_of(vocabulary, chat_env)
        self.action_space = spaces.Discrete(len(self._ids))
        self._is_legal = np.array(
            [
                id in chat_env.template.stop_ids or id not in self._control_ids
                for id in self._ids
            ]
        )
        self._reply: list[int] = []
        self._is_open = False

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        """(A,) what each action writes: a copy."""
        return np.array(self._ids, dtype=np.int64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode with an empty reply."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.begin()
        return observation, info

    def step(
        self, action: SupportsIndex
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Write one token.

        Args:
            action: An integer in [0, A).

        Returns:
            The environment's own result where the token ends the reply; else the context with
            the unfinished reply, reward 0, and an `info` whose components are 0.

        Raises:
            TypeError: if the action is no integer: a float or a boolean is not rounded.
            ValueError: if there is no such action.
            gymnasium.error.ResetNeeded: before `reset` and after the episode's end.
        """
        reply = self.write(action)
        if reply is None:
            return self.observe(), 0.0, False, False, self.describe()
        observation, reward, terminated, truncated, info = self.env.step(reply)
        self._is_open = not (terminated or truncated)
        return observation, float(reward), terminated, truncated, info

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions make sense now, (A,), as `sb3_contrib.MaskablePPO` asks for them.

        These are all but control ids that end no turn: they can be written, and end the reply
        unsaid. (`info["action_mask"]` is something else: which ids of the context the agent wrote.)
        """
        return self._is_legal.copy()

    # The two phases of a step; a vector environment takes the turns of many replies between ----

    def begin(self) -> None:
        """Begin a reply, in an episode that has just begun."""
        self._reply = []
        self._is_open = True

    def write(self, action: SupportsIndex) -> npt.NDArray[np.int64] | None:
        """Write one token; return the (R,) reply if that ends it, for the environment's `step`.

        Raises:
            TypeError, ValueError, gymnasium.error.ResetNeeded: as `step`.
        """
        if isinstance(action, bool) or not hasattr(action, "__index__"):
            raise TypeError(f"An action is one integer id, got {action!r}.")
        index = operator.index(action)
        if not 0 <= index < len(self._ids):
            raise ValueError(
                f"An action is an id in [0, {len(self._ids)}), got {index}."
            )
        if not self._is_open:
            raise gymnasium.error.ResetNeeded(
                "The episode is over (or never began): call reset() before step()."
            )
        token = self._ids[index]
        self._reply.append(token)
        if token not in self._control_ids and len(self._reply) < self._reply_length:
            return None
        reply = np.full(self._reply_length, self._chat_env.tokenizer.pad_id, np.int64)
        reply[: len(self._reply)] = self._reply
        self._reply = []
        return reply

    def observe(self) -> Observation:
        """Return the context with the unfinished reply behind it, in fresh arrays."""
        observation = self._chat_env.observe()
        self.show_draft(observation["input_ids"], observation["attention_mask"])
        return observation

    def show_draft(
        self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int8]
    ) -> None:
        """Write the unfinished reply behind the context, in a (C,) row that holds the context."""
        start = len(self._chat_env.context)
        end = start + len(self._reply)
        input_ids[start:end] = self._reply
        attention_mask[start:end] = 1

    def describe(self) -> dict[str, Any]:
        """Return `info` in the middle of a reply: nothing earned yet, the draft as reply text."""
        info = self._chat_env.describe()
        start = len(self._chat_env.context)
        info["action_mask"][start : start + len(self._reply)] = 1
        info["reward_components"] = dict.fromkeys(info["reward_components"], 0.0)
        info["gold_reward"] = 0.0
        info["reward_valid"] = True
        info["reply_text"] = self._chat_env.tokenizer.decode(self._reply)
        return info


def _ids_of(vocabulary: str | Sequence[int], env: ChatEnv) -> Sequence[int]:
    """Return what each action writes."""
    num_ids = len(env.tokenizer)
    if vocabulary == "all":
        return range(num_ids)
    if vocabulary == "candidates":
        said = {
            id for text in env.candidate_replies() for id in env.encode(text).tolist()
        }
        ids = sorted(said - env.tokenizer.control_ids)
        if not ids:
            raise ValueError(
                f"{type(env).__name__} has no candidate_replies(): pass the ids of a vocabulary "
                "of your own, or 'all'."
            )
        return [*ids, min(env.template.stop_ids)]
    if isinstance(vocabulary, str):
        raise ValueError(
            f"vocabulary must be one of {_VOCABULARIES} or ids, got {vocabulary!r}."
        )
    is_sound = vocabulary and all(0 <= id < num_ids for id in vocabulary)
    if not is_sound or len(set(vocabulary)) != len(vocabulary):
        raise ValueError(
            f"A vocabulary is distinct ids in [0, {num_ids}), at least one, got "
            f"{list(vocabulary)}."
        )
    return vocabulary
