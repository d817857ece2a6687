"""`info` of many episodes says, column by column, what `info` of each says."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

from chat_envs.core import ChatEnv, Turn
from chat_envs.core.info import describe_all, describe_one
from tests.chat_envs.toy import SayIt


class Early(SayIt):
    """The toy, whose every turn is a success, though only the last one ends the task."""

    def _respond(self, reply: str) -> Turn:
        return dataclasses.replace(super()._respond(reply), success=True)


def not_red(reply: str) -> float:
    if reply == "red":
        raise ValueError("red is not scored")
    return float(len(reply))


def after_turns(num_turns: int, reply: str, **kwargs: Any) -> ChatEnv:
    env = Early(**kwargs)
    env.reset(seed=num_turns)
    for _ in range(num_turns):
        env.step(env.encode(reply or env.expert_reply()))
    return env


def row_of(columns: dict[str, Any], i: int) -> dict[str, Any]:
    """Return row i of columns as Python's own scalars."""
    return {
        key: (
            row_of(column, i)
            if isinstance(column, dict)
            else np.asarray(column[i], column.dtype).item()
        )
        for key, column in columns.items()
    }


def test_many_episodes_are_described_as_each_of_them_is() -> None:
    reward = {"task": 1.0, not_red: 0.5}
    cases = list(itertools.product((0, 1, 2, 3), ("", "red", "blue and more")))
    envs = [after_turns(*case, reward=reward, on_error="mask") for case in cases]
    # Each situation is there: before a turn, within and after an episode, a reward that failed.
    assert {env.turn for env in envs} == {0, 1, 2, 3}
    assert {env.is_over for env in envs} == {True, False}
    columns = describe_all(envs)
    assert not columns["reward_valid"].all() and columns["reward_valid"].any()
    assert not columns["success"].all() and columns["success"].any()
    for i, env in enumerate(envs):
        alone = describe_one(env)
        assert row_of(columns, i) == alone
        assert list(columns) == list(alone)


def test_columns_have_the_types_of_their_scalars() -> None:
    columns = describe_all([after_turns(1, ""), after_turns(3, "red")])
    nested = columns["reward_components"] | columns["metrics"]
    assert {c.dtype for c in nested.values()} == {np.dtype(np.float64)}
    kinds = {k: c.dtype.kind for k, c in columns.items() if not isinstance(c, dict)}
    assert kinds == {
        "turn": "i",
        "success": "b",
        "termination_reason": "O",
        "gold_reward": "f",
        "reward_valid": "b",
        "reply_text": "O",
    }
