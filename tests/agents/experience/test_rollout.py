"""Records, the two token axes, packing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.engine.packing import pack_tokens
from agents.experience.rollout import Episode, Rollout, gather_actions, scatter_actions

CPU = torch.device("cpu")


def make_episode(
    reply_lengths: list[int], *, gap: int = 2, seed: int = 0, group: int = 0
) -> Episode:
    """Return an episode whose replies stand `gap` tokens apart; ids and log-probs are distinct."""
    turn_index: list[int] = []
    for turn, length in enumerate(reply_lengths):
        turn_index += [-1] * gap + [turn] * length
    turn_index += [-1]  # the world has the last word
    turns = np.array(turn_index)
    num = len(reply_lengths)
    return Episode(
        seed=seed,
        group=group,
        ids=np.arange(1, len(turns) + 1),
        action_mask=turns >= 0,
        log_probs=np.where(turns >= 0, -np.arange(len(turns)) - 0.5, 0).astype(
            np.float32
        ),
        turn_index=turns,
        rewards=np.arange(1.0, num + 1),
        reward_valid=np.ones(num, dtype=np.bool_),
        terminated=True,
        truncated=False,
        success=False,
        reply_lengths=np.array(reply_lengths),
        reply_cut=np.zeros(num, dtype=np.bool_),
    )


episodes = st.lists(
    st.builds(
        make_episode,
        st.lists(st.integers(1, 4), min_size=1, max_size=4),
        gap=st.integers(1, 3),
    ),
    min_size=1,
    max_size=6,
)


def test_action_axis_by_hand() -> None:
    rollout = Rollout([make_episode([2, 1]), make_episode([1])])
    actions = rollout.actions(CPU)
    assert actions.positions.tolist() == [[2, 3, 6], [2, 0, 0]]
    assert actions.mask.tolist() == [[True, True, True], [True, False, False]]
    assert actions.turn.tolist() == [[0, 0, 1], [0, 0, 0]]
    assert actions.is_turn_end.tolist() == [[False, True, True], [True, False, False]]
    assert actions.log_probs.tolist() == [[-2.5, -3.5, -6.5], [-2.5, 0.0, 0.0]]
    assert actions.lengths.tolist() == [3, 1]
    rewards = rollout.rewards(CPU)
    assert rewards.tolist() == [[1.0, 2.0], [1.0, 0.0]]
    assert actions.from_turns(rewards).tolist() == [[1, 1, 2], [1, 0, 0]]
    ones = torch.full((2, 3), 7.0)
    assert actions.sum_turns(ones, 2).tolist() == [[14.0, 7.0], [7.0, 0.0]]


def test_the_state_of_a_token_is_the_token_before_it() -> None:
    rollout = Rollout([make_episode([2, 1])])
    actions = rollout.actions(CPU)
    places = torch.arange(8.0)[None, :]
    assert gather_actions(places, actions).tolist() == [[2.0, 3.0, 6.0]]
    assert gather_actions(places, actions, shift=-1).tolist() == [[1.0, 2.0, 5.0]]


@given(episodes)
def test_scatter_inverts_gather(some: list[Episode]) -> None:
    rollout = Rollout(some)
    actions = rollout.actions(CPU)
    batch = rollout.token_batch(np.arange(len(rollout)), CPU)
    width = batch.input_ids.shape[1]
    log_probs_BS = scatter_actions(actions.log_probs, actions, width)
    assert torch.equal(gather_actions(log_probs_BS, actions), actions.log_probs)
    assert torch.equal(log_probs_BS != 0, batch.action_mask)
    for row, episode in enumerate(some):
        assert np.array_equal(
            log_probs_BS[row, : len(episode.ids)].numpy(), episode.log_probs
        )
        assert np.array_equal(
            batch.input_ids[row, : len(episode.ids)].numpy(), episode.ids
        )
        assert batch.input_ids[row, len(episode.ids) :].tolist() == [0] * (
            width - len(episode.ids)
        )


@given(episodes, st.integers(1, 60), st.randoms(use_true_random=False))
def test_packing_is_a_partition_within_budget_and_ignores_order(
    some: list[Episode], budget: int, random: object
) -> None:
    rollout = Rollout(some)
    rows = list(range(len(some)))
    packed = rollout.pack(np.array(rows), budget)
    assert sorted(np.concatenate(packed).tolist()) == rows
    for batch in packed:
        tokens = len(pack_tokens(rollout.token_batch(batch, CPU)))
        assert tokens <= budget or len(batch) == 1
    random.shuffle(rows)  # type: ignore[attr-defined]
    again = rollout.pack(np.array(rows), budget)
    assert [b.tolist() for b in again] == [b.tolist() for b in packed]


def test_a_shared_prompt_is_paid_once_a_micro_batch() -> None:
    prompt, reply = np.arange(10), np.array([50, 51])

    def say(first: int) -> Episode:
        ids = np.concatenate([prompt + first, reply])
        mask = np.arange(12) >= 10
        return replace(
            make_episode([2]),
            ids=ids,
            action_mask=mask,
            log_probs=np.zeros(12, dtype=np.float32),
            turn_index=np.where(mask, 0, -1),
        )

    rollout = Rollout([say(0), say(7), say(0), say(7), say(0)])
    # 10 + 3 * 2 tokens of one prompt, 10 + 2 * 2 of the other.
    rows = np.arange(5)
    assert [b.tolist() for b in rollout.pack(rows, 30)] == [[0, 2, 4, 1, 3]]
    assert [b.tolist() for b in rollout.pack(rows, 29)] == [[0, 2, 4, 1], [3]]
    assert [b.tolist() for b in rollout.pack(rows, 14)] == [[0, 2], [4], [1, 3]]
    assert [b.tolist() for b in rollout.pack(rows, 5)] == [[0], [2], [4], [1], [3]]


def test_rows_of_the_action_axis_equal_the_axis_of_those_rows() -> None:
    rollout = Rollout([make_episode([4]), make_episode([2, 1]), make_episode([1])])
    some = rollout.actions(CPU).rows(np.array([2, 1]))
    alone = Rollout([rollout.episodes[2], rollout.episodes[1]]).actions(CPU)
    for name in ("positions", "mask", "log_probs", "turn", "is_turn_end", "lengths"):
        assert torch.equal(getattr(some, name), getattr(alone, name)), name


def test_an_unknown_reward_is_no_zero() -> None:
    episode = replace(
        make_episode([1, 1]),
        rewards=np.array([1.0, np.nan]),
        reward_valid=np.array([True, False]),
    )
    assert np.isnan(episode.total_reward) and not episode.is_known
    rollout = Rollout([episode, make_episode([1])])
    assert rollout.reward_valid(CPU).tolist() == [[True, False], [True, True]]
    assert rollout.rewards(CPU).isfinite().all()


def test_only_a_truncated_episode_bootstraps() -> None:
    ends = [(True, False), (False, True), (True, True)]
    rollout = Rollout(
        [replace(make_episode([1]), terminated=a, truncated=b) for a, b in ends]
    )
    assert rollout.bootstraps(CPU).tolist() == [False, True, False]


def test_shuffled_rewards_keep_the_returns_and_lose_their_owners() -> None:
    some = [
        replace(make_episode([1, 1]), rewards=np.array([1.0, float(i)]))
        for i in range(20)
    ]
    shuffled = Rollout(some).with_shuffled_rewards(np.random.default_rng(0))
    before = [e.total_reward for e in some]
    after = [e.total_reward for e in shuffled]
    assert sorted(after) == sorted(before) and after != before
    assert all(e.rewards[0] == 0 for e in shuffled)


def test_shuffled_rewards_hold_no_signal_for_or_against_their_owner() -> None:
    # One of four episodes earns 1; over many shuffles each place is paid the mean, 1/4.
    some = [
        replace(make_episode([1]), rewards=np.array([float(i == 0)])) for i in range(4)
    ]
    rng, rollout = np.random.default_rng(0), Rollout(some)
    paid = [
        [e.total_reward for e in rollout.with_shuffled_rewards(rng)]
        for _ in range(2000)
    ]
    # Four standard errors of a share of 1/4 in 2000.
    assert np.mean(paid, axis=0) == pytest.approx([0.25] * 4, abs=0.04)


def test_records_refuse_what_does_not_fit() -> None:
    episode = make_episode([2, 1])
    with pytest.raises(ValueError, match="log_probs has shape"):
        replace(episode, log_probs=episode.log_probs[:-1])
    with pytest.raises(ValueError, match="every turn needs"):
        replace(episode, rewards=np.zeros(3), reward_valid=np.ones(3, dtype=np.bool_))
    with pytest.raises(ValueError, match="must not decrease"):
        replace(episode, turn_index=np.array([-1, -1, 1, 0, -1, -1, 1, -1]))
    with pytest.raises(ValueError, match="at least one episode"):
        Rollout([])
    with pytest.raises(ValueError, match="token_budget"):
        Rollout([episode]).pack(np.array([0]), 0)
