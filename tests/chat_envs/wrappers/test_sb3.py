from __future__ import annotations

import warnings

import gymnasium
import pytest

from chat_envs.registration import registrations
from chat_envs.wrappers import TokenActions
from tests.chat_envs.toy import SayIt

stable_baselines3 = pytest.importorskip("stable_baselines3")
env_checker = pytest.importorskip("stable_baselines3.common.env_checker")


def test_stable_baselines3s_checker_passes_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env_checker.check_env(TokenActions(SayIt()))


@pytest.mark.parametrize("env_id", [r.id for r in registrations()])
def test_stable_baselines3s_checker_passes_on_every_id(env_id: str) -> None:
    env = TokenActions(gymnasium.make(env_id))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env_checker.check_env(env)


def test_an_unmodified_ppo_runs() -> None:
    env = TokenActions(SayIt(reply_length=4, context_length=80))
    model = stable_baselines3.PPO(
        "MultiInputPolicy",
        env,
        n_steps=16,
        batch_size=8,
        n_epochs=1,
        seed=0,
        device="cpu",
    )
    before = [p.detach().clone() for p in model.policy.parameters()]
    model.learn(32)
    assert model.num_timesteps == 32
    changed = [bool((p != q).any()) for p, q in zip(model.policy.parameters(), before)]
    assert any(changed)
    observation, _ = env.reset(seed=0)
    action, _ = model.predict(observation)
    assert env.action_space.contains(int(action))
