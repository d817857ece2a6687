"""The token context of one episode: append-only ids, each marked as the agent's or not.

Shape legend: C the capacity of a context, N contexts.
"""

from __future__ import annotations

import numbers
from operator import attrgetter
from typing import Any, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["TokenContext", "as_count", "stack_padded"]


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

    __slots__ = ("_action_mask", "_ids", "_length", "capacity")

    def __init__(self, capacity: int, pad_id: int) -> None:
        self.capacity = capacity
        self._ids = np.empty(capacity, dtype=np.int64)
        self._ids.fill(pad_id)
        self._action_mask = np.zeros(capacity, dtype=np.int8)
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
        if not ids:
            return
        end = self._length + len(ids)
        if end > self.capacity:
            raise ValueError(
                f"{len(ids)} ids do not fit behind {self._length} in a context of "
                f"{self.capacity}."
            )
        self._ids[self._length : end] = ids
        if is_action:
            self._action_mask[self._length : end] = 1
        self._length = end

    def padded(self, name: str) -> npt.NDArray[Any]:
        """Return a copy of one row, (C,), right-padded.

        Args:
            name: "input_ids" (int64), "attention_mask" or "action_mask" (int8).
        """
        if name == "attention_mask":
            mask = np.zeros(self.capacity, dtype=np.int8)
            mask[: self._length] = 1
            return mask
        return self._row(name).copy()

    def _row(self, name: str) -> npt.NDArray[Any]:
        row: npt.NDArray[Any] = _ROWS[name](self)
        return row


_ROWS = {"input_ids": attrgetter("_ids"), "action_mask": attrgetter("_action_mask")}


def stack_padded(contexts: Sequence[TokenContext], name: str) -> npt.NDArray[Any]:
    """Return `padded(name)` of every context as one new array, (N, C).

    All contexts have the same capacity. Rows are copied once and in one call: of a turn's time
    in a vector environment, `numpy.stack` of copies took a tenth.
    """
    capacity = contexts[0].capacity
    if name == "attention_mask":
        lengths = np.array([len(context) for context in contexts])
        is_filled = np.arange(capacity) < lengths[:, None]
        return is_filled.view(np.int8)
    rows = list(map(_ROWS[name], contexts))
    return np.concatenate(rows).reshape(len(rows), capacity)


def as_count(name: str, number: object) -> int:
    """Return `number`, an integer of at least 1; `name` is for the error."""
    if isinstance(number, bool) or not isinstance(number, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {number!r}.")
    if number < 1:
        raise ValueError(f"{name} must be at least 1, got {number}.")
    return int(number)
