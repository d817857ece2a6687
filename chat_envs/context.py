"""The token context of one episode: append-only ids, each marked as the agent's or not."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["TokenContext"]


class TokenContext:
    """An append-only sequence of ids with an action mask, of bounded length.

    Args:
        capacity: most ids it holds (the context length C).
        pad_id: fills `input_ids` past the end.

    >>> context = TokenContext(capacity=4, pad_id=0)
    >>> context.append([7, 8], is_action=False)
    >>> context.append([9], is_action=True)
    >>> context.ids.tolist(), context.action_mask.tolist(), len(context)
    ([7, 8, 9], [0, 0, 1], 3)
    """

    __slots__ = (
        "_attention_mask",
        "_action_mask",
        "_ids",
        "_length",
        "_rows",
        "capacity",
    )

    def __init__(self, capacity: int, pad_id: int) -> None:
        self.capacity = capacity
        self._ids = np.full(capacity, pad_id, dtype=np.int64)
        self._attention_mask = np.zeros(capacity, dtype=np.int8)
        self._action_mask = np.zeros(capacity, dtype=np.int8)
        self._rows: dict[str, npt.NDArray[Any]] = {
            "input_ids": self._ids,
            "attention_mask": self._attention_mask,
            "action_mask": self._action_mask,
        }
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def room(self) -> int:
        """How many more ids fit."""
        return self.capacity - self._length

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        """The ids so far: a copy, int64 (len(self),)."""
        return self._ids[: self._length].copy()

    @property
    def action_mask(self) -> npt.NDArray[np.int8]:
        """1 where the agent wrote the id: a copy, int8 (len(self),)."""
        return self._action_mask[: self._length].copy()

    def append(self, ids: Sequence[int], *, is_action: bool) -> None:
        """Append `ids` unchanged.

        Raises:
            ValueError: if they do not fit.
        """
        end = self._length + len(ids)
        if end > self.capacity:
            raise ValueError(
                f"{len(ids)} ids do not fit behind {self._length} in a context of "
                f"{self.capacity}."
            )
        self._ids[self._length : end] = ids
        self._attention_mask[self._length : end] = 1
        if is_action:
            self._action_mask[self._length : end] = 1
        self._length = end

    def padded(self, name: str) -> npt.NDArray[Any]:
        """Return a copy of one row, (capacity,), right-padded.

        Args:
            name: "input_ids" (int64), "attention_mask" or "action_mask" (int8).
        """
        return self._rows[name].copy()
