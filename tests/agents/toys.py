"""Toy environments and models that are learnt in seconds."""

from __future__ import annotations

import numpy as np

from agents.engine.loading import load_lm
from agents.engine.local import LocalLM
from chat_envs.core import ChatEnv, Turn
from chat_envs.message import Message, user
from chat_envs.vector import ChatVectorEnv, vector_entry_point

WORDS = ("yes", "no", "red", "blue")


class Parrot(ChatEnv):
    """Say the word that the user says: an identity task of one token and a stop id.

    Args:
        num_turns: words asked for, one a turn.
        num_words: how many words there are to say.
        has_outer_limit: end by truncation (a small context) instead of the turn limit.
    """

    component_names = ("right", "length")
    metric_names = ("asked",)

    def __init__(
        self,
        *,
        num_turns: int = 2,
        num_words: int = 4,
        failing_turn: int | None = None,
        **kwargs: object,
    ) -> None:
        self.words = WORDS[:num_words]
        self.failing_turn = failing_turn
        defaults: dict[str, object] = {
            "context_length": 96,
            "reply_length": 4,
            "max_turns": num_turns,
        }
        super().__init__(**(defaults | kwargs))  # type: ignore[arg-type]

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        self._rng = rng
        self._asked = 0
        return [self._ask()]

    def _ask(self) -> Message:
        self.word = self.words[int(self._rng.integers(len(self.words)))]
        self._asked += 1
        return user(f"Say {self.word}")

    def _respond(self, reply: str) -> Turn:
        is_right = reply.strip() == self.word
        ended = self.is_last_turn
        return Turn(
            messages=() if ended else (self._ask(),),
            reward={"right": float(is_right), "length": -0.001 * len(reply)},
            ended=ended,
            success=is_right,
            why="done" if ended else "",
            metrics={"asked": float(self._asked)},
        )

    def expert_reply(self) -> str:
        return self.word

    def flawed_reply(self) -> str:
        return self.words[0]


make_vector = vector_entry_point(Parrot)


def make_parrots(num_envs: int = 8, **kwargs: object) -> ChatVectorEnv:
    """Return parrots that wait for their next seed."""
    return make_vector(num_envs, autoreset_mode="Disabled", **kwargs)


def make_lm(seed: int = 0, *, has_value_head: bool = True) -> LocalLM:
    """Return a random `tiny` on the built-in tokenizer, on the CPU."""
    tokenizer = make_parrots(1).tokenizer
    lm = load_lm(
        "tiny",
        tokenizer=tokenizer,
        engine="local",
        seed=seed,
        device="cpu",
        has_value_head=has_value_head,
    )
    assert isinstance(lm, LocalLM)
    return lm
