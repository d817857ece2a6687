"""PPO that imitates given data beside ("ptx"): the gradient, the order of the data, resuming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from agents import dialogue_data
from agents.dialogue_data import load_blend
from agents.engine.language_model import TrainingConfig
from agents.imitation import imitate
from agents.ppo import PPO, PPOConfig
from agents.preparation import prepare, read_mixture
from agents.train import train
from agents.train_config import TrainConfig
from chat_envs.record_file import read_records
from tests.agents.gradients import gradient_of, relative_distance
from tests.agents.small_run import NAME, small_config
from tests.agents.toys import WORDS, make_lm, make_parrots

SMALL: dict[str, Any] = {"num_episodes": 8, "group_size": 4, "num_epochs": 1}


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Return a file of one dialogue for each word."""
    path = tmp_path / "data.jsonl"
    lines = [{"prompt": f"Say {word}", "completion": word} for word in WORDS]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def mixed(data: str, coefficient: float = 0.5, **settings: Any) -> PPO:
    options = {"ptx_coefficient": coefficient, "ptx_data": data, "ptx_rows": 6}
    return PPO(make_lm(), make_parrots(4), **(SMALL | options | settings))


def config_with(data: str) -> TrainConfig:
    """Return a small run that imitates `data` beside its reward."""
    settings = {"ptx_coefficient": 0.1, "ptx_data": data, "ptx_rows": 2}
    run = dict(small_config().hyperparameters)
    return small_config(hyperparameters=run | settings)


def test_the_gradient_is_ppos_plus_the_coefficient_times_that_of_imitation(
    data: str,
) -> None:
    plain = PPO(make_lm(), make_parrots(4), **SMALL)
    rollout = plain.collect()
    ppo_gradient = gradient_of(plain, rollout)

    lm = make_lm()
    lm.forbid(
        sorted(plain.env.tokenizer.control_ids - plain.env.template.stop_ids)
    )  # as in the environment
    lm.configure_training(TrainingConfig())
    rows = load_blend([data], plain.env.tokenizer, 1024).deal(0, 6)
    imitate(lm, rows, 10_000)
    own = torch.cat([p.grad.flatten() for p in lm.module.parameters()])  # type: ignore[union-attr]

    found = gradient_of(mixed(data), rollout)
    assert relative_distance(found, ppo_gradient + 0.5 * own) < 1e-5
    assert relative_distance(found, ppo_gradient) > 0.01  # the two do differ


def test_micro_batches_change_no_gradient(data: str) -> None:
    whole, cut = mixed(data), mixed(data, token_budget=40)
    rollout = whole.collect()
    assert (
        relative_distance(gradient_of(cut, rollout), gradient_of(whole, rollout)) < 1e-4
    )


def test_every_step_of_every_update_imitates_other_rows(data: str) -> None:
    ppo = mixed(data, num_epochs=2, num_minibatches=2, ptx_rows=3)
    assert ppo.mixture is not None
    dealt: list[tuple[int, int]] = []
    deal = ppo.mixture.deal

    def observed(first: int, number: int) -> Any:
        dealt.append((first, number))
        return deal(first, number)

    ppo.mixture.deal = observed  # type: ignore[method-assign]
    ppo.learn(total_iterations=2)
    assert dealt == [(3 * step, 3) for step in range(8)]


def test_the_mixture_is_learnt_and_reported(data: str) -> None:
    ppo = mixed(data, 5.0, learning_rate=3e-3, num_epochs=2)
    losses: list[float] = []
    ppo.learn(
        total_iterations=6,
        callback=lambda report: losses.append(report.metrics["ptx_cross_entropy"]),
    )
    assert losses[0] > 5 and losses[-1] < 0.5 * losses[0]


def test_a_resumed_mixture_goes_on_to_the_same_weights(
    data: str, tmp_path: Path
) -> None:
    whole = mixed(data).learn(total_iterations=3)
    first = mixed(data).learn(total_iterations=1)
    first.save(tmp_path / "saved")
    again = PPO.load(tmp_path / "saved", make_lm(seed=5), make_parrots(4))
    again.learn(total_iterations=3)
    for one, other in zip(
        whole.lm.module.parameters(), again.lm.module.parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_without_a_coefficient_nothing_is_read_or_changed() -> None:
    assert PPO(make_lm(), make_parrots(4), **SMALL).mixture is None
    metrics = PPO(make_lm(), make_parrots(4), **SMALL).iterate().metrics
    assert "ptx_cross_entropy" not in metrics


@pytest.mark.parametrize(
    "settings", [{"ptx_coefficient": 0.1}, {"ptx_data": "data.jsonl"}]
)
def test_a_mixture_needs_both_data_and_a_weight(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs both"):
        PPOConfig(**settings)


def test_data_that_cannot_be_read_stops_a_run_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text("{\n")
    for name, words in (("missing", "missing.jsonl"), ("broken", "broken.jsonl:1")):
        config = config_with(str(tmp_path / f"{name}.jsonl"))
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            read_mixture(config, prepare(config))
        with pytest.raises((ValueError, FileNotFoundError), match=words):
            train(config, root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_what_was_read_before_a_run_is_not_read_again(
    data: str, tmp_path: Path
) -> None:
    config = config_with(data)
    train(config, root=tmp_path / "whole")
    lm = prepare(config)
    mixture = read_mixture(config, lm)
    Path(data).unlink()
    train(config, lm=lm, mixture=mixture, root=tmp_path / "given")
    logs = [
        (tmp_path / name / NAME / "metrics.jsonl").read_text("utf-8")
        for name in ("whole", "given")
    ]
    assert logs[0] == logs[1] and "ptx_cross_entropy" in logs[0]


def test_a_run_reads_its_data_once(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths: list[str] = []

    def observed(path: str, split: str, fields: Any) -> Any:
        paths.append(path)
        return read_records(path, split, fields)

    monkeypatch.setattr(dialogue_data, "read_records", observed)
    train(config_with(data), root=tmp_path)
    assert paths == [data]


def test_an_agent_that_imitates_nothing_has_no_mixture(data: str) -> None:
    for config in (small_config(), small_config(agent="reinforce")):
        assert read_mixture(config, make_lm()) is None
    mixture = mixed(data).mixture
    with pytest.raises(ValueError, match="no ptx_data"):
        PPO(make_lm(), make_parrots(4), mixture=mixture, **SMALL)
