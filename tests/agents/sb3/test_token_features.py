"""The features extractor: ids survive the cast to floats, and a policy learns from them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

pytest.importorskip("stable_baselines3")

from stable_baselines3 import PPO  # noqa: E402
from stable_baselines3.common.evaluation import evaluate_policy  # noqa: E402
from stable_baselines3.common.preprocessing import preprocess_obs  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv  # noqa: E402

from agents.evaluation import Interval  # noqa: E402
from agents.sb3 import (  # noqa: E402
    ChatVecEnv,
    TokenFeaturesExtractor,
    evaluate_sb3,
)
from agents.sb3.randomness import lent_randomness  # noqa: E402
from agents.sb3.token_features import MAX_EXACT_IDS  # noqa: E402
from chat_envs.wrappers import TokenActions  # noqa: E402

BANDIT = "chat_envs/KeywordBandit-v0"
ECHO = "chat_envs/Echo-easy-v0"


def space(num_ids: int, capacity: int = 8) -> spaces.Dict:
    return spaces.Dict(
        {
            "input_ids": spaces.Box(0, num_ids - 1, (capacity,), np.int64),
            "attention_mask": spaces.MultiBinary(capacity),
        }
    )


def observation(rows: list[list[int]], capacity: int = 8) -> dict[str, torch.Tensor]:
    ids = torch.zeros(len(rows), capacity, dtype=torch.int64)
    mask = torch.zeros(len(rows), capacity, dtype=torch.int8)
    for row, given in enumerate(rows):
        ids[row, : len(given)] = torch.tensor(given)
        mask[row, : len(given)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def cast(rows: list[list[int]], of: spaces.Dict) -> dict[str, torch.Tensor]:
    """Return observations as Stable-Baselines3 hands them to an extractor."""
    shape = of["input_ids"].shape
    assert shape is not None
    seen = preprocess_obs(observation(rows, shape[0]), of)
    assert isinstance(seen, dict) and seen["input_ids"].dtype == torch.float32
    return seen


def build(of: spaces.Dict, **kwargs: Any) -> TokenFeaturesExtractor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TokenFeaturesExtractor(of, **kwargs)


def test_the_last_ids_come_back_exactly_from_the_end() -> None:
    of = space(MAX_EXACT_IDS)
    extractor = build(space(9), length=4)
    high = MAX_EXACT_IDS - 1
    rows = [[5, high, high - 1, 7, high - 2], [high]]
    ids, is_seen = extractor.last_ids(cast(rows, of))
    assert ids[0].tolist() == [high - 2, 7, high - 1, high]
    assert ids[1, 0] == high
    assert is_seen.tolist() == [[True] * 4, [True, False, False, False]]


def test_a_place_where_nothing_is_looks_like_no_id() -> None:
    of = space(4)
    extractor = build(of, length=3, width=2)
    features = extractor(cast([[], [0], [3]], of)).view(3, 3, 2)
    nothing = features[0, 0]
    assert torch.equal(features[0], nothing.expand(3, 2))
    assert torch.equal(features[1:, 1:], nothing.expand(2, 2, 2))
    for id in range(4):
        assert not torch.equal(extractor.embedding.weight[id], nothing)


def test_more_places_than_a_context_has_are_empty() -> None:
    of = space(50, capacity=3)
    features = build(of, length=5, width=2)(cast([[7, 8, 9]], of))
    assert features.shape == (1, 10) and torch.equal(features[0, 6:8], features[0, 8:])


def test_more_ids_than_floats_tell_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="float32"):
        TokenFeaturesExtractor(space(MAX_EXACT_IDS + 1), width=4)


def test_padding_and_what_lies_too_far_back_change_nothing() -> None:
    of = space(50)
    extractor = build(of, length=3, width=8)
    plain = extractor(cast([[1, 2, 3]], of))
    assert torch.allclose(plain, extractor(cast([[9, 9, 1, 2, 3]], of)), atol=1e-6)
    padded = cast([[1, 2, 3]], of)
    padded["input_ids"][0, 3:] = 42
    assert torch.equal(plain, extractor(padded))
    assert plain.shape == (1, extractor.features_dim)


def test_each_id_and_its_place_count() -> None:
    of = space(50)
    extractor = build(of, length=4, width=8)
    rows = [[1, 2, 3], [2, 1, 3], [1, 2, 4], [5, 2, 3], [2, 3]]
    features = extractor(cast(rows, of))
    for one in range(len(rows)):
        for other in range(one):
            assert not torch.allclose(features[one], features[other], atol=1e-3)


def test_an_empty_context_has_finite_features() -> None:
    of = space(50)
    assert build(of)(cast([[]], of)).isfinite().all()


@pytest.mark.parametrize("wrong", [{"length": 0}, {"width": 0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        TokenFeaturesExtractor(space(50), **wrong)


def test_another_observation_is_refused() -> None:
    flat = gymnasium.wrappers.FlattenObservation(gymnasium.make(BANDIT))
    with pytest.raises(ValueError, match="MultiInputPolicy"):
        TokenFeaturesExtractor(flat.observation_space)


def fraction_solved(
    kind: str, env_id: str, num_steps: int, split: str = "test", **env_kwargs: Any
) -> Interval:
    """Return the success of PPO that sees the context in some way."""
    policy_kwargs: dict[str, Any] = {}
    if kind == "TokenFeaturesExtractor":
        policy_kwargs = {
            "features_extractor_class": TokenFeaturesExtractor,
        }
    with lent_randomness(0, torch.device("cpu")):
        model = PPO(
            "MultiInputPolicy",
            ChatVecEnv(env_id, 64, vocabulary="candidates", **env_kwargs),
            n_steps=8,
            batch_size=256,
            n_epochs=6,
            learning_rate=3e-3,
            ent_coef=0.02,
            gamma=1.0,
            seed=0,
            device="cpu",
            policy_kwargs=policy_kwargs,
        ).learn(num_steps)
    result = evaluate_sb3(
        model, env_id, split=split, vocabulary="candidates", env_kwargs=env_kwargs
    )
    return result.success_interval()


def test_ppo_learns_a_bandit_with_it_and_not_from_ids_as_numbers() -> None:
    solved = {
        kind: fraction_solved(kind, BANDIT, 8_192, reply_length=1)
        for kind in ("TokenFeaturesExtractor", "MultiInputPolicy")
    }
    assert solved["TokenFeaturesExtractor"].low > 0.9
    assert solved["MultiInputPolicy"].high < 0.3  # one keyword of eight


@pytest.mark.slow
def test_ppo_learns_to_repeat_a_word_with_it_and_not_from_ids_as_numbers() -> None:
    # Held-out goals are words never heard in training, which a policy without language cannot say.
    kwargs: dict[str, Any] = {"min_words": 1, "max_words": 1, "reply_length": 2}
    solved = {
        kind: fraction_solved(kind, ECHO, 49_152, split="train", **kwargs)
        for kind in ("TokenFeaturesExtractor", "MultiInputPolicy")
    }
    assert solved["TokenFeaturesExtractor"].mean >= 0.9
    assert solved["MultiInputPolicy"].high < 0.3  # one word of twelve


def test_an_mlp_policy_learns_nothing_from_flattened_ids() -> None:
    def make() -> gymnasium.Env[Any, Any]:
        env = gymnasium.make(BANDIT, reply_length=1)
        return gymnasium.wrappers.FlattenObservation(TokenActions(env, "candidates"))

    with lent_randomness(0, torch.device("cpu")):
        env = DummyVecEnv([make] * 64)
        model = PPO(
            "MlpPolicy",
            env,
            n_steps=8,
            batch_size=256,
            n_epochs=6,
            learning_rate=3e-3,
            ent_coef=0.02,
            seed=0,
            device="cpu",
        ).learn(8_192)
        env.seed(1)
        mean, _ = evaluate_policy(model, env, 200, deterministic=False, warn=False)
    assert isinstance(mean, float) and mean < 0.3
