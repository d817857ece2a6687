"""The keys and values of many dialogues, in the shape of a transformers cache.

transformers asks a cache for few things, so this one is duck-typed: `update`, `get_mask_sizes`,
`get_query_offset`, `get_seq_length`, `is_compileable`, `is_sliding`. Column c of a row always holds
position c, for sliding layers too; which columns a query may see is the mask's business.

Shape legend: N rows of one forward, Q new tokens, G key heads, K columns, D head width.
"""

from __future__ import annotations

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
    """

    is_compileable = False

    def __init__(self, num_rows: int, num_layers: int) -> None:
        self.num_rows = num_rows
        self.is_sliding = [False] * num_layers
        self.capacity = 0
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._rows = slice(0, 0)
        self._starts_N = torch.zeros(0, dtype=torch.long)
        self._index: tuple[torch.Tensor, torch.Tensor] | None = None
        self._reach = 0
        self._longest = 0
        self._high_water = 0  # no row has anything in this column or later

    def clear(self) -> None:
        """Forget that anything was stored; the memory is kept for what comes next."""
        self._high_water = 0

    def begin(self, rows: slice, starts: Sequence[int], width: int) -> torch.Tensor:
        """Prepare the next forward and return its (N, Q) positions.

        Args:
            rows: the block of rows that runs.
            starts: for each of them, the position of its first new token.
            width: Q; rows with fewer new tokens are padded on the right, and what padding
                writes lies past the row's end, where no query looks before it is overwritten.
        """
        self._longest = max(starts)
        self._reach = self._longest + width
        self._reserve(self._reach)
        self._high_water = max(self._high_water, self._reach)
        self._rows = rows
        self._index = None
        self._starts_N = torch.tensor(starts, dtype=torch.long)
        return self._starts_N[:, None] + torch.arange(width)

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write (N, G, Q, D) new keys and values; return views of all columns up to the longest."""
        if layer_idx not in self._layers:
            self._layers[layer_idx] = (self._allocate(key), self._allocate(value))
        if self._index is None:
            self._index = self._write_index(key)
        stored_key, stored_value = self._layers[layer_idx]
        row_N1, column_NQ = self._index
        # Indices on both sides of the head axis put it last: (N, Q, G, D).
        stored_key[row_N1, :, column_NQ] = key.transpose(1, 2)
        stored_value[row_N1, :, column_NQ] = value.transpose(1, 2)
        return (
            stored_key[self._rows, :, : self._reach],
            stored_value[self._rows, :, : self._reach],
        )

    def arrange(self, rows: Sequence[int], sources: Sequence[int]) -> None:
        """Make each of `rows` hold what the same place of `sources` held."""
        tensors = [tensor for pair in self._layers.values() for tensor in pair]
        if not rows or not tensors:
            return
        to, source = torch.tensor([rows, sources], device=tensors[0].device)
        for stored in tensors:
            used = stored[:, :, : self._high_water]
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

    def _write_index(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        device = like.device
        self._starts_N = self._starts_N.to(device)
        row_N = torch.arange(self._rows.start, self._rows.stop, device=device)
        offset_Q = torch.arange(like.shape[2], device=device)
        return row_N[:, None], self._starts_N[:, None] + offset_Q

    def _allocate(self, like: torch.Tensor) -> torch.Tensor:
        shape = (self.num_rows, like.shape[1], self.capacity, like.shape[3])
        # Zeros, not empty: masked columns are multiplied by 0, and 0 * NaN is NaN.
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def _reserve(self, columns: int) -> None:
        if columns <= self.capacity:
            return
        old = self.capacity
        wanted = max(columns, old * 3 // 2)
        self.capacity = math.ceil(wanted / _BUCKET) * _BUCKET
        for layer, (key, value) in self._layers.items():
            grown = (self._allocate(key), self._allocate(value))
            grown[0][:, :, :old] = key
            grown[1][:, :, :old] = value
            self._layers[layer] = grown
