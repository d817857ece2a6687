"""Which dialogue's keys and values lie in which row of the cache, and for which ids.

A *slot* is one dialogue; a *row* is a lane of storage. The running dialogues are kept in the first
rows, so slots change rows; this table remembers where each went. Pure bookkeeping, no tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["SlotTable", "common_prefix_length"]

_EMPTY = np.zeros(0, dtype=np.int64)


def common_prefix_length(first: np.ndarray, second: np.ndarray) -> int:
    """Return how many leading ids two sequences share.

    >>> common_prefix_length(np.array([1, 2, 3]), np.array([1, 2, 9, 9]))
    2
    """
    length = min(len(first), len(second))
    different = np.flatnonzero(first[:length] != second[:length])
    return int(different[0]) if len(different) else length


class SlotTable:
    """Slot -> row and slot -> the ids whose keys and values are stored.

    Args:
        num_slots: dialogues.
        num_rows: rows that have storage; what is moved past them is forgotten. None stores all.
    """

    def __init__(self, num_slots: int, num_rows: int | None = None) -> None:
        self._row_of = list(range(num_slots))
        self._slot_in = list(range(num_slots))
        self._ids: list[np.ndarray] = [_EMPTY] * num_slots
        self._num_rows = num_slots if num_rows is None else num_rows

    def __len__(self) -> int:
        return len(self._row_of)

    def ids(self, slot: int) -> np.ndarray:
        """Return the ids that the slot's cache was computed from."""
        return self._ids[slot]

    def remember(self, slot: int, ids: np.ndarray) -> None:
        """Record that the slot's row now holds the keys and values of `ids`."""
        self._ids[slot] = ids

    def forget(self, slots: Sequence[int] | None = None) -> None:
        """Record that `slots` (all when None) hold nothing."""
        for slot in range(len(self)) if slots is None else slots:
            self._ids[slot] = _EMPTY

    def row(self, slot: int) -> int:
        """Return the row in which the slot lies now."""
        return self._row_of[slot]

    def seat(
        self, slots: Sequence[int], rows: Sequence[int] | None = None
    ) -> tuple[list[int], list[int]]:
        """Put each slot in its row, by default in rows 0, 1, ...; those that were there give way.

        Returns:
            Rows and, for each, the row whose content it takes: what the storage must move at
            once. Slots that hold nothing are left out, so no row is moved for them.
        """
        before: dict[int, int] = {}  # of the rows that change
        for row, slot in zip(range(len(slots)) if rows is None else rows, slots):
            for changed in (row, self._row_of[slot]):
                before.setdefault(changed, self._slot_in[changed])
            self._swap(row, self._row_of[slot])
        came_from = {slot: row for row, slot in before.items()}
        moved = []
        for row in sorted(before):
            slot = self._slot_in[row]
            if row >= self._num_rows:
                self._ids[slot] = _EMPTY
            elif before[row] != slot and len(self._ids[slot]):
                moved.append((row, came_from[slot]))
        return [row for row, _ in moved], [source for _, source in moved]

    def _swap(self, first: int, second: int) -> None:
        slots = self._slot_in
        slots[first], slots[second] = slots[second], slots[first]
        self._row_of[slots[first]] = first
        self._row_of[slots[second]] = second
