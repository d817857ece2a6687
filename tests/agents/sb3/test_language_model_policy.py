"""A language model as a policy: the engine's own numbers, trained and kept by SB3."""

from __future__ import annotations

import copy
import zipfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")

from stable_baselines3 import A2C, PPO  # noqa: E402

from agents.engine.language_model import TokenBatch  # noqa: E402
from agents.engine.loading import load_lm  # noqa: E402
from agents.engine.local import LocalLM  # noqa: E402
from agents.evaluation import evaluate  # noqa: E402
from agents.sb3 import evaluate_sb3  # noqa: E402
from agents.sb3 import ChatVecEnv, LMActorCriticPolicy, LMSource  # noqa: E402
from tests.agents.toys import make_lm  # noqa: E402

ECHO = "chat_envs/Echo-easy-v0"
FORBIDDEN = (0, 2, 3)
# Random replies earn nothing: entropy gives the gradient.
SMALL: dict[str, Any] = {"n_steps": 8, "ent_coef": 0.1, "seed": 0, "device": "cpu"}


def small_ppo(lm: LocalLM, num_envs: int = 2, **kwargs: Any) -> PPO:
    with torch.random.fork_rng(devices=[]):
        return PPO(
            LMActorCriticPolicy,
            ChatVecEnv(ECHO, num_envs),
            policy_kwargs={"lm": LMSource(lm), "forbidden_ids": FORBIDDEN},
            **(
                SMALL | {"batch_size": 8, "n_epochs": 1, "learning_rate": 1e-3} | kwargs
            ),
        )


def learn(model: PPO, num_steps: int) -> PPO:
    with torch.random.fork_rng(devices=[]):
        return model.learn(num_steps)


