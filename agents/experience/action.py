"""Between the arrays of a gymnasium space and the ids that a language model reads and writes.

Shape legend: N dialogues, C context tokens, R reply tokens.
"""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np
import numpy.typing as npt

from agents.engine.language_model import Generation

__all__ = ["actions_of", "contexts_of"]


def contexts_of(
    observation: Mapping[str, npt.NDArray[Any]],
) -> list[npt.NDArray[np.int64]]:
    """Return the ids of each dialogue, without padding.

    Args:
        observation: `input_ids` and `attention_mask`, each (C,) or (N, C).

    >>> ids = np.array([[5, 6, 0], [7, 8, 9]])
    >>> observed = {"input_ids": ids, "attention_mask": ids > 0}
    >>> [context.tolist() for context in contexts_of(observed)]
    [[5, 6], [7, 8, 9]]
    """
    input_ids = np.atleast_2d(observation["input_ids"])
    lengths = np.atleast_2d(observation["attention_mask"]).sum(1)
    return [row[: int(n)] for row, n in zip(input_ids, lengths, strict=True)]


def actions_of(
    generation: Generation, reply_length: int, pad_id: int
) -> npt.NDArray[np.int64]:
    """Return (N, R) int64: the generated replies as actions, padded past their ends."""
    num_replies = len(generation.lengths)
    actions = np.full((num_replies, reply_length), pad_id, dtype=np.int64)
    for row in range(num_replies):
        reply = generation.reply(row)
        actions[row, : len(reply)] = reply
    return actions
