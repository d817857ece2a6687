"""Storage and its bookkeeping: `kv_cache` and `slot`."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.engine.attention import ragged_mask
from agents.engine.kv_cache import KeyValueCache
from agents.engine.slot import SlotTable, common_prefix_length


def write(
    cache: KeyValueCache, rows: slice, starts: list[int], numbers: list[list[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Write each number as a key of one head and width 1; values are its negative."""
    cache.begin(rows, starts, len(numbers[0]))
    key = torch.tensor(numbers, dtype=torch.float32)[:, None, :, None]
    return cache.update(key, -key, 0)


def test_rows_are_written_at_their_own_columns_and_read_as_views() -> None:
    cache = KeyValueCache(3, 1)
    write(cache, slice(0, 2), [0, 0], [[1, 2, 3], [4, 5, 6]])
    keys, values = write(cache, slice(0, 2), [3, 1], [[7], [8]])
    assert keys[:, 0, :, 0].tolist() == [[1, 2, 3, 7], [4, 8, 6, 0]]
    torch.testing.assert_close(values, -keys)
    again, _ = write(cache, slice(0, 2), [3, 1], [[7], [8]])
    assert again.data_ptr() == keys.data_ptr()


def test_a_step_writes_where_the_device_says_and_reads_as_far_as_asked() -> None:
    cache = KeyValueCache(3, 1)
    write(cache, slice(0, 2), [0, 0], [[1, 2, 3], [4, 5, 6]])
    position_N = torch.tensor([3, 1])
    cache.begin_step(slice(0, 2), position_N, 6)
    assert cache.get_mask_sizes(1) == (6, 0)
    assert cache.get_query_offset() is position_N
    key = torch.tensor([7.0, 8.0])[:, None, None, None]
    keys, _ = cache.update(key, -key, 0)
    assert keys[:, 0, :, 0].tolist() == [[1, 2, 3, 7, 0, 0], [4, 8, 6, 0, 0, 0]]
    position_N += 1  # the same tensor, moved on in place: what a captured step does
    cache.begin_step(slice(0, 2), position_N, 6)
    keys, _ = cache.update(key, -key, 0)
    assert keys[:, 0, :, 0].tolist() == [[1, 2, 3, 7, 7, 0], [4, 8, 8, 0, 0, 0]]


def test_growth_keeps_what_was_stored() -> None:
    cache = KeyValueCache(1, 1)
    for column in range(200):
        keys, _ = write(cache, slice(0, 1), [column], [[column + 1]])
    assert keys[0, 0, :, 0].tolist() == list(range(1, 201))
    assert cache.capacity % 64 == 0
    assert cache.num_growths == 4  # to 64, 128, 192 and 320 columns


def test_arrange_copies_as_many_columns_as_asked() -> None:
    cache = KeyValueCache(2, 1)
    write(cache, slice(0, 2), [0, 0], [[1, 2, 3], [4, 5, 6]])
    cache.arrange([1], [0], 2)
    keys, _ = write(cache, slice(0, 2), [3, 3], [[0], [0]])
    assert keys[:, 0, :3, 0].tolist() == [[1, 2, 3], [1, 2, 6]]


def test_arrange_swaps_whole_rows() -> None:
    cache = KeyValueCache(3, 1)
    write(cache, slice(0, 3), [0, 0, 0], [[1, 2], [3, 4], [5, 6]])
    cache.arrange([0, 2, 1], [2, 1, 0])
    keys, _ = write(cache, slice(0, 3), [2, 2, 2], [[0], [0], [0]])
    assert keys[:, 0, :2, 0].tolist() == [[5, 6], [1, 2], [3, 4]]


def test_positions_and_mask_are_each_rows_own() -> None:
    cache = KeyValueCache(2, 1)
    positions = cache.begin(slice(0, 2), [2, 0], 2)
    assert positions.tolist() == [[2, 3], [0, 1]]
    assert cache.get_mask_sizes(2) == (4, 0)
    mask = ragged_mask(
        2,
        2,
        4,
        q_offset=cache.get_query_offset(),
        mask_function=lambda row, head, query, key: key <= query,
    )
    assert mask[:, 0].int().tolist() == [
        [[1, 1, 1, 0], [1, 1, 1, 1]],
        [[1, 0, 0, 0], [1, 1, 0, 0]],
    ]


@given(
    orders=st.lists(st.permutations(range(5)), min_size=1, max_size=8), data=st.data()
)
def test_table_and_storage_agree_whatever_the_seating(orders: list, data) -> None:
    table, cache = SlotTable(5), KeyValueCache(5, 1)
    for slot in range(5):
        row = table.row(slot)
        write(cache, slice(row, row + 1), [0], [[slot + 10]])
        table.remember(slot, np.array([slot]))
    for order in orders:
        slots = order[: data.draw(st.integers(1, 5))]
        cache.arrange(*table.seat(slots))
        assert [table.row(slot) for slot in slots] == list(range(len(slots)))
        keys, _ = cache._layers[0]
        held = [keys[table.row(slot), 0, 0, 0].item() for slot in range(5)]
        assert held == [10, 11, 12, 13, 14]


def test_empty_slots_are_not_moved() -> None:
    table = SlotTable(4)
    assert table.seat([3, 2]) == ([], [])
    table.remember(3, np.array([1]))
    rows, sources = table.seat([2, 3])
    assert (rows, sources) == ([1], [0])


@given(
    moves=st.lists(st.permutations(range(5)), min_size=1, max_size=8), data=st.data()
)
def test_any_rows_can_be_taken_and_rows_without_storage_forget(
    moves: list, data: st.DataObject
) -> None:
    """Three rows are stored for five slots: what is pushed out of them holds nothing."""
    table, cache = SlotTable(5, 3), KeyValueCache(3, 1)
    for slots in moves:
        rows = data.draw(st.permutations(range(3)))
        slots = slots[: data.draw(st.integers(1, 3))]
        cache.arrange(*table.seat(slots, rows[: len(slots)]))
        for slot, row in zip(slots, rows):
            assert table.row(slot) == row
            if not len(table.ids(slot)):
                write(cache, slice(row, row + 1), [0], [[slot + 10]])
                table.remember(slot, np.array([slot]))
        for slot in range(5):
            if table.row(slot) >= 3:
                assert not len(table.ids(slot))
            elif len(table.ids(slot)):
                assert cache._layers[0][0][table.row(slot), 0, 0, 0] == slot + 10


def test_common_prefix_length() -> None:
    def length(first: list[int], second: list[int]) -> int:
        return common_prefix_length(np.array(first), np.array(second))

    assert length([1, 2, 3], [1, 2, 3, 4]) == 3
    assert length([1, 2, 3], [1, 9, 3]) == 1
    assert length([5], [6]) == 0
    assert length([], [6]) == 0
