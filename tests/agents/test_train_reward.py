"""Rewards within a run: what they have learned lies in its checkpoints; a failure that ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.commands import train as command
from agents.tracking import read_lines
from agents.train import train
from agents.train_config import TrainConfig
from chat_envs.reward import RewardError
from tests.agents.small_run import NAME, small_config

MODULE = __name__
MANY = {"num_episodes": 16, "group_size": 2, "num_envs": 16}


def num_letters(reply: str, turn: int) -> float:
    """Return a number that grows, so that its mean and deviation go on moving."""
    return float(len(reply) * turn)


def broken(reply: str) -> float:
    raise ValueError("no reply is good enough")


def unread(reply: str) -> float:
    return float("nan")


def config_with(reward: Any, **fields: Any) -> TrainConfig:
    env_kwargs = dict(small_config().env_kwargs) | {"reward": reward}
    return small_config(env_kwargs=env_kwargs, **fields)


def logs(root: Path) -> list[dict[str, Any]]:
    return read_lines(root / NAME / "metrics.jsonl")


def test_a_running_normalisation_goes_on_from_the_checkpoint(tmp_path: Path) -> None:
    reward = {"task": 1.0, f"{MODULE}:num_letters": {"weight": 0.5, "normalize": True}}
    train(config_with(reward), root=tmp_path / "whole")
    train(config_with(reward, total_timesteps=8), root=tmp_path / "cut")
    train(config_with(reward), root=tmp_path / "cut", is_resuming=True)
    whole, cut = (logs(tmp_path / name) for name in ("whole", "cut"))
    assert whole == cut and len(whole) == 4


@pytest.mark.parametrize("isolation", ["inline", "process"])
def test_a_run_is_given_up_above_the_error_rate_and_keeps_what_it_has(
    tmp_path: Path, isolation: str
) -> None:
    entry = {"on_error": "mask", "isolation": isolation, "max_error_rate": 0.5}
    reward = {"task": 1.0, f"{MODULE}:broken": entry}
    config = config_with(reward, total_timesteps=1000, hyperparameters=MANY)
    with pytest.raises(RewardError, match="broken"):
        train(config, root=tmp_path)
    # 100 requests are looked at before a run is given up; an update makes up to 32.
    lines = logs(tmp_path)
    assert 3 <= len(lines) <= 6
    assert all(line["reward_failures/broken"] == 1.0 for line in lines)
    assert (tmp_path / NAME / "checkpoints" / f"step_{len(lines)}").is_dir()


@pytest.mark.parametrize(
    ("target", "words", "has_place"),
    [
        ("broken", "ValueError: no reply is good enough (", True),
        ("unread", "ValueError: returned nan", False),
    ],
)
def test_a_reward_that_fails_ends_the_command_with_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    target: str,
    words: str,
    has_place: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    few = (
        "--no-warm-start --total-timesteps 4 --num-eval-episodes 0 --set num_episodes=2"
    )
    argv = [*few.split(), "--set", "group_size=2", "--reward", f"{MODULE}:{target}"]
    assert command.run([*argv, "--run", "one"]) == 1
    captured = capsys.readouterr()
    last = captured.err.splitlines()[-1]
    assert (
        last.startswith(f"failed: reward {target!r} failed at turn 1") and words in last
    )
    assert (f"{Path(__file__).name}:" in last) == has_place
    assert "Traceback" not in captured.err and captured.out == ""
