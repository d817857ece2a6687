"""Shares and cuts: together the processes compute everything once, and all equally often."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.engine import process_group
from agents.experience.micro_batch import MicroBatch, micro_batches, share_out
from agents.experience.rollout import Rollout
from tests.agents.experience.test_rollout import episodes, make_episode

CPU = torch.device("cpu")
PIECES = 4  # of a share, at least, where dialogues are short enough

sizes = st.integers(1, 5)
budgets = st.integers(1, 60)


@st.composite
def rollouts(draw: st.DrawFn) -> tuple[Rollout, np.ndarray]:
    """Return a rollout, and some of its rows in any order, as a minibatch has them."""
    rollout = Rollout(draw(episodes))
    order = draw(st.permutations(range(len(rollout))))
    count = draw(st.integers(1, len(rollout)))
    return rollout, np.array(order[:count], dtype=np.int64)


def of_every_rank(
    rollout: Rollout, rows: np.ndarray, budget: int, size: int
) -> list[list[MicroBatch]]:
    """Return what each of `size` processes would compute."""
    everyone = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        for rank in range(size):
            monkeypatch.setattr(process_group, "place", lambda r=rank: (r, size))
            actions = rollout.actions(CPU)
            everyone.append(micro_batches(rollout, actions, rows, budget))
    return everyone


def is_idle(micro: MicroBatch) -> bool:
    return not micro.actions.mask.any()


@given(rollouts(), sizes)
def test_the_shares_are_a_partition(
    drawn: tuple[Rollout, np.ndarray], size: int
) -> None:
    rollout, rows = drawn
    shares = share_out(rollout, rows, size)
    assert len(shares) == size
    assert sorted(np.concatenate(shares).tolist()) == sorted(rows.tolist())
    assert all(share.dtype == np.int64 for share in shares)


@given(rollouts(), st.integers(2, 5))
def test_no_share_is_more_than_a_piece_larger_than_another(
    drawn: tuple[Rollout, np.ndarray], size: int
) -> None:
    rollout, rows = drawn
    loads = [int(rollout.lengths[share].sum()) for share in share_out(*drawn, size)]
    budget = max(int(rollout.lengths[rows].sum()) // (PIECES * size), 1)
    pieces = rollout.pack(rows, budget)
    largest = max(int(rollout.lengths[piece].sum()) for piece in pieces)
    assert max(loads) - min(loads) <= largest


def test_equal_dialogues_are_shared_equally() -> None:
    """Each has a prompt of its own, so none is better computed together with another."""
    alike = make_episode([2], gap=3)
    rollout = Rollout([replace(alike, ids=alike.ids + n) for n in range(16)])
    for size in (2, 4, 8):
        shares = share_out(rollout, np.arange(16), size)
        assert [len(share) for share in shares] == [16 // size] * size


def test_a_long_dialogue_is_outweighed_by_many_short_ones() -> None:
    rollout = Rollout([make_episode([1])] * 6 + [make_episode([4] * 4)])
    first, second = share_out(rollout, np.arange(7), 2)
    assert first.tolist() == [6] and second.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_largest_piece_is_given_away_first() -> None:
    """In the order in which they are cut, these would make 28 and 24 tokens."""
    replies = [make_episode([n], gap=1) for n in (1, 12, 6, 4, 1, 12, 2)]
    rollout = Rollout([replace(e, ids=e.ids + 100 * n) for n, e in enumerate(replies)])
    shares = share_out(rollout, np.arange(7), 2)
    assert [int(rollout.lengths[share].sum()) for share in shares] == [26, 26]


def test_one_share_is_all_rows_as_they_are() -> None:
    rollout = Rollout([make_episode([1]), make_episode([2])])
    rows = np.array([1, 0])
    (share,) = share_out(rollout, rows, 1)
    assert share is rows


def test_more_shares_than_dialogues_leave_some_empty() -> None:
    rollout = Rollout([make_episode([1]), make_episode([3])])
    shares = share_out(rollout, np.arange(2), 4)
    assert sorted(len(share) for share in shares) == [0, 0, 1, 1]
    everyone = of_every_rank(rollout, np.arange(2), 99, 4)
    assert [len(own) for own in everyone] == [1] * 4
    assert [is_idle(own[0]) for own in everyone].count(True) == 2


@given(rollouts(), budgets, sizes)
def test_every_action_token_counts_once_in_one_process(
    drawn: tuple[Rollout, np.ndarray], budget: int, size: int
) -> None:
    rollout, rows = drawn
    counts_NK = torch.zeros(rollout.actions(CPU).mask.shape, dtype=torch.int64)
    for own in of_every_rank(rollout, rows, budget, size):
        for micro in own:
            for b, row in enumerate(micro.rows):
                counts_NK[row, : micro.actions.mask.shape[1]] += micro.actions.mask[b]
    expected_NK = torch.zeros_like(counts_NK)
    expected_NK[torch.as_tensor(rows)] = rollout.actions(CPU).mask[rows].long()
    assert counts_NK.equal(expected_NK)


@given(rollouts(), budgets, sizes)
def test_every_process_has_equally_many_and_idles_only_at_the_end(
    drawn: tuple[Rollout, np.ndarray], budget: int, size: int
) -> None:
    rollout, rows = drawn
    everyone = of_every_rank(rollout, rows, budget, size)
    assert len({len(own) for own in everyone}) == 1
    idle = [[is_idle(micro) for micro in own] for own in everyone]
    assert all(flags == sorted(flags) for flags in idle)
    assert any(not any(flags) for flags in idle), "somebody works all the time"
    for micro in (micro for own in everyone for micro in own if is_idle(micro)):
        assert (
            micro.actions.mask.shape[1] > 0
        )  # a loss must still depend on the weights
        assert len(micro.rows) == 1
        assert rollout.lengths[micro.rows[0]] == rollout.lengths[rows].min()


@given(rollouts(), budgets, sizes)
def test_the_token_budget_is_kept(
    drawn: tuple[Rollout, np.ndarray], budget: int, size: int
) -> None:
    rollout, rows = drawn
    for own in of_every_rank(rollout, rows, budget, size):
        for micro in own:
            # As the engine computes them: a prompt that several share is read once.
            (cut,) = rollout.pack(micro.rows, 10**6)
            prompts = {rollout._prompt(row).tobytes() for row in cut}
            own_tokens = sum(
                int(rollout.lengths[row]) - len(rollout._prompt(row)) for row in cut
            )
            num_tokens = own_tokens + sum(len(prompt) // 8 for prompt in prompts)
            assert num_tokens <= budget or len(cut) == 1


@given(rollouts(), budgets, sizes)
def test_what_all_put_is_what_was_there_to_be_had(
    drawn: tuple[Rollout, np.ndarray], budget: int, size: int
) -> None:
    """`of` and `put` are each other's inverse, and the processes never write twice."""
    rollout, rows = drawn
    mask_NK = rollout.actions(CPU).mask
    values_NK = torch.arange(1.0, mask_NK.numel() + 1).reshape(mask_NK.shape)
    values_N = torch.arange(1.0, len(rollout) + 1)
    sum_NK, sum_N = torch.zeros_like(values_NK), torch.zeros_like(values_N)
    for own in of_every_rank(rollout, rows, budget, size):
        for micro in own:
            chosen = torch.as_tensor(micro.rows)
            values_BK = micro.of(values_NK)
            assert values_BK.equal(values_NK[chosen][:, : micro.actions.mask.shape[1]])
            part_NK, part_N = torch.zeros_like(sum_NK), torch.zeros_like(sum_N)
            micro.put(part_NK, values_BK)
            micro.put_rows(part_N, values_N[chosen])
            sum_NK += part_NK
            sum_N += part_N
            if is_idle(micro):
                assert not part_NK.any() and not part_N.any()
    is_chosen_N = torch.zeros(len(rollout), dtype=torch.bool)
    is_chosen_N[torch.as_tensor(rows)] = True
    expected_NK = torch.where(mask_NK & is_chosen_N[:, None], values_NK, 0.0)
    assert sum_NK.equal(expected_NK)
    assert sum_N.equal(torch.where(is_chosen_N, values_N, 0.0))


def test_one_process_has_the_rollouts_own_cut() -> None:
    rollout = Rollout([make_episode([n]) for n in (1, 4, 2, 3, 1)])
    (own,) = of_every_rank(rollout, np.array([4, 0, 2, 1]), 12, 1)
    cut = rollout.pack(np.array([4, 0, 2, 1]), 12)
    assert [micro.rows.tolist() for micro in own] == [rows.tolist() for rows in cut]
    assert not any(map(is_idle, own))
