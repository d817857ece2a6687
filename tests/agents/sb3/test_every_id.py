"""Every id of the suite runs every algorithm as Stable-Baselines3 ships it, one token a step."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

import chat_envs
from chat_envs.wrappers import TokenActions

pytest.importorskip("stable_baselines3")
sb3_contrib = pytest.importorskip("sb3_contrib")

from stable_baselines3 import A2C, DQN, PPO  # noqa: E402
from stable_baselines3.common.base_class import BaseAlgorithm  # noqa: E402
from stable_baselines3.common.env_util import make_vec_env  # noqa: E402
from stable_baselines3.common.vec_env import VecEnv  # noqa: E402

from agents.sb3 import TokenFeaturesExtractor  # noqa: E402

IDS = [registration.id for registration in chat_envs.registrations()]
_PPO: dict[str, Any] = {"n_steps": 4, "batch_size": 8, "n_epochs": 1}
RUNS: dict[str, tuple[type[BaseAlgorithm], str, dict[str, Any]]] = {
    "A2C": (A2C, "MultiInputPolicy", {"n_steps": 4}),
    "DQN": (
        DQN,
        "MultiInputPolicy",
        {"learning_starts": 2, "batch_size": 4, "buffer_size": 32, "train_freq": 2},
    ),
    "MaskablePPO": (sb3_contrib.MaskablePPO, "MultiInputPolicy", _PPO),
    "PPO": (PPO, "MultiInputPolicy", _PPO),
    "RecurrentPPO": (sb3_contrib.RecurrentPPO, "MultiInputLstmPolicy", _PPO),
}


def train(name: str, env: VecEnv, num_steps: int) -> tuple[BaseAlgorithm, torch.Tensor]:
    """Return the trained model and how it began."""
    class_, policy, keywords = RUNS[name]
    policy_kwargs: dict[str, Any] = {
        "features_extractor_class": TokenFeaturesExtractor,
        "features_extractor_kwargs": {"length": 8, "width": 8},
    }
    if "Lstm" in policy:
        policy_kwargs["lstm_hidden_size"] = 8
    build: Any = class_
    model: BaseAlgorithm = build(
        policy, env, seed=0, device="cpu", policy_kwargs=policy_kwargs, **keywords
    )
    before = torch.nn.utils.parameters_to_vector(model.policy.parameters()).clone()
    return model.learn(num_steps), before


@pytest.fixture(autouse=True)
def _generators_are_given_back() -> Any:
    numpy = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        yield
    np.random.set_state(numpy)


@pytest.mark.parametrize("name", sorted(RUNS))
@pytest.mark.parametrize("env_id", IDS)
def test_it_runs_as_it_is(env_id: str, name: str) -> None:
    env = make_vec_env(env_id, n_envs=2, seed=0, wrapper_class=TokenActions)
    model, before = train(name, env, 8)
    after = torch.nn.utils.parameters_to_vector(model.policy.parameters())
    assert model.num_timesteps >= 8
    assert after.isfinite().all() and not torch.equal(before, after)
    env.close()


def test_masked_ppo_never_says_an_id_that_ends_no_turn() -> None:
    env_id = IDS[0]
    made = TokenActions(gymnasium.make(env_id))
    legal = made.action_masks()
    # Few legal ids, so that one of the others would be said by chance.
    ids = [*np.flatnonzero(~legal).tolist(), *np.flatnonzero(legal)[:2].tolist()]
    env = make_vec_env(
        env_id,
        n_envs=2,
        seed=0,
        wrapper_class=TokenActions,
        wrapper_kwargs={"vocabulary": ids},
    )
    may = env.env_method("action_masks")[0]
    assert may.sum() == 2 and (~may).sum() >= 2
    for name, is_masked in (("MaskablePPO", True), ("PPO", False)):
        model, _ = train(name, env, 64)
        said: list[bool] = []
        env.seed(0)
        seen = env.reset()
        for _ in range(50):
            masks = (
                {"action_masks": env.env_method("action_masks")} if is_masked else {}
            )
            predict: Any = model.predict
            actions, _ = predict(seen, **masks)
            said += may[actions].tolist()
            seen = env.step(actions)[0]
        assert all(said) == is_masked
        buffer: Any = vars(model)["rollout_buffer"]
        assert may[buffer.actions.astype(int)].all() == is_masked
