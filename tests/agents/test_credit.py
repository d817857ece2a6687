"""Which token is paid how much, worked out a second time without tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from agents.credit import CreditRule, returns_of
from agents.experience.rollout import Episode, Rollout

CPU = torch.device("cpu")
DISCOUNT = 0.5


def episode(group: int, rewards: list[float], lengths: list[int]) -> Episode:
    """Return a dialogue whose replies have those lengths, a user's token before each."""
    turns = [[-1] + [turn] * length for turn, length in enumerate(lengths)]
    turn_index = np.array([t for turn in turns for t in turn])
    return Episode(
        seed=group,
        group=group,
        ids=np.arange(len(turn_index)),
        action_mask=turn_index >= 0,
        log_probs=np.zeros(len(turn_index), dtype=np.float32),
        turn_index=turn_index,
        rewards=np.array(rewards),
        reward_valid=np.ones(len(rewards), dtype=np.bool_),
        terminated=True,
        truncated=False,
        success=True,
        reply_lengths=np.array(lengths),
        reply_cut=np.zeros(len(lengths), dtype=np.bool_),
    )


ROLLOUT = Rollout(
    [
        episode(0, [1.0, 4.0], [2, 1]),
        episode(0, [3.0], [3]),
        episode(1, [0.0, 2.0, 8.0], [1, 1, 2]),
        episode(1, [1.0, 1.0], [1, 4]),
    ]
)


def advantages(
    rollout: Rollout = ROLLOUT, price: torch.Tensor | None = None, **fields: Any
) -> list[npt.NDArray[np.float32]]:
    """Return the advantages of each episode's tokens."""
    values = {"credit": "turn", "baseline": "none", "scale": "none"} | fields
    actions = rollout.actions(CPU)
    rule = CreditRule(discount=DISCOUNT, **values)  # type: ignore[arg-type]
    found, mask = rule.advantages(rollout, actions, rollout.rewards(CPU), price)
    assert not (found * ~mask).any()
    return [found[n, : int(k)].numpy() for n, k in enumerate(actions.lengths)]


def per_token(values: list[list[float]]) -> list[list[float]]:
    """Return the value of its turn for each token of the rollout."""
    return [
        [value[t] for t in e.turn_index[e.action_mask]]
        for value, e in zip(values, ROLLOUT, strict=True)
    ]


def check(found: list[npt.NDArray[np.float32]], expected: list[list[float]]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert a.tolist() == pytest.approx(b, abs=1e-5)


def test_a_turn_is_paid_what_follows_and_an_episode_all_of_it() -> None:
    to_go = [[3.0, 4.0], [3.0], [3.0, 6.0, 8.0], [1.5, 1.0]]
    check(advantages(), per_token(to_go))
    whole = [[value[0]] * len(value) for value in to_go]
    check(advantages(credit="episode"), per_token(whole))


def test_returns_say_what_is_known() -> None:
    valid = torch.tensor([[True, False], [True, True]])
    rewards = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    _, known = returns_of(rewards, valid, credit="turn", discount=1.0)
    assert known.tolist() == [[False, False], [True, True]]
    valid = torch.tensor([[False, True], [True, True]])
    returns, known = returns_of(rewards, valid, credit="turn", discount=1.0)
    assert known.tolist() == [[False, True], [True, True]]
    returns, known = returns_of(rewards, valid, credit="episode", discount=1.0)
    assert known.tolist() == [[False, False], [True, True]]
    assert returns.tolist() == [[1.0, 1.0], [3.0, 3.0]]


def test_grpo_of_whole_episodes_by_hand() -> None:
    # Returns 3 and 3: nothing. 3 and 1.5: mean 2.25, sample deviation 0.75 * sqrt(2).
    root = np.sqrt(0.5)
    expected = [[0.0, 0.0], [0.0], [root] * 3, [-root] * 2]
    found = advantages(credit="episode", baseline="group_mean", scale="group_std")
    check(found, per_token(expected))


def test_reinforce_pp_whitens_over_tokens_and_return_batch_over_turns() -> None:
    to_go = [[3.0, 4.0], [3.0], [3.0, 6.0, 8.0], [1.5, 1.0]]
    tokens = np.concatenate(per_token(to_go))
    found = advantages(scale="batch")
    check(
        found,
        [list((np.array(x) - tokens.mean()) / tokens.std()) for x in per_token(to_go)],
    )
    turns = np.concatenate(to_go)
    found = advantages(scale="return_batch")
    check(
        found,
        [list((np.array(x) - turns.mean()) / turns.std()) for x in per_token(to_go)],
    )
    assert abs(tokens.mean() - turns.mean()) > 0.1  # the two are not the same here


def test_a_turn_that_was_not_played_enters_no_return_batch() -> None:
    one = advantages(Rollout([ROLLOUT.episodes[1]] * 2), scale="return_batch")
    assert np.concatenate(one).tolist() == pytest.approx([0.0] * 6, abs=1e-6)
    short = Rollout([ROLLOUT.episodes[1], ROLLOUT.episodes[2]])
    found = np.unique(np.concatenate(advantages(short, scale="return_batch")))
    turns = np.array([3.0, 3.0, 6.0, 8.0])  # and no zeros
    expected = (np.array([3.0, 6.0, 8.0]) - turns.mean()) / turns.std()
    assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-5)


