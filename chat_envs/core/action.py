"""A reply as ids: from text, and read back up to its first control id.

Shape legend: R ids of a reply.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chat_envs.chat_template import ChatTemplate
from chat_envs.tokenizer import Tokenizer, head

__all__ = ["as_ids", "encode_reply", "read_reply"]


def as_ids(values: npt.ArrayLike, tokenizer: Tokenizer) -> npt.NDArray[Any]:
    """Return `values` as an integer array of ids of the vocabulary, of any shape.

    Raises:
        TypeError: if they are no integers: floats and booleans are not rounded.
        ValueError: if one is no id, or the rows of a list differ in length.
    """
    ids = np.asarray(values)
    if not ids.size:
        return ids.astype(np.int64)  # an empty list has no integers, and is a reply
    if ids.dtype.kind not in "iu":
        raise TypeError(
            f"An action holds integer ids, got dtype {ids.dtype}; "
            "env.unwrapped.encode(text) makes one."
        )
    num_ids = len(tokenizer)
    if not 0 <= int(ids.min()) <= int(ids.max()) < num_ids:
        raise ValueError(
            f"An action holds ids in [0, {num_ids}), got {ids.min()} to {ids.max()}; were "
            f"they made by another tokenizer than {tokenizer.name!r}?"
        )
    return ids


def encode_reply(
    text: str, tokenizer: Tokenizer, template: ChatTemplate, length: int
) -> npt.NDArray[np.int64]:
    """Return `text` as `length` ids, (R,): with a stop id if it fits, then padding."""
    if not isinstance(text, str):
        raise TypeError(f"A reply is encoded from a str, got {text!r}.")
    ids = list(tokenizer.encode(head(text, length)))[:length]
    action = np.full(length, tokenizer.pad_id, dtype=np.int64)
    if len(ids) < length:
        ids.append(min(template.stop_ids))
    action[: len(ids)] = ids
    return action


def read_reply(
    ids: list[int], tokenizer: Tokenizer, template: ChatTemplate
) -> tuple[list[int], int | None]:
    """Return the ids before the first control id, and that id if it is a stop id."""
    control = tokenizer.control_ids
    for k, token in enumerate(ids):
        if token in control:
            return ids[:k], token if token in template.stop_ids else None
    return ids, None
