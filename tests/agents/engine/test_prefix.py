"""Who takes over which prefix, against every pair compared."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.engine.prefix import SharedPrefix, shared_prefixes

IDS = st.lists(st.integers(0, 2), min_size=1, max_size=6)


def share(contexts: list[list[int]], cached: list[int] | None = None, least: int = 1):
    arrays = [np.array(ids, dtype=np.int64) for ids in contexts]
    return shared_prefixes(arrays, cached or [0] * len(arrays), least)


def common(first: list[int], second: list[int]) -> int:
    length = 0
    while length < min(len(first), len(second)) and first[length] == second[length]:
        length += 1
    return length


def test_a_group_has_one_leader() -> None:
    assert share([[1, 2, 3]] * 3) == {1: SharedPrefix(0, 3), 2: SharedPrefix(0, 3)}


def test_the_instructions_are_computed_once_and_so_is_each_prompt() -> None:
    """Two ids of instructions, then two prompts twice: one takes the instructions, two twins."""
    taken = share([[0, 0, 1], [0, 0, 2], [0, 0, 1], [0, 0, 2]])
    assert taken == {
        1: SharedPrefix(0, 2),
        2: SharedPrefix(0, 3),
        3: SharedPrefix(1, 3),
    }


def test_a_lone_context_takes_what_it_can() -> None:
    taken = share([[5, 6, 1], [5, 6, 1], [5, 6, 2]])
    assert taken == {1: SharedPrefix(0, 3), 2: SharedPrefix(0, 2)}


def test_of_equal_contexts_the_one_that_has_most_is_computed() -> None:
    assert share([[1, 2, 3]] * 3, [0, 2, 1]) == {
        0: SharedPrefix(1, 3),
        2: SharedPrefix(1, 3),
    }


def test_what_the_own_cache_holds_is_not_taken() -> None:
    assert share([[1, 2, 3, 4], [1, 2, 3, 5]], [3, 2], least=2) == {}
    assert share([[1, 2, 3, 4], [1, 2, 3, 5]], [3, 2]) == {1: SharedPrefix(0, 3)}
    assert share([[1, 2], [1, 3]], [1, 1]) == {}


def test_groups_that_begin_alike_do_not_wait_for_each_other() -> None:
    taken = share([[4, 5], [4, 5, 1], [4, 5, 2, 2], [4, 5, 2, 3]])
    assert taken == {1: SharedPrefix(0, 2), 3: SharedPrefix(2, 3)}


def test_one_who_leads_nobody_follows_the_next() -> None:
    taken = share([[4, 5], [4, 5, 1], [4, 5, 1, 1]])
    assert taken == {0: SharedPrefix(1, 2), 2: SharedPrefix(1, 3)}


def test_whose_cache_holds_the_prefix_leads() -> None:
    assert share([[1, 2, 3], [1, 2, 3, 4], [1, 2, 5]], [0, 3, 0]) == {
        0: SharedPrefix(1, 3),
        2: SharedPrefix(1, 2),
    }


@pytest.mark.parametrize(("least", "count"), [(4, 3), (5, 1)])
def test_little_is_not_worth_a_forward(least: int, count: int) -> None:
    """Whereas a twin needs none."""
    contexts = [[1, 2, 3], [1, 2, 4], [1, 2, 5], [1, 2, 5]]
    assert len(share(contexts, least=least)) == count


def test_large_ids_are_ids_and_not_bytes() -> None:
    """256 and 1 end in bytes that are equal; 255 and 256 differ in all of them."""
    assert share([[256], [1], [255], [2**40]]) == {}


@given(
    contexts=st.lists(IDS, min_size=1, max_size=9),
    data=st.data(),
    least=st.integers(1, 8),
)
def test_prefixes_are_shared_in_truth_and_nobody_waits_for_two_forwards(
    contexts: list[list[int]], data: st.DataObject, least: int
) -> None:
    cached = [data.draw(st.integers(0, len(ids) - 1)) for ids in contexts]
    taken = share(contexts, cached, least)
    saving = 0
    for member, prefix in taken.items():
        assert prefix.leader != member
        assert prefix.length == common(contexts[member], contexts[prefix.leader])
        assert prefix.length > cached[member]
        if contexts[member] == contexts[prefix.leader]:
            above = taken.get(prefix.leader)
            assert above is None or contexts[above.leader] != contexts[member]
        else:
            assert prefix.leader not in taken
            saving += prefix.length - cached[member]
    assert not saving or saving >= least


@given(contexts=st.lists(IDS, min_size=1, max_size=9))
def test_equal_contexts_are_computed_once(contexts: list[list[int]]) -> None:
    taken = share(contexts)
    computed = [tuple(ids) for i, ids in enumerate(contexts) if i not in taken]
    assert len(computed) == len(set(computed))
