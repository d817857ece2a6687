"""A turn's cost is measured on dialogues that nobody has played before."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.stepping import NUM_ENVS, STEPS, _make, _script, expert_steps


def test_a_measurement_is_a_time_a_turn() -> None:
    measure = expert_steps("chat_envs/Echo-easy-v0")
    assert 0 < measure() < 1


def test_turns_are_counted_without_the_steps_that_reset() -> None:
    env: Any = _make("chat_envs/Echo-easy-v0")  # one turn an episode, and then a reset
    actions, num_turns = _script(env, 0)
    assert len(actions) == STEPS
    assert num_turns == NUM_ENVS * STEPS // 2


def test_another_seed_is_another_script_and_the_same_seed_the_same() -> None:
    env: Any = _make("chat_envs/GuessNumber-v0")
    first, again, other = (np.stack(_script(env, seed)[0]) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_script_plays_the_same_in_another_environment() -> None:
    scripted, env = _make("chat_envs/GuessNumber-v0"), _make("chat_envs/GuessNumber-v0")
    actions, num_turns = _script(scripted, 3)
    env.reset(seed=3)
    played = 0
    for action in actions:
        played += sum(not e.is_over for e in env.envs)
        env.step(action)
    assert played == num_turns
