"""`chat-envs export`, and what can be done with what it writes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch

from agents.commands import chat, evaluate, export
from agents.export import load_model
from agents.train import load_run, train
from tests.agents.small_run import small_config


def test_a_run_becomes_a_directory_with_its_weights(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.run(["small", "out", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["directory"] == "out" and record["updates"] == 4
    _, lm, _ = load_run(desk / "runs/small")
    again, _ = load_model("out")
    for one, other in zip(
        lm.module.parameters(), again.module.parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_an_exported_directory_can_be_talked_with(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert export.run(["small", "out"]) == 0
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\nAnd now?\n"))
    assert chat.run(["out", "--greedy", "--max-tokens", "4"]) == 0
    assert capsys.readouterr().out.count("model> ") == 2
    argv = ["out", "--env", "CustomerService-easy-v0", "--episodes", "2"]
    assert chat.run(argv) == 0
    assert "assistant" in capsys.readouterr().out


def test_a_run_keeps_an_average_that_can_be_exported_and_evaluated(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"num_episodes": 2, "group_size": 2, "num_envs": 2, "ema_decay": 0.5}
    config = small_config(run="mean", hyperparameters=settings)
    train(config, root=desk / "runs")
    assert export.run(["mean", "last"]) == export.run(["mean", "ema", "--ema"]) == 0
    last, mean = (
        (desk / n / "model.safetensors").read_bytes() for n in ("last", "ema")
    )
    assert last != mean
    capsys.readouterr()
    argv = ["--episodes", "3", "--json"]
    assert evaluate.run(["mean", "--ema", *argv]) == 0
    own = json.loads(capsys.readouterr().out)
    env = ["--env", "CustomerService-easy-v0"]
    assert own["return"]["low"] <= own["return"]["high"]
    assert evaluate.run(["--lm", "ema", *env, *argv]) == 0


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nobody", "out"], "no run"),
        (["small", "out", "--ema"], "keeps no average"),
        (["small", "runs"], "--force"),
        (["small", "runs", "--force"], "holds no model"),
    ],
)
def test_bad_input_is_named(
    desk: Path, capsys: pytest.CaptureFixture[str], argv: list[str], words: str
) -> None:
    assert export.run(argv) == 2
    assert words in capsys.readouterr().err
    assert (desk / "runs/small/config.json").exists()
