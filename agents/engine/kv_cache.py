"""The keys and values of many dialogues, in the shape of a transformers cache.

transformers asks a cache for few things, so this one is duck-typed: `update`, `get_mask_sizes`,
`get_query_offset`, `get_seq_length`, `is_compileable`, `is_sliding`. Column c of a row always holds
position c, for sliding layers too; which columns a query may see is the mask's business.

Shape legend: N rows of one forward, Q new tokens, G key heads, K columns, D head width.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch

__all__ = ["KeyValueCache"]

_BUCKET = 64  # columns are allocated in multiples of this


class KeyValueCache:
    """Key and value columns for `num_rows` rows, allocated when first used, grown when needed.

    Between forwards the decoder moves rows about (`arrange`) so that the running ones are always
    a contiguous block: a forward then reads a view, and no key is ever copied to be attended to.

    Attributes:
        capacity: columns allocated.
        high_water: no row has anything in this column or later.
        num_growths: how often the storage has moved; what remembers addresses must start over.
    """

    is_compileable = False

    def __init__(self, num_rows: int, num_layers: int) -> None:
        self.num_rows = num_rows
        self.is_sliding = [False] * num_layers
        self.capacity = 0
        self.high_water = 0
        self.num_growths = 0
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._rows = slice(0, 0)
        self._starts_N = torch.zeros(0, dtype=torch.long)
        self._common_start: int | None = None
        self._lines: dict[int, torch.Tensor] = {}
        self._reach = 0
        self._longest = 0

    def clear(self) -> None:
        """Forget that anything was stored; the memory is kept for what comes next."""
        self.high_water = 0

    def begin(self, rows: slice, starts: Sequence[int], width: int) -> torch.Tensor:
        """Prepare the next forward and return its (N, Q) positions.

        Args:
            rows: the block of rows that runs.
            starts: for each of them, the position of its first new token.
            width: Q; rows with fewer new tokens are padded on the right, and what padding
                writes lies past the row's end, where no query looks before it is overwritten.
        """
        self.make_room(max(starts) + width)
        self._aim(rows, max(starts) + width)
        self._longest = max(starts)
        self._starts_N = torch.tensor(starts, dtype=torch.long)
        self._common_start = starts[0] if min(starts) == max(starts) else None
        return self._starts_N[:, None] + torch.arange(width)

    def begin_step(self, rows: slice, positions_N: torch.Tensor, reach: int) -> None:
        """Prepare a forward of one new token a row; nothing is read back from the device.

        Args:
            rows: the block of rows that runs.
            positions_N: the token's position in each, on the device, below `reach`.
            reach: columns that the forward attends to; `make_room` has made them.
        """
        self._aim(rows, reach)
        self._longest = reach - 1
        self._starts_N = positions_N
        self._common_start = None

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write (N, G, Q, D) new keys and values; return views of all columns up to the longest."""
        if layer_idx not in self._layers:
            self._layers[layer_idx] = (self._allocate(key), self._allocate(value))
        stored_key, stored_value = self._layers[layer_idx]
        self._write(stored_key, key)
        self._write(stored_value, value)
        return self._window(stored_key), self._window(stored_value)

    def arrange(
        self, rows: Sequence[int], sources: Sequence[int], columns: int | None = None
    ) -> None:
        """Make each of `rows` hold what the same place of `sources` held.

        Args:
            rows: rows to write.
            sources: for each, the row to read.
            columns: how many of them; None takes all that hold anything.
        """
        tensors = self.tensors()
        if not rows or not tensors:
            return
        columns = self.high_water if columns is None else columns
        to, source = torch.tensor([rows, sources], device=tensors[0].device)
        for stored in tensors:
            used = stored[:, :, :columns]
            # The sources are gathered before anything is written, so swaps are safe.
            used.index_copy_(0, to, used.index_select(0, source))

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        """Return how many columns the forward reads, and the position of the first."""
        return self._reach, 0

    def get_query_offset(self, layer_idx: int = 0) -> torch.Tensor:
        """Return the (N,) position of each row's first new token."""
        return self._starts_N

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the longest row's length; rows differ, so positions are passed beside."""
        return self._longest

    def reserve(self, columns: int) -> None:
        """Make room for `columns` columns a row."""
        if columns <= self.capacity:
            return
        old = self.capacity
        wanted = max(columns, old * 3 // 2)
        self.capacity = math.ceil(wanted / _BUCKET) * _BUCKET
        self.num_growths += 1
        for layer, (key, value) in self._layers.items():
            grown = (self._allocate(key), self._allocate(value))
            grown[0][:, :, :old] = key
            grown[1][:, :, :old] = value
            self._layers[layer] = grown

    def make_room(self, columns: int) -> None:
        """Announce that forwards will write below column `columns`."""
        self.reserve(columns)
        self.high_water = max(self.high_water, columns)

    def tensors(self) -> list[torch.Tensor]:
        """Return the storage: keys, then values, layer by layer."""
        return [tensor for pair in self._layers.values() for tensor in pair]

    def over(self, tensors: Sequence[torch.Tensor]) -> KeyValueCache:
        """Return the same cache with other storage, in the order of `tensors()`."""
        other = copy.copy(self)
        pairs = zip(tensors[::2], tensors[1::2], strict=True)
        other._layers = dict(zip(self._layers, pairs, strict=True))
        return other

    def _window(self, stored: torch.Tensor) -> torch.Tensor:
        """Return a view of what the forward attends to."""
        return stored[self._rows].narrow(2, 0, self._reach)

    def _aim(self, rows: slice, reach: int) -> None:
        self._rows = rows
        self._reach = reach
        self._lines = {}

    def _write(self, stored: torch.Tensor, new: torch.Tensor) -> None:
        """Copy (N, G, Q, D) to the columns of the rows that run."""
        width = new.shape[2]
        if self._common_start is not None:
            columns = slice(self._common_start, self._common_start + width)
            stored[self._rows, :, columns] = new
            return
        heads = int(new.shape[1])  # a traced size would be a key of its own each time
        if heads not in self._lines:
            self._lines[heads] = self._line_index(new, stored.shape[2])
        # A column of a head is one line of memory: one index, and the fastest kernel there is.
        lines = stored.view(-1, new.shape[3])
        lines.index_copy_(0, self._lines[heads], new.reshape(-1, new.shape[3]))

    def _line_index(self, new: torch.Tensor, capacity: int) -> torch.Tensor:
        """Return the (N * G * Q,) places of `new` among all columns of all heads of all rows."""
        _, heads, width, _ = new.shape
        device = new.device
        self._starts_N = self._starts_N.to(device)
        row_N = torch.arange(self._rows.start, self._rows.stop, device=device)
        head_NG = row_N[:, None] * heads + torch.arange(heads, device=device)
        column_NQ = self._starts_N[:, None] + torch.arange(width, device=device)
        return (head_NG[:, :, None] * capacity + column_NQ[:, None]).flatten()

    def _allocate(self, like: torch.Tensor) -> torch.Tensor:
        shape = (self.num_rows, like.shape[1], self.capacity, like.shape[3])
        # Zeros, not empty: masked columns are multiplied by 0, and 0 * NaN is NaN.
        return torch.zeros(shape, dtype=like.dtype, device=like.device)