def drafts(num_envs: int = 3) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return contexts of different lengths, in the middle of replies, and next tokens."""
    env = ChatVecEnv(ECHO, num_envs)
    env.seed(1)
    env.reset()
    env.step(np.array([50, 1, 70]))
    env.step(np.array([51, 61, 1]))
    seen = env.step(np.array([52, 62, 72]))[0]
    assert isinstance(seen, dict)
    assert len(set(seen["attention_mask"].sum(1).tolist())) > 1
    return seen, np.array([90, 1, 120])


def weights(lm: LocalLM) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(lm.network.parameters()).detach().clone()


def test_log_probs_entropy_and_values_are_the_engines_own() -> None:
    lm = make_lm()
    assert lm.network.value_head is not None
    with torch.no_grad():
        lm.network.value_head.weight.copy_(torch.linspace(-1, 1, 128))
    policy = small_ppo(lm).policy
    seen, actions = drafts()
    tensors, _ = policy.obs_to_tensor(seen)
    values, log_probs, entropy = policy.evaluate_actions(
        tensors, torch.from_numpy(actions)
    )
    lengths = torch.from_numpy(seen["attention_mask"].sum(1)).long()
    ids = torch.from_numpy(seen["input_ids"])
    mask = torch.zeros_like(ids, dtype=torch.bool)
    rows = torch.arange(3)
    ids[rows, lengths], mask[rows, lengths] = torch.from_numpy(actions), True
    theirs = lm.evaluate(TokenBatch(ids, lengths + 1, mask))
    assert torch.allclose(log_probs, theirs.log_probs[rows, lengths], atol=1e-5)
    assert torch.allclose(entropy, theirs.entropy[rows, lengths], atol=1e-5)
    assert torch.allclose(values[:, 0], theirs.values[rows, lengths - 1], atol=1e-5)
    assert values.shape == (3, 1) and values.abs().min() > 1e-3
    assert torch.equal(policy.predict_values(tensors), values)
    chosen, its_values, its_log_probs = policy(tensors, deterministic=True)
    likeliest = policy.get_distribution(tensors).distribution.logits.argmax(-1)
    assert torch.equal(chosen, likeliest) and torch.equal(its_values, values)
    assert torch.allclose(its_log_probs, policy.evaluate_actions(tensors, chosen)[1])


def test_forbidden_ids_are_never_said_and_gradients_stay_finite() -> None:
    lm = make_lm()
    policy = small_ppo(lm).policy
    tensors, _ = policy.obs_to_tensor(drafts()[0])
    probs = policy.get_distribution(tensors).distribution.probs
    assert (probs[:, FORBIDDEN] == 0).all() and probs[:, 1].min() > 0
    _, log_probs, entropy = policy.evaluate_actions(tensors, torch.tensor([1, 50, 60]))
    (log_probs + entropy).sum().backward()
    gradients = [p.grad for p in policy.parameters() if p.grad is not None]
    assert gradients and all(g.isfinite().all() for g in gradients)


def test_ppo_trains_the_very_weights_of_the_model() -> None:
    lm = make_lm()
    before = weights(lm)
    model = learn(small_ppo(lm), 16)
    assert isinstance(model.policy, LMActorCriticPolicy)
    assert model.policy.lm is lm
    after = weights(lm)
    assert not torch.equal(before, after)
    # What the engine decodes and SB3 predicts is one model.
    ours = evaluate(lm, ECHO, num_episodes=4, is_greedy=True)
    theirs = evaluate_sb3(model, ECHO, num_episodes=4, is_greedy=True)
    for mine, other in zip(ours.rollout, theirs.rollout, strict=True):
        assert mine.ids.tolist() == other.ids.tolist()


def test_a_model_without_a_critic_gets_one() -> None:
    lm = make_lm(has_value_head=False)
    model = learn(small_ppo(lm), 16)
    head = lm.network.value_head
    assert head is not None
    trained = {
        id(p) for group in model.policy.optimizer.param_groups for p in group["params"]
    }
    assert id(head.weight) in trained


def test_the_file_holds_the_weights_once_and_brings_them_back(tmp_path: Path) -> None:
    lm = make_lm()
    model = learn(small_ppo(lm), 16)
    model.save(tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    num_bytes = 4 * sum(p.numel() for p in lm.network.parameters())
    assert num_bytes < sizes["policy.pth"] < 1.1 * num_bytes
    assert sizes["data"] < 0.1 * num_bytes
    loaded = PPO.load(tmp_path / "model", device="cpu")
    assert isinstance(loaded.policy, LMActorCriticPolicy)
    assert loaded.policy.lm is not lm
    seen, actions = drafts()
    tensors, _ = model.policy.obs_to_tensor(seen)
    for one, other in zip(
        model.policy.evaluate_actions(tensors, torch.from_numpy(actions)),
        loaded.policy.evaluate_actions(tensors, torch.from_numpy(actions)),
        strict=True,
    ):
        assert one is not None and other is not None and torch.equal(one, other)
    # And it goes on learning, from the optimizer's state.
    loaded.set_env(ChatVecEnv(ECHO, 2))
    learn(loaded, 16)
    assert not torch.equal(weights(loaded.policy.lm), weights(lm))  # type: ignore[arg-type]


def test_a_policy_alone_is_saved_and_loaded(tmp_path: Path) -> None:
    policy = small_ppo(make_lm()).policy
    policy.save(str(tmp_path / "policy.pth"))
    loaded = LMActorCriticPolicy.load(str(tmp_path / "policy.pth"), device="cpu")
    tensors, _ = policy.obs_to_tensor(drafts()[0])
    one = policy.get_distribution(tensors).distribution.logits
    assert torch.equal(one, loaded.get_distribution(tensors).distribution.logits)


def test_a_name_or_a_directory_will_do(tmp_path: Path) -> None:
    lm = make_lm(seed=4)
    lm.save_pretrained(tmp_path)
    for given, other in ((tmp_path, lm), (LMSource("tiny", seed=4), lm)):
        model = A2C(
            LMActorCriticPolicy,
            ChatVecEnv(ECHO, 1),
            policy_kwargs={"lm": given},
            **SMALL,
        )
        assert isinstance(model.policy, LMActorCriticPolicy)
        assert torch.equal(weights(model.policy.lm), weights(other))  # type: ignore[arg-type]


def test_a_source_is_shared_by_its_copies() -> None:
    lm = make_lm()
    source = LMSource(lm)
    for copied in (copy.copy(source), copy.deepcopy({"lm": source})["lm"]):
        assert copied.load(lm.vocab_size) is lm
    again = LMSource.of_shape(source.shape())
    assert again == source and again.load(lm.vocab_size) is not lm
    assert again != LMSource("small")


def test_a_bare_model_is_refused_with_the_way_out() -> None:
    with pytest.raises(TypeError, match=r"LMSource\(lm\)"):
        A2C(
            LMActorCriticPolicy,
            ChatVecEnv(ECHO, 1),
            policy_kwargs={"lm": make_lm()},
            **SMALL,
        )


def test_a_model_of_other_ids_is_refused() -> None:
    lm = load_lm("tiny", vocab_size=300, engine="local", device="cpu")
    with pytest.raises(ValueError, match="says 300 ids .* 1024 actions"):
        A2C(
            LMActorCriticPolicy,
            ChatVecEnv(ECHO, 1),
            policy_kwargs={"lm": LMSource(lm)},
            **SMALL,
        )


def test_a_context_too_long_for_the_model_is_refused() -> None:
    env = ChatVecEnv("chat_envs/Tutoring-v0", 1)
    with pytest.raises(ValueError, match="1280 ids, tiny attends to 1024"):
        A2C(
            LMActorCriticPolicy, env, policy_kwargs={"lm": LMSource(make_lm())}, **SMALL
        )


def test_actions_that_are_no_ids_are_refused() -> None:
    env = gymnasium.make(ECHO)
    with pytest.raises(ValueError, match="TokenActions"):
        A2C(
            LMActorCriticPolicy, env, policy_kwargs={"lm": LMSource(make_lm())}, **SMALL
        )


def test_sources_say_what_they_take() -> None:
    with pytest.raises(TypeError, match="name or a directory"):
        LMSource(torch.nn.Linear(1, 1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="seed"):
        LMSource(make_lm(), seed=1)
