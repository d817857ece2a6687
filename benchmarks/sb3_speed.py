"""What tokens cost Stable-Baselines3: its PPO on a chat environment beside its PPO on plain floats.

    python -m benchmarks.sb3_speed

Tokens: `ChatVecEnv`, a dialogue in each environment, one token a timestep, contexts seen by
`TokenFeaturesExtractor`. Floats: as many Gymnasium environments in a `DummyVecEnv`, with a `Box`
observation of as many numbers as the token observation has (ids and mask), random numbers of the
environment's own, as many actions, episodes of the length of a full reply, and "MlpPolicy". Both
with the same hyperparameters, Stable-Baselines3's own but for the length of a rollout. A timestep
is all that `learn` does: acting, the environment, the buffer, the gradient steps.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Mapping, SupportsIndex

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents.sb3 import ChatVecEnv, TokenFeaturesExtractor
from agents.sb3.randomness import lent_randomness
from benchmarks.measurement import (
    Comparison,
    check_pairs,
    compare,
    pairs_parser,
    write_result,
)

__all__ = ["PlainBox", "main", "plain_twin", "row_of", "timesteps"]

TASKS = (
    ("chat_envs/Echo-easy-v0", "all"),
    ("chat_envs/Echo-easy-v0", "candidates"),
    ("chat_envs/CustomerService-easy-v0", "all"),
)
NUM_ENVS, ROLLOUT = 16, 64
GOAL = 0.85
"""Timesteps a second on tokens over those on floats, at least."""


class PlainBox(gymnasium.Env[npt.NDArray[np.float32], SupportsIndex]):
    """Random numbers, a reward of 0, episodes of one length.

    Args:
        size: numbers in an observation.
        num_actions: how many there are.
        length: steps of an episode.
    """

    def __init__(self, size: int, num_actions: int, length: int) -> None:
        self.observation_space = spaces.Box(0, 1, (size,), np.float32)
        self.action_space: spaces.Discrete = spaces.Discrete(num_actions)
        self._length = length
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self._step = 0
        return self._draw(), {}

    def step(
        self, action: SupportsIndex
    ) -> tuple[npt.NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Draw the next numbers."""
        self._step += 1
        return self._draw(), 0.0, self._step >= self._length, False, {}

    def _draw(self) -> npt.NDArray[np.float32]:
        shape = self.observation_space.shape
        return self.np_random.random(shape, dtype=np.float32)


def plain_twin(env: ChatVecEnv) -> DummyVecEnv:
    """Return as many environments of floats, with as many numbers and actions."""
    size = spaces.flatdim(env.observation_space)
    assert isinstance(env.action_space, spaces.Discrete)
    num_actions = int(env.action_space.n)
    length = env.vector.envs[0].reply_length
    return DummyVecEnv(
        [lambda: PlainBox(size, num_actions, length) for _ in range(env.num_envs)]
    )


def timesteps(
    policy: str,
    env: VecEnv,
    num_rollouts: int = 1,
    **policy_kwargs: Any,
) -> Callable[[], float]:
    """Return a measurement of seconds a timestep of `learn`."""
    device = torch.device("cpu")
    with lent_randomness(0, device):
        model = PPO(
            policy,
            env,
            n_steps=ROLLOUT,
            seed=0,
            device=device,
            policy_kwargs=policy_kwargs,
        )
    num_timesteps = num_rollouts * ROLLOUT * env.num_envs

    def measure() -> float:
        with lent_randomness(0, device):
            start = time.perf_counter()
            model.learn(num_timesteps)
            return (time.perf_counter() - start) / num_timesteps

    return measure


def row_of(result: Comparison) -> dict[str, float]:
    """Return the ratio of speeds, tokens over floats, with its spread, and both speeds."""
    median, low, high = result.ratio(
        "floats", "tokens"
    )  # of seconds: the other way round
    return {
        "speed_ratio": round(median, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "tokens_a_second": round(1 / result.median("tokens"), 1),
        "floats_a_second": round(1 / result.median("floats"), 1),
    }


def _measure(env_id: str, vocabulary: str, num_pairs: int) -> Mapping[str, float]:
    env = ChatVecEnv(env_id, NUM_ENVS, vocabulary=vocabulary)
    sides = {
        "tokens": timesteps(
            "MultiInputPolicy", env, features_extractor_class=TokenFeaturesExtractor
        ),
        "floats": timesteps("MlpPolicy", plain_twin(env)),
    }
    row = row_of(compare(sides, num_pairs))
    print(
        f"{env_id:34s} {vocabulary:11s} {row['tokens_a_second']:7.0f} tokens a second, "
        f"{row['floats_a_second']:7.0f} on floats: {row['speed_ratio']:.2f} "
        f"({row['low']:.2f} to {row['high']:.2f}), at least {GOAL}",
        flush=True,
    )
    return row


def main() -> None:
    """Measure, print a table and write the dated result."""
    arguments = pairs_parser(__doc__).parse_args()
    check_pairs(arguments.pairs)
    torch.set_num_threads(1)
    rows = {
        f"{env_id} {vocabulary}": _measure(env_id, vocabulary, arguments.pairs)
        for env_id, vocabulary in TASKS
    }
    if arguments.write:
        settings = {"num_envs": NUM_ENVS, "rollout": ROLLOUT, "goal": GOAL}
        print(write_result("sb3_speed", settings | {"rows": rows}))


if __name__ == "__main__":
    main()
