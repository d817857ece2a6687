"""An environment whose every turn a test writes down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Sequence

import numpy as np
import numpy.typing as npt

from chat_envs.core import ChatEnv, Turn
from chat_envs.message import Message, user
from chat_envs.vector import vector_entry_point

__all__ = ["Scripted", "ids_of", "make_vector"]

_HI = (user("Hi"),)
_MORE = (Turn(messages=[user("more")], reward=1.0),)


class Scripted(ChatEnv):
    """Says `opening`, then answers reply t with `turns[t]`, the last of them for ever.

    Args:
        opening: what the agent reads first.
        turns: what happens after each reply.
        **kwargs: those of `ChatEnv`; the context is short, for tests of its limit.
    """

    component_names = ("task",)
    metric_names = ("num_letters",)

    def __init__(
        self,
        opening: Sequence[Message] = _HI,
        turns: Sequence[Turn] = _MORE,
        **kwargs: Any,
    ) -> None:
        self.opening = opening
        # No reward is 0 here, where the base class would want it from a plugged one.
        self.turns = [replace(t, reward=t.reward or 0.0) for t in turns]
        self.replies: list[str] = []
        super().__init__(**({"context_length": 128, "reply_length": 6} | kwargs))

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        self.replies = []
        return list(self.opening)

    def _respond(self, reply: str) -> Turn:
        self.replies.append(reply)
        return self.turns[min(self.turn, len(self.turns)) - 1]

    def expert_reply(self) -> str:
        return "ok"


def ids_of(env: ChatEnv, values: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return an action that begins with `values`, filled up with padding."""
    action = np.full(env.reply_length, env.tokenizer.pad_id, dtype=np.int64)
    action[: len(values)] = values
    return action


make_vector = vector_entry_point(Scripted)
