"""`SB3Agent`: learns, is kept to the last bit, and refuses what it would not read."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

from stable_baselines3.common.save_util import save_to_zip_file  # noqa: E402

from agents.checkpoint import DamagedFileError, checksum  # noqa: E402
from agents.evaluation import evaluate  # noqa: E402
from agents.sb3 import (  # noqa: E402
    ALGORITHMS,
    ChatVecEnv,
    LMSource,
    SB3Agent,
    make_agent,
)
from tests.agents.toys import make_lm  # noqa: E402

ECHO, RECALL = "chat_envs/Echo-easy-v0", "chat_envs/Recall-easy-v0"
_PPO: dict[str, Any] = {"n_steps": 8, "batch_size": 16, "n_epochs": 2}
TINY: dict[str, dict[str, Any]] = {
    "A2C": {"n_steps": 8},
    "DQN": {"learning_starts": 4, "batch_size": 4, "buffer_size": 64},
    "MaskablePPO": _PPO,
    "PPO": _PPO,
    "RecurrentPPO": _PPO | {"policy_kwargs": {"lstm_hidden_size": 8}},
}
EACH = pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))


def build(algorithm: str = "PPO", **settings: Any) -> SB3Agent:
    small = {"num_envs": 2, "vocabulary": "candidates", "features": {"width": 8}}
    return SB3Agent(algorithm, **(small | TINY[algorithm] | settings))


def weights(agent: SB3Agent) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(agent.model.policy.parameters()).clone()


def observation() -> dict[str, np.ndarray]:
    env = ChatVecEnv(ECHO, 3, vocabulary="candidates")
    env.seed(11)
    seen = env.reset()
    assert isinstance(seen, dict)
    return seen


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("agent") / "kept"
    build().learn(ECHO, 16).save(directory)
    return directory


@pytest.fixture()
def kept(saved: Path, tmp_path: Path) -> Path:
    """A saved agent that a test may break."""
    return Path(shutil.copytree(saved, tmp_path / "kept"))


@EACH
def test_what_is_loaded_predicts_evaluates_and_learns_on_as_what_was_saved(
    algorithm: str, tmp_path: Path
) -> None:
    agent = build(algorithm).learn(ECHO, 32, seed=3)
    agent.save(tmp_path / "agent")
    loaded = SB3Agent.load(tmp_path / "agent")
    assert type(loaded.model).__name__ == algorithm
    assert loaded.settings == agent.settings and loaded.name == agent.name
    assert torch.equal(weights(agent), weights(loaded))
    seen = observation()
    mine, theirs = (a.predict(seen, deterministic=True)[0] for a in (agent, loaded))
    assert np.array_equal(mine, theirs) and mine.shape == (3,)
    one, other = (a.evaluate(num_episodes=6, num_envs=3) for a in (agent, loaded))
    assert [e.ids.tolist() for e in one.rollout] == [
        e.ids.tolist() for e in other.rollout
    ]
    before = weights(agent)
    for each in (agent, loaded):
        each.learn(ECHO, 32, seed=3)
    assert not torch.equal(before, weights(agent))
    if algorithm != "DQN":  # whose replay buffer is not kept
        assert torch.equal(weights(agent), weights(loaded))
    assert agent.model.num_timesteps == loaded.model.num_timesteps >= 64


def test_a_loaded_dqn_explores_as_much_as_it_did(tmp_path: Path) -> None:
    agent = build("DQN").learn(ECHO, 16)
    rate = vars(agent.model)["exploration_rate"]
    assert 0 < rate < 1
    agent.save(tmp_path)
    assert vars(SB3Agent.load(tmp_path).model)["exploration_rate"] == rate


@EACH
def test_a_seed_makes_the_same_agent_whatever_else_was_drawn(algorithm: str) -> None:
    made = []
    for seed in (1, 1, 2):
        torch.rand(seed)
        made.append(weights(build(algorithm).learn(ECHO, 32, seed=seed)))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


@EACH
def test_no_global_generator_moves(algorithm: str) -> None:
    def states() -> list[Any]:
        numpy: Any = np.random.get_state()
        return [random.getstate(), numpy[1].tolist(), torch.get_rng_state().tolist()]

    before = states()
    agent = build(algorithm).learn(ECHO, 16)
    agent.evaluate(num_episodes=2)
    assert states() == before


def test_generators_are_given_back_when_a_callback_raises() -> None:
    def fail(*_: Any) -> bool:
        raise RuntimeError("stop here")

    before = torch.get_rng_state()
    agent = build()
    with pytest.raises(RuntimeError, match="stop here"):
        agent.learn(ECHO, 16, callback=fail)
    assert torch.equal(before, torch.get_rng_state())
    agent.learn(ECHO, 16)
    assert agent.model.num_timesteps >= 16


def first_contexts(agent: SB3Agent, seed: int) -> list[int]:
    seen: list[np.ndarray] = []

    def note(variables: dict[str, Any], _: Any) -> bool:
        seen.append(variables["self"]._last_obs["input_ids"].copy())
        return True

    agent.learn(ECHO, 16, seed=seed, callback=note)
    flat: list[int] = seen[0].ravel().tolist()
    return flat


def test_learning_on_meets_new_episodes_with_the_same_seed() -> None:
    agent = build()
    first = first_contexts(agent, 0)
    again = first_contexts(agent, 0)
    assert first != again
    assert first_contexts(build(), 0) == first


def test_nothing_is_trained_by_no_timesteps() -> None:
    agent = build().learn(ECHO, 0)
    assert agent.model.num_timesteps == 0
    before = weights(agent)
    agent.learn(ECHO, 16)
    assert not torch.equal(before, weights(agent))
    with pytest.raises(ValueError, match="total_timesteps.* -1"):
        agent.learn(ECHO, -1)


def test_a_frozen_learning_rate_leaves_the_weights() -> None:
    agent = build(learning_rate=0.0).learn(ECHO, 0)
    before = weights(agent)
    assert torch.equal(before, weights(agent.learn(ECHO, 16)))


def test_an_action_goes_on_to_mean_what_it_meant(tmp_path: Path) -> None:
    same = {"context_length": 384}
    agent = build(env_kwargs=same).learn(ECHO, 16)
    ids = ChatVecEnv(ECHO, 1, vocabulary="candidates").envs[0].ids.tolist()
    other = ChatVecEnv(RECALL, 1, vocabulary="candidates").envs[0].ids.tolist()
    agent.save(tmp_path)
    for each in (agent, SB3Agent.load(tmp_path)):
        said = set()
        for episode in each.evaluate(RECALL, num_episodes=8).rollout:
            said |= set(episode.ids[episode.action_mask].tolist())
        assert said - set(other) and said <= set(ids)
        each.learn(RECALL, 16)
        (now,) = each.model.get_env().get_attr("ids", [0])  # type: ignore[union-attr]
        assert now.tolist() == ids and each.env_id == RECALL


def test_another_environment_with_other_spaces_is_refused() -> None:
    agent = build().learn(ECHO, 16)
    with pytest.raises(ValueError, match="context_length"):
        agent.evaluate("chat_envs/Tutoring-v0", num_episodes=2)
    with pytest.raises(ValueError, match="spaces do not match"):
        agent.learn("chat_envs/Tutoring-v0", 16)
    assert agent.env_id == ECHO


def test_a_language_model_is_trained_evaluated_and_kept(tmp_path: Path) -> None:
    lm = make_lm()
    settings = _PPO | {"num_envs": 2, "ent_coef": 0.1, "learning_rate": 1e-3}
    agent = SB3Agent("PPO", lm=LMSource(lm), **settings)
    assert agent.name == "sb3-ppo-lm"
    before = torch.nn.utils.parameters_to_vector(lm.network.parameters()).clone()
    agent.learn(ECHO, 16)
    after = torch.nn.utils.parameters_to_vector(lm.network.parameters())
    assert not torch.equal(before, after)
    result = agent.evaluate(num_episodes=3, is_greedy=True)
    ours = evaluate(lm, ECHO, num_episodes=3, is_greedy=True)
    assert [e.ids.tolist() for e in result.rollout] == [
        e.ids.tolist() for e in ours.rollout
    ]
    agent.save(tmp_path)
    loaded = SB3Agent.load(tmp_path)
    assert loaded.name == "sb3-ppo-lm" and torch.equal(weights(agent), weights(loaded))
    assert loaded.source is not None
    assert loaded.source.load(lm.vocab_size) is not lm


def test_a_language_model_wants_an_algorithm_that_trains_it() -> None:
    with pytest.raises(ValueError, match="DQN cannot train a language model"):
        SB3Agent("DQN", lm="tiny")
    with pytest.raises(ValueError, match="leave vocabulary and features"):
        SB3Agent("PPO", lm="tiny", vocabulary="candidates")


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"algorithm": "PPo"}, ValueError, "'PPo'. Did you mean 'PPO'"),
        ({"num_envs": 0}, ValueError, "num_envs .* got 0"),
        ({"device": "gpu9"}, RuntimeError, "gpu9"),
        ({"learning_rat": 1.0}, TypeError, "Did you mean 'learning_rate'"),
        ({"policy_kwargs": {"net_arc": [8]}}, TypeError, "Did you mean 'net_arch'"),
        ({"policy_kwargs": [1]}, TypeError, "must be a mapping"),
        ({"features": {"lengths": 8}}, TypeError, "Did you mean 'length'"),
        ({"policy_kwargs": {"features_extractor_class": "x"}}, TypeError, "itself"),
        ({"seed": 3}, TypeError, "seed is set by SB3Agent itself"),
        ({"learning_rate": lambda _: 1.0}, TypeError, "hyperparameters.learning_rate"),
        ({"ent_coef": float("nan")}, TypeError, "hyperparameters.ent_coef=nan"),
        ({"env_kwargs": {"reward": len}}, TypeError, "env_kwargs.reward"),
        ({"env_kwargs": {1: 2}}, TypeError, "env_kwargs"),
        ({"vocabulary": [1.5]}, TypeError, "float"),
    ],
)
def test_wrong_settings_are_named_at_once(
    settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        SB3Agent(**settings)


def test_settings_are_as_a_file_brings_them_back() -> None:
    ids = np.array([50, 60, 1])
    agent = build("DQN", vocabulary=ids, train_freq=(2, "step"), num_envs=2)
    assert json.loads(json.dumps(agent.settings)) == agent.settings
    assert agent.settings["vocabulary"] == [50, 60, 1]
    agent.learn(ECHO, 16)
    assert vars(agent.model)["train_freq"].frequency == 2


@EACH
def test_benchmarks_make_an_agent_by_its_name(algorithm: str) -> None:
    label = ALGORITHMS[algorithm].label
    agent = make_agent(label, num_envs=2)
    assert agent.name == label and agent.settings["algorithm"] == algorithm
    assert agent.settings["num_envs"] == 2


def test_an_agent_that_is_none_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'sb3-recurrent-ppo'"):
        make_agent("sb3-recurent-ppo")


def test_before_learning_there_is_nothing_to_use(tmp_path: Path) -> None:
    agent = build()
    for use in (
        lambda: agent.predict({}),
        lambda: agent.evaluate(),
        lambda: agent.save(tmp_path),
    ):
        with pytest.raises(RuntimeError, match="call learn"):
            use()
    assert not list(tmp_path.iterdir())


# Broken files -----------------------------------------------------------------------------------


def damage(path: Path, **changes: Any) -> None:
    record = json.loads(path.read_text())
    for name, value in changes.items():
        record[name] = value
    path.write_text(json.dumps(record))


@pytest.mark.parametrize("name", ["agent.json", "weights.zip"])
def test_a_file_that_is_missing_or_torn_is_named(kept: Path, name: str) -> None:
    whole = (kept / name).read_bytes()
    (kept / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedFileError, match=name):
        SB3Agent.load(kept)
    (kept / name).unlink()
    with pytest.raises(DamagedFileError, match=f"{name} is missing"):
        SB3Agent.load(kept)


def test_weights_of_another_save_are_refused(kept: Path, tmp_path: Path) -> None:
    build().learn(ECHO, 16, seed=9).save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "weights.zip", kept / "weights.zip")
    with pytest.raises(DamagedFileError, match="not written with"):
        SB3Agent.load(kept)


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": None},
        {"settings": {"algorithm": "PPO"}},
        {"env_id": "chat_envs/Nowhere-v0"},
        {"env_id": None},
        {"num_timesteps": "many"},
        {"lm": {"name": "x", "config": {}, "model_type": "no_such_model"}},
        {"vocabulary": [-1]},
        {"seed": -1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_settings_that_make_no_agent_are_named(
    kept: Path, changes: dict[str, Any]
) -> None:
    damage(kept / "agent.json", **changes)
    with pytest.raises(DamagedFileError, match="agent.json is no saved SB3Agent"):
        SB3Agent.load(kept)


def test_forged_weights_run_nothing_and_are_named(kept: Path) -> None:
    weights_file = kept / "weights.zip"
    with zipfile.ZipFile(weights_file, "w") as archive:
        # A pickle that would make a file; torch reads tensors alone.
        program = f"cbuiltins\nopen\n(S'{kept}/made'\nS'w'\ntR."
        archive.writestr("policy.pth", program)
    damage(kept / "agent.json", sha256=checksum(weights_file))
    with pytest.raises(DamagedFileError, match="weights.zip does not fit"):
        SB3Agent.load(kept)
    assert not (kept / "made").exists()


def test_weights_of_another_shape_are_named(kept: Path) -> None:
    agent = build(features={"width": 4}).learn(ECHO, 0)
    save_to_zip_file(kept / "weights.zip", params=agent.model.get_parameters())
    damage(kept / "agent.json", sha256=checksum(kept / "weights.zip"))
    with pytest.raises(DamagedFileError, match="weights.zip does not fit"):
        SB3Agent.load(kept)


def test_a_save_leaves_nothing_aside_and_overwrites(kept: Path) -> None:
    SB3Agent.load(kept).learn(ECHO, 16, seed=5).save(kept)
    assert sorted(path.name for path in kept.iterdir()) == ["agent.json", "weights.zip"]
    assert SB3Agent.load(kept).model.num_timesteps >= 32
