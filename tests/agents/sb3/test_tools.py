"""What Stable-Baselines3 brings beside algorithms: evaluation, callbacks, vector wrappers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")

import gymnasium  # noqa: E402
from stable_baselines3 import PPO  # noqa: E402
from stable_baselines3.common.callbacks import (  # noqa: E402
    CheckpointCallback,
    EvalCallback,
    StopTrainingOnRewardThreshold,
)
from stable_baselines3.common.env_checker import check_env  # noqa: E402
from stable_baselines3.common.env_util import make_vec_env  # noqa: E402
from stable_baselines3.common.evaluation import evaluate_policy  # noqa: E402
from stable_baselines3.common.monitor import Monitor  # noqa: E402
from stable_baselines3.common.vec_env import (  # noqa: E402
    VecCheckNan,
    VecEnv,
    VecMonitor,
    VecNormalize,
)

from agents.sb3 import (  # noqa: E402
    ChatVecEnv,
    TokenFeaturesExtractor,
    evaluate_sb3,
)
from agents.sb3.randomness import lent_randomness  # noqa: E402
from chat_envs.wrappers import TokenActions  # noqa: E402

ECHO, MASTERMIND = "chat_envs/Echo-easy-v0", "chat_envs/Mastermind-easy-v0"


@pytest.fixture(autouse=True)
def _generators_are_given_back() -> Any:
    with lent_randomness(0, torch.device("cpu")):
        yield


def make(env_id: str = ECHO, num_envs: int = 2, **kwargs: Any) -> ChatVecEnv:
    return ChatVecEnv(env_id, num_envs, vocabulary="candidates", **kwargs)


def build(env: VecEnv, **kwargs: Any) -> PPO:
    small = {
        "features_extractor_class": TokenFeaturesExtractor,
        "features_extractor_kwargs": {"length": 8, "width": 8},
    }
    settings = {"n_steps": 8, "batch_size": 8, "n_epochs": 1, "seed": 0} | kwargs
    return PPO("MultiInputPolicy", env, device="cpu", policy_kwargs=small, **settings)


@pytest.mark.filterwarnings("ignore:Your observation .* has an unconventional shape")
def test_its_own_checker_finds_nothing() -> None:
    check_env(TokenActions(gymnasium.make(ECHO)), warn=True)


def test_evaluate_policy_scores_whole_episodes() -> None:
    model = build(make(MASTERMIND))
    env = VecMonitor(make(MASTERMIND, 3))
    env.seed(0)
    returns, lengths = evaluate_policy(
        model, env, n_eval_episodes=6, return_episode_rewards=True
    )
    assert isinstance(returns, list) and isinstance(lengths, list)
    assert len(returns) == 6 and min(lengths) > 1
    # One environment alone, which a Monitor watches, as most tutorials have it.
    single = Monitor(TokenActions(gymnasium.make(MASTERMIND), "candidates"))
    mean, spread = evaluate_policy(model, single, n_eval_episodes=3)
    assert np.isfinite([mean, spread]).all()


def test_evaluate_policy_agrees_with_ours_on_the_same_seeds() -> None:
    model = build(make(reply_length=2)).learn(64)
    ours = evaluate_sb3(
        model,
        ECHO,
        num_episodes=4,
        split="train",
        is_greedy=True,
        vocabulary="candidates",
        env_kwargs={"reply_length": 2},
    )
    env = VecMonitor(make(num_envs=4, reply_length=2))
    env.seed(0)  # environments 0, 1, 2 and 3 begin with the seeds 0, 1, 2 and 3
    returns, lengths = evaluate_policy(
        model, env, n_eval_episodes=4, return_episode_rewards=True
    )
    assert isinstance(returns, list) and isinstance(lengths, list)
    assert sorted(returns) == sorted(ours.returns.tolist())
    assert sorted(lengths) == sorted(int(e.reply_lengths.sum()) for e in ours.rollout)


def test_checkpoints_are_written_and_read_again(tmp_path: Path) -> None:
    model = build(make())
    model.learn(64, callback=CheckpointCallback(save_freq=16, save_path=str(tmp_path)))
    names = sorted(path.name for path in tmp_path.glob("*.zip"))
    assert names == ["rl_model_32_steps.zip", "rl_model_64_steps.zip"]
    loaded = PPO.load(tmp_path / names[0], env=make(), device="cpu")
    assert loaded.num_timesteps == 32
    assert isinstance(loaded.policy.features_extractor, TokenFeaturesExtractor)
    loaded.learn(16, reset_num_timesteps=False)
    assert loaded.num_timesteps == 48


@pytest.mark.parametrize(("threshold", "is_stopped"), [(-1.0, True), (2.0, False)])
def test_an_evaluation_keeps_the_best_and_stops_at_a_threshold(
    tmp_path: Path, threshold: float, is_stopped: bool
) -> None:
    watch = EvalCallback(
        VecMonitor(make(num_envs=2, split="test")),
        callback_on_new_best=StopTrainingOnRewardThreshold(threshold, verbose=0),
        n_eval_episodes=4,
        eval_freq=8,
        best_model_save_path=str(tmp_path),
        log_path=str(tmp_path),
        verbose=0,
    )
    model = build(VecMonitor(make())).learn(64, callback=watch)
    assert (model.num_timesteps == 16) == is_stopped
    assert PPO.load(tmp_path / "best_model", device="cpu").num_timesteps == 16
    log = np.load(tmp_path / "evaluations.npz")
    assert log["results"].shape == (1 if is_stopped else 4, 4)


def test_vector_wrappers_see_what_happens() -> None:
    env = VecCheckNan(VecMonitor(make(num_envs=3)), raise_exception=True)
    model = build(env, n_steps=16).learn(96)
    assert len(model.ep_info_buffer or ()) > 0
    assert env.env_is_wrapped(TokenActions) == [True] * 3
    assert np.asarray(env.env_method("action_masks")).all()


def test_rewards_are_normalised_and_ids_are_not() -> None:
    env = VecNormalize(make(num_envs=2), norm_obs=False)
    env.seed(0)
    seen = env.reset()
    assert isinstance(seen, dict) and seen["input_ids"].dtype == np.int64
    build(env).learn(32)
    assert env.ret_rms.count > 16


def test_rewards_and_lengths_reach_the_monitor_file(tmp_path: Path) -> None:
    env = VecMonitor(
        make(num_envs=2), str(tmp_path / "log"), info_keywords=("success",)
    )
    build(env, n_steps=16).learn(64)
    env.close()
    lines = (tmp_path / "log.monitor.csv").read_text().splitlines()
    assert lines[1] == "r,l,t,success" and len(lines) > 4


def test_tools_that_make_environments_take_ours() -> None:
    env = make_vec_env(
        ECHO,
        n_envs=2,
        seed=0,
        wrapper_class=TokenActions,
        wrapper_kwargs={"vocabulary": "candidates"},
        env_kwargs={"render_mode": "ansi"},
    )
    assert build(env).learn(16).num_timesteps == 16
