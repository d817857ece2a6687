"""The token context: append-only, bounded, and never aliased."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.context import TokenContext

Parts = list[tuple[list[int], bool]]
PARTS = st.lists(
    st.tuples(st.lists(st.integers(1, 99), max_size=5), st.booleans()), max_size=6
)


@given(PARTS)
def test_it_holds_what_was_appended(parts: Parts) -> None:
    context = TokenContext(capacity=64, pad_id=0)
    ids: list[int] = []
    mask: list[int] = []
    for part, is_action in parts:
        context.append(part, is_action=is_action)
        ids += part
        mask += [int(is_action)] * len(part)
    assert context.ids.tolist() == ids
    assert context.action_mask.tolist() == mask
    assert len(context) == len(ids) and context.room == 64 - len(ids)
    rest = 64 - len(ids)
    assert context.padded("input_ids").tolist() == ids + [0] * rest
    assert context.padded("attention_mask").tolist() == [1] * len(ids) + [0] * rest
    assert context.padded("action_mask").tolist() == mask + [0] * rest


def test_it_fills_up_with_the_padding_id() -> None:
    context = TokenContext(capacity=3, pad_id=7)
    context.append([1], is_action=False)
    assert context.padded("input_ids").tolist() == [1, 7, 7]


def test_types_are_those_of_the_observation_space() -> None:
    context = TokenContext(capacity=3, pad_id=0)
    assert context.ids.dtype == context.padded("input_ids").dtype == np.int64
    assert context.padded("attention_mask").dtype == np.int8
    assert context.action_mask.dtype == context.padded("action_mask").dtype == np.int8


def test_what_does_not_fit_is_refused_whole() -> None:
    context = TokenContext(capacity=3, pad_id=0)
    context.append([1, 2], is_action=True)
    with pytest.raises(ValueError, match="2 ids do not fit behind 2 in a context of 3"):
        context.append([3, 4], is_action=False)
    assert context.ids.tolist() == [1, 2]
    context.append([3], is_action=False)
    assert context.room == 0


@pytest.mark.parametrize("name", ["input_ids", "attention_mask", "action_mask"])
def test_writing_into_what_it_returns_changes_nothing(name: str) -> None:
    context = TokenContext(capacity=4, pad_id=0)
    context.append([5, 6], is_action=True)
    before = context.padded(name)
    for array in (context.padded(name), context.ids, context.action_mask):
        array[...] = 3
    assert np.array_equal(context.padded(name), before)
