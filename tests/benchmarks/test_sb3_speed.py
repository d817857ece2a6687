"""The two sides of the comparison are alike in all but what is compared."""

from __future__ import annotations

import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

pytest.importorskip("stable_baselines3")

from agents.sb3 import ChatVecEnv  # noqa: E402
from benchmarks.measurement import Comparison  # noqa: E402
from benchmarks.sb3_speed import (  # noqa: E402
    ROLLOUT,
    PlainBox,
    plain_twin,
    row_of,
    timesteps,
)

ECHO = "chat_envs/Echo-easy-v0"


def test_a_ratio_of_speeds_is_that_of_seconds_upside_down() -> None:
    result = Comparison({"tokens": [0.2, 0.4, 0.5], "floats": [0.1, 0.4, 0.4]})
    assert row_of(result) == {
        "speed_ratio": 0.8,
        "low": 0.5,
        "high": 1.0,
        "tokens_a_second": 2.5,
        "floats_a_second": 2.5,
    }


def test_the_twin_has_as_many_numbers_actions_and_environments() -> None:
    env = ChatVecEnv(ECHO, 3, vocabulary="candidates")
    twin = plain_twin(env)
    size = spaces.flatdim(env.observation_space)
    assert size == 2 * env.vector.context_length
    assert twin.observation_space.shape == (size,)
    assert twin.action_space == env.action_space and twin.num_envs == 3
    assert isinstance(twin.envs[0], PlainBox) and twin.envs[0] is not twin.envs[1]


def test_plain_numbers_are_an_environment_with_episodes_of_one_length() -> None:
    env = PlainBox(4, 3, length=2)
    check_env(env, skip_render_check=True)
    env.reset(seed=0)
    assert [env.step(0)[2] for _ in range(2)] == [False, True]


def test_what_is_measured_is_learning() -> None:
    env = ChatVecEnv(ECHO, 1, vocabulary="candidates")
    seen: list[int] = []
    step = env.step_wait

    def counted() -> object:
        seen.append(1)
        return step()

    env.step_wait = counted  # type: ignore[method-assign, assignment]
    assert timesteps("MultiInputPolicy", env)() > 0
    assert len(seen) == ROLLOUT
