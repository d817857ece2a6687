"""A whole environment in a few lines, on which the suite's own machinery is tested."""

from __future__ import annotations

from typing import Any

import numpy as np

from chat_envs.core import ChatEnv, Turn
from chat_envs.message import Message, system, user
from chat_envs.vector import vector_entry_point

__all__ = ["WORDS", "SayIt", "make_vector"]

WORDS = ("red", "blue", "green", "black", "white", "pink")


class SayIt(ChatEnv):
    """The user asks for one word a turn; saying exactly that word pays 1."""

    component_names = ("said", "pace")
    metric_names = ("num_said",)

    def __init__(
        self, num_turns: int = 3, context_length: int = 200, **kwargs: Any
    ) -> None:
        self._wanted: list[str] = []
        self._num_said = 0
        super().__init__(max_turns=num_turns, context_length=context_length, **kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        self._wanted = [WORDS[i] for i in rng.integers(0, len(WORDS), self.max_turns)]
        self._num_said = 0
        return [system(f"You have {self.max_turns} turns."), self._ask()]

    def _ask(self) -> Message:
        return user(f"say {self._wanted[self.turn]}")

    def _respond(self, reply: str) -> Turn:
        was_said = reply.strip() == self._wanted[self.turn - 1]
        self._num_said += was_said
        return Turn(
            messages=[] if self.is_last_turn else [self._ask()],
            reward={"said": float(was_said), "pace": -0.1},
            ended=self.is_last_turn,
            success=self._num_said == self.max_turns,
            why="done",
            metrics={"num_said": float(self._num_said)},
        )

    def expert_reply(self) -> str:
        return self._wanted[self.turn]

    def blind_reply(self) -> str:
        return "red"

    def candidate_replies(self) -> list[str]:
        return list(WORDS)


make_vector = vector_entry_point(SayIt)
