"""`chat-envs evaluate`: one object, of the shape that a program expects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.commands.evaluate import run
from agents.train import load_run, score
from tests.agents.small_run import small_config

ENV = "chat_envs/CustomerService-easy-v0"


def evaluate(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, object]:
    assert run([*argv, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert isinstance(record, dict)
    return record


@pytest.mark.parametrize(
    "argv",
    [
        ["small", "--env", "Echo-easy-v0"],
        ["--lm", "tiny", "--env", ENV, "--greedy"],
        ["--script", "expert", "--env", "CustomerService-easy-v0"],
    ],
)
def test_the_object_has_the_promised_shape(
    desk: Path, argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    record = evaluate(capsys, *argv, "--episodes", "3")
    assert str(record["env"]).startswith("chat_envs/") and record["episodes"] == 3
    for name in ("return", "success", "normalised_score"):
        interval = record[name]
        assert isinstance(interval, dict) and set(interval) == {"mean", "low", "high"}
        assert interval["low"] <= interval["mean"] <= interval["high"]


def test_a_run_is_evaluated_where_it_learned(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = evaluate(capsys, "small", "--episodes", "3", "--split", "train")
    assert (record["env"], record["split"], record["run"]) == (ENV, "train", "small")
    config = small_config(num_eval_episodes=3, eval_split="train")
    _, lm, _ = load_run(desk / "runs/small")
    expected = score(lm, config, "model").sampled.as_dict()
    assert {name: record[name] for name in expected} == expected


def test_people_get_lines(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--script", "expert", "--env", ENV, "--episodes", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"expert in {ENV}, test goals, 2 episodes"
    assert lines[1].split()[0] == "success"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["smal"], "Did you mean 'small'"),
        (["small", "--env", "Eco-easy-v0"], "Echo-easy-v0"),
        (["--lm", "tinny", "--env", ENV], "Did you mean 'tiny'"),
        (["--script", "exprt", "--env", ENV], "Did you mean 'expert'"),
        (["--script", "carelss", "--env", ENV], "Did you mean 'careless'"),
        (["--script", "careless", "--env", "Echo-v0"], "no script 'careless'"),
    ],
)
def test_bad_input_is_exit_code_2(
    desk: Path, argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(argv) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.out == ""


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["small", "--lm", "tiny"],
        ["--lm", "tiny"],
        ["small", "--episodes", "1"],
        ["small", "--split", "dev"],
        ["small", "--temperature", "0"],
        ["small", "--seed", "-1"],
    ],
)
def test_bad_usage_is_exit_code_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(argv)
    assert caught.value.code == 2


def test_a_damaged_run_is_exit_code_2(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (desk / "runs/small/checkpoints").iterdir():
        (path / "model.safetensors").write_bytes(b"\x80\x04N.")
    assert run(["small"]) == 2
    assert "model.safetensors is refused unread" in capsys.readouterr().err