PRICE = torch.zeros(4, 5)
PRICE[0, :3] = torch.tensor([0.1, 0.2, 0.4])  # two tokens of turn 0, one of turn 1
PRICE[3, 1:5] = 0.1


def test_a_turn_pays_the_price_of_all_its_tokens() -> None:
    free, paid = advantages(), advantages(price=PRICE)
    # Episode 0: 0.3 in turn 0 and half of 0.4, which comes a turn later.
    assert (free[0] - paid[0]).tolist() == pytest.approx([0.5, 0.5, 0.4])
    assert (free[3] - paid[3]).tolist() == pytest.approx([0.2] + [0.4] * 4)
    assert (free[1] - paid[1]).tolist() == [0.0] * 3


def test_by_token_a_token_pays_for_itself_and_what_follows() -> None:
    free, paid = advantages(), advantages(price=PRICE, credit="token")
    # 0.1 + 0.2 + 0.4 / 2, 0.2 + 0.4 / 2, 0.4: the discount acts once a turn.
    assert (free[0] - paid[0]).tolist() == pytest.approx([0.5, 0.4, 0.4])
    expected = [0.5 * 0.4, 0.4, 0.3, 0.2, 0.1]
    assert (free[3] - paid[3]).tolist() == pytest.approx(expected)


def test_by_token_the_price_enters_no_baseline() -> None:
    rule = {"credit": "token", "baseline": "leave_one_out"}
    free, paid = advantages(**rule), advantages(price=PRICE, **rule)
    for n in (1, 2):  # the others of their groups paid, they did not
        assert free[n].tolist() == paid[n].tolist()
    rule["credit"] = "turn"
    free, paid = advantages(**rule), advantages(price=PRICE, **rule)
    assert (paid[1] - free[1]).tolist() == pytest.approx([0.5] * 3)


def test_without_a_price_a_token_is_paid_as_its_turn() -> None:
    check(advantages(credit="token"), [x.tolist() for x in advantages()])


def test_an_unknown_reward_has_no_advantage_whatever_the_scale() -> None:
    broken = replace(
        ROLLOUT.episodes[2],
        rewards=np.array([0.0, np.nan, 8.0]),
        reward_valid=np.array([True, False, True]),
    )
    episodes = [*ROLLOUT.episodes[:2], broken, ROLLOUT.episodes[3]]
    for scale in ("none", "batch", "return_batch"):
        found = advantages(Rollout(episodes), scale=scale)
        assert found[2][:2].tolist() == [0.0, 0.0]
        assert (found[2][2:] != 0).all() and np.isfinite(np.concatenate(found)).all()
