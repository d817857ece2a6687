"""Combinations: which are held out, and that all their parts are seen."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.simulators.combination import (
    draw_combination,
    is_held_out,
    join_parts,
)

LAST = math.nextafter(1.0, 0.0)


def everything(sizes: list[int], split: str, held_out: int) -> set[tuple[int, ...]]:
    """Return all combinations that a fine grid of draws gives."""
    grids = [[(k + 0.5) / (4 * size) for k in range(4 * size)] for size in sizes]
    return {
        tuple(draw_combination(draws, sizes, split, held_out))
        for draws in itertools.product(*grids)
    }


@pytest.mark.parametrize(
    ("sizes", "held_out"),
    [([4], 4), ([5, 4], 4), ([3, 6], 4), ([3, 3, 3], 3), ([1, 2], 2)],
)
def test_the_splits_divide_all_combinations(sizes: list[int], held_out: int) -> None:
    train, test = (everything(sizes, split, held_out) for split in SPLITS)
    assert train.isdisjoint(test)
    assert train | test == set(itertools.product(*(range(size) for size in sizes)))
    assert all(is_held_out(indices, held_out) for indices in test)


@pytest.mark.parametrize(("sizes", "held_out"), [([4, 4], 4), ([3, 5, 4], 3)])
def test_each_value_is_in_both_splits(sizes: list[int], held_out: int) -> None:
    for split in SPLITS:
        drawn = everything(sizes, split, held_out)
        for place, size in enumerate(sizes):
            assert {indices[place] for indices in drawn} == set(range(size))


@given(
    st.lists(st.integers(4, 9), min_size=1, max_size=5),
    st.data(),
    st.sampled_from(SPLITS),
)
def test_every_draw_is_of_its_split(
    sizes: list[int], data: st.DataObject, split: str
) -> None:
    draw = st.floats(0, LAST)
    draws = [data.draw(draw) for _ in sizes]
    indices = draw_combination(draws, sizes, split)
    assert all(0 <= i < size for i, size in zip(indices, sizes, strict=True))
    assert is_held_out(indices) == (split == "test")


def test_a_place_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="The last place has 3 values"):
        draw_combination([0.1, 0.2], [9, 3], "train")
    with pytest.raises(ValueError, match="one in 1 cannot be held out"):
        draw_combination([0.1], [9], "train", held_out=1)


@pytest.mark.parametrize("start", [0, 1, 2])
@pytest.mark.parametrize("parts", [["ab", "012"], ["abc", "01", "xyz"], ["a", "0"]])
def test_joined_parts_are_all_combinations_and_the_sum_decides(
    parts: list[str], start: int
) -> None:
    texts = join_parts(parts, held_out=3, start=start)
    everything = {"".join(chosen) for chosen in itertools.product(*parts)}
    assert set(texts) == set(SPLITS)
    assert sorted([*texts["train"], *texts["test"]]) == sorted(everything)
    for text in everything:
        indices = [part.index(letter) for part, letter in zip(parts, text, strict=True)]
        assert (text in texts["test"]) == ((sum(indices) + start) % 3 == 0)


def test_joined_parts_come_in_the_order_of_their_indices() -> None:
    # Which one a draw takes depends on it.
    assert join_parts(["ab", "01"], held_out=4, start=1) == {
        "train": ["a0", "a1", "b0", "b1"],
        "test": [],
    }
    assert join_parts(["ab", "01"], held_out=2)["test"] == ["a0", "b1"]
