"""A dialogue of ids: a prompt of given length, one reply of full length, a trivial reward.

What TRL's trainers do in a step (generate, score, update) our algorithms do through an environment.
This one costs next to nothing, so that the comparison is of the engines. Its words are the ids
themselves: the text "17 403" is [17, 403], on both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from agents.experience.rollout import ActionTokens, Rollout
from agents.reinforce import REINFORCE
from benchmarks.shape import Shape
from chat_envs.core import ChatEnv
from chat_envs.message import Message, Turn, user
from chat_envs.vector import ChatVectorEnv

__all__ = ["BareREINFORCE", "IdTemplate", "IdTokenizer", "TokenTask", "make_task"]


class IdTokenizer:
    """A `Tokenizer` whose words are ids; it has no control ids, so nothing ends a reply early."""

    name = "ids"
    pad_id = 0
    control_ids: frozenset[int] = frozenset()

    def __init__(self, num_ids: int) -> None:
        self._num_ids = num_ids

    def __len__(self) -> int:
        return self._num_ids

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the numbers that `text` lists."""
        return tuple(int(word) for word in text.split())

    def decode(self, ids: Iterable[int]) -> str:
        """Return the ids as words."""
        return " ".join(map(str, ids))

    def make_template(self) -> IdTemplate:
        """Return the template of its dialogues."""
        return IdTemplate(self)


class IdTemplate:
    """A `ChatTemplate` that adds nothing: a context is the ids that were said."""

    stop_ids: frozenset[int] = frozenset()
    max_closing = 0

    def __init__(self, tokenizer: IdTokenizer) -> None:
        self._tokenizer = tokenizer

    def opening(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of the messages."""
        return self.extension(messages)

    def closing(self, stop_id: int | None) -> list[int]:
        """Return nothing."""
        return []

    def extension(
        self, messages: Sequence[Message], *, invite: bool = True
    ) -> list[int]:
        """Return the ids of the messages."""
        return [i for m in messages for i in self._tokenizer.encode(m.content)]


class TokenTask(ChatEnv):
    """The prompt is random ids; the reward is the share of even ids in the reply.

    Args:
        prompt_length: ids of the prompt.
        **kwargs: those of `ChatEnv`.
    """

    def __init__(self, *, prompt_length: int, **kwargs: Any) -> None:
        self.prompt_length = prompt_length
        super().__init__(max_turns=1, **kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        ids = rng.integers(len(self.tokenizer), size=self.prompt_length)
        return [user(self.tokenizer.decode(ids.tolist()))]

    def _respond(self, reply: str) -> Turn:
        return Turn(reward=share_of_even_ids(self.tokenizer.encode(reply)))


def share_of_even_ids(ids: Sequence[int]) -> float:
    """Return the reward of a reply.

    >>> share_of_even_ids([1, 2, 4, 6])
    0.75
    """
    return sum(i % 2 == 0 for i in ids) / len(ids)


def make_task(shape: Shape) -> ChatVectorEnv:
    """Return the environments of `shape`: one for each row."""
    return ChatVectorEnv(
        TokenTask,
        shape.num_rows,
        autoreset_mode="Disabled",
        tokenizer=IdTokenizer(shape.fields["vocab_size"]),
        prompt_length=shape.prompt_length,
        context_length=shape.prompt_length + shape.reply_length,
        reply_length=shape.reply_length,
    )


class BareREINFORCE(REINFORCE):
    """`REINFORCE` without the start model, which it keeps to report how far it has drifted.

    TRL's trainers keep none at `beta=0`; neither side pays for one here.
    """

    has_reference = False

    def reference_log_probs(
        self, rollout: Rollout, actions: ActionTokens
    ) -> torch.Tensor:
        """Return the sampler's own log-probs: a drift of 0."""
        return actions.log_probs
