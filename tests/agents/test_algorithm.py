"""What all algorithms share: reproducibility, resuming, reports, prediction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.algorithm import Algorithm, IterationReport
from agents.checkpoint import DamagedFileError
from agents.ppo import PPO, PPOConfig
from agents.reinforce import REINFORCE
from agents.sft import SFT
from chat_envs.tokenizer import load_tokenizer
from tests.agents.damage import malicious_pickle
from tests.agents.toys import make_lm, make_parrots

SMALL: dict[str, Any] = {"num_episodes": 8, "num_envs": 4}
CASES: list[tuple[type[Algorithm], dict[str, Any]]] = [
    (REINFORCE, SMALL | {"group_size": 4}),
    (REINFORCE, SMALL | {"group_size": 4, "baseline": "greedy"}),
    (
        PPO,
        SMALL
        | {
            "group_size": 2,
            "num_minibatches": 2,
            "kl_coefficient": 0.1,
            "kl_target": 0.1,
        },
    ),
    (SFT, SMALL | {"num_steps": 10}),
]


def make(cls: type[Algorithm], kwargs: dict[str, Any], seed: int = 0) -> Algorithm:
    return cls(make_lm(), make_parrots(4), seed=seed, **kwargs)


def metrics_of(algorithm: Algorithm, total: int) -> list[str]:
    """Return the metrics of the iterations up to `total`, as they would be written."""
    lines: list[str] = []
    algorithm.learn(
        total_iterations=total,
        callback=lambda report: lines.append(json.dumps(report.metrics)),
    )
    return lines


@pytest.mark.parametrize(("cls", "kwargs"), CASES)
def test_a_run_repeats_and_resumes_byte_for_byte(
    cls: type[Algorithm], kwargs: dict[str, Any], tmp_path: Path
) -> None:
    whole = metrics_of(make(cls, kwargs), 4)
    assert len(set(whole)) == 4  # something happens
    first = make(cls, kwargs)
    begun = metrics_of(first, 2)
    first.save(tmp_path)
    torch.manual_seed(12345)  # the global state must not matter
    # Other start weights: all must come from the directory.
    resumed = cls.load(tmp_path, make_lm(seed=9), make_parrots(4))
    assert resumed.iteration == 2 and resumed.num_timesteps == first.num_timesteps
    assert begun + metrics_of(resumed, 4) == whole
    assert resumed.config == first.config


def test_another_seed_is_another_run() -> None:
    cls, kwargs = CASES[0]
    assert metrics_of(make(cls, kwargs, seed=1), 1) != metrics_of(make(cls, kwargs), 1)


@pytest.mark.parametrize(("cls", "kwargs"), CASES[:3])
def test_the_first_ratio_is_one_by_measurement(
    cls: type[Algorithm], kwargs: dict[str, Any]
) -> None:
    algorithm = make(cls, kwargs)
    for _ in range(3):
        metrics = algorithm.iterate().metrics
        assert metrics["ratio_error"] <= 1e-5
        assert metrics["log_prob_gap"] <= 1e-6
        assert metrics["kl"] >= 0
    # Negative control: weights that move between collecting and updating are noticed.
    rollout = algorithm.collect()
    with torch.no_grad():
        next(algorithm.lm.module.parameters()).mul_(1.05)
    assert algorithm.update(rollout).result()["ratio_error"] > 1e-3


@pytest.mark.parametrize(("cls", "kwargs"), CASES)
def test_learning_rate_zero_changes_no_weight(
    cls: type[Algorithm], kwargs: dict[str, Any]
) -> None:
    extra = {"value_learning_rate": 0.0} if cls is PPO else {}
    algorithm = make(cls, kwargs | {"learning_rate": 0.0, "weight_decay": 0.1} | extra)
    before = [p.clone() for p in algorithm.lm.module.parameters()]
    report = algorithm.iterate()
    assert all(
        torch.equal(a, b)
        for a, b in zip(before, algorithm.lm.module.parameters(), strict=True)
    )
    assert report.metrics["grad_norm"] > 0


def test_a_report_says_what_happened() -> None:
    algorithm = make(*CASES[0])
    report = algorithm.iterate()
    episodes = report.rollout.episodes
    assert report.metrics["return"] == pytest.approx(
        np.mean([e.rewards.sum() for e in episodes])
    )
    assert report.metrics["turns"] == 2.0 and report.num_timesteps == 16
    assert report.metrics["reply_tokens"] == sum(
        e.reply_lengths.sum() for e in episodes
    )
    assert report.metrics["reply_length"] == pytest.approx(
        np.mean(np.concatenate([e.reply_lengths for e in episodes]))
    )
    assert report.metrics["cut_share"] == pytest.approx(
        np.mean(np.concatenate([e.reply_cut for e in episodes]))
    )
    assert report.metrics["reward_error_rate"] == 0.0
    assert report.metrics["env/asked"] == 2.0
    right = [e.reward_components["right"].sum() for e in episodes]
    assert report.metrics["reward/right"] == pytest.approx(np.mean(right))
    assert 0 < report.metrics["entropy"] < np.log(len(load_tokenizer()))
    # Nothing timed is among the figures that must repeat.
    assert not [name for name in report.metrics if "second" in name]
    assert all(np.isfinite(value) and value > 0 for value in report.timings.values())


def test_failing_rewards_are_counted_and_survived() -> None:
    def broken(reply: str, turn: int) -> float:
        if turn == 2:
            raise ConnectionError("no answer")
        return float(len(reply))

    env = make_parrots(4, reward=broken, on_error="mask")
    algorithm = REINFORCE(make_lm(), env, credit="turn", group_size=4, **SMALL)
    metrics = algorithm.iterate().metrics
    assert metrics["reward_error_rate"] == 0.5
    assert np.isnan(metrics["return"])  # no episode's return is known: not a 0
    assert metrics["trained_tokens"] == 0.0
    ppo = PPO(
        make_lm(),
        make_parrots(4, reward=broken, on_error="mask"),
        group_size=4,
        **SMALL,
    )
    assert 0 < ppo.iterate().metrics["trained_tokens"] < metrics["reply_tokens"]


def test_learn_ends_by_turns_iterations_or_callback() -> None:
    algorithm = make(*CASES[0])
    assert algorithm.learn(20).num_timesteps == 32  # whole iterations of 16 turns
    assert (
        algorithm.learn(20).num_timesteps == 32
    )  # counted from the beginning of the run
    seen: list[IterationReport] = []

    def stop(report: IterationReport) -> bool:
        seen.append(report)
        return len(seen) < 2

    assert algorithm.learn(10**6, callback=stop).iteration == 4
    with pytest.raises(ValueError, match="total_timesteps or total_iterations"):
        algorithm.learn()


def test_the_adaptive_coefficient_follows_the_measured_kl() -> None:
    algorithm = make(*CASES[2])
    first = algorithm.iterate()
    # At the start model the KL is 0, far below its target: the price falls by 2%.
    assert first.metrics["kl"] == pytest.approx(0.0, abs=1e-9)
    assert first.metrics["kl_coefficient"] == 0.1
    assert algorithm.kl_coefficient == pytest.approx(0.098)


def test_shuffled_rewards_are_paid_to_others() -> None:
    honest = make(*CASES[0]).collect()
    algorithm = make(REINFORCE, CASES[0][1] | {"has_shuffled_rewards": True})
    shuffled = algorithm.collect()
    assert [e.ids.tolist() for e in shuffled] == [e.ids.tolist() for e in honest]
    assert sorted(e.total_reward for e in shuffled) == pytest.approx(
        sorted(e.total_reward for e in honest)
    )
    assert [e.total_reward for e in shuffled] != [e.total_reward for e in honest]


def test_predict_takes_one_observation_or_many() -> None:
    algorithm = make(*CASES[0])
    env = make_parrots(3)
    observation, _ = env.reset(seed=5)
    actions, state = algorithm.predict(observation, deterministic=True)
    assert actions.shape == (3, 4) and actions.dtype == np.int64 and state is None
    assert all(env.single_action_space.contains(action) for action in actions)
    env.step(actions)
    one = {name: value[1] for name, value in observation.items()}
    single, _ = algorithm.predict(one, deterministic=True)
    assert np.array_equal(single, actions[1])
    sampled = [algorithm.predict(observation)[0].tolist() for _ in range(2)]
    assert sampled[0] == sampled[1] != actions.tolist()


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    lm, env = make_lm(), make_parrots(2)
    with pytest.raises(TypeError, match="no field 'lr'"):
        PPO(lm, env, lr=1.0)
    with pytest.raises(TypeError, match="not both.*'num_epochs'"):
        PPO(lm, env, PPOConfig(), num_epochs=3)
    with pytest.raises(
        TypeError, match="REINFORCE takes a REINFORCEConfig, got PPOConfig"
    ):
        REINFORCE(lm, env, PPOConfig())
    with pytest.raises(
        ValueError, match="'tiny' has no value head.*has_value_head=True"
    ):
        PPO(make_lm(has_value_head=False), env)
    make(*CASES[0]).save(tmp_path)
    with pytest.raises(ValueError, match="holds a REINFORCE, not a PPO"):
        PPO.load(tmp_path, lm, env)
    with pytest.raises(ValueError, match="exactly.*iteration"):
        make(*CASES[0]).load_state_dict({"iteration": 3})


def test_a_linear_schedule_falls_to_zero_at_the_end_of_learn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kwargs = {"learning_rate": 0.4, "learning_rate_schedule": "linear"}
    algorithm = make(REINFORCE, CASES[0][1] | kwargs)
    rates: list[float] = []
    monkeypatch.setattr(algorithm.lm, "set_learning_rate", rates.append)
    algorithm.learn(total_iterations=4)
    assert rates == pytest.approx([0.4, 0.3, 0.2, 0.1])


def test_a_constant_schedule_leaves_the_step_size_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    algorithm = make(*CASES[0])
    monkeypatch.delattr(type(algorithm.lm).__mro__[1], "set_learning_rate")
    algorithm.learn(total_iterations=2)


def test_no_timesteps_play_no_episode() -> None:
    assert make(*CASES[0]).learn(total_timesteps=0).iteration == 0


def test_a_damaged_record_is_refused_by_name_and_unread(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no directory"):
        PPO.load(tmp_path / "nowhere", make_lm(), make_parrots(2))
    proof = tmp_path / "proof"
    damaged = (b"", b"[]", b"{}", b'{"algorithm": "PPO"}', malicious_pickle(proof))
    for data in damaged:
        (tmp_path / "algorithm.json").write_bytes(data)
        with pytest.raises(DamagedFileError, match="algorithm.json"):
            PPO.load(tmp_path, make_lm(), make_parrots(2))
    assert not proof.exists()


@pytest.mark.parametrize(
    "asked",
    [
        {"entropy_coefficient": 0.1},
        {"kl_coefficient": 0.1},
        {"kl_coefficient": 0.1, "kl_target": 0.1},
        {"has_shuffled_rewards": True},
    ],
)
def test_imitation_refuses_what_it_would_ignore(asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"no use for {next(iter(asked))}"):
        make(SFT, SMALL | asked)


def test_imitation_has_a_schedule_of_its_own() -> None:
    with pytest.raises(ValueError, match="schedule of its own"):
        make(SFT, SMALL | {"learning_rate_schedule": "linear"})
