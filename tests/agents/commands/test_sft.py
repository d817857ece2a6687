"""`chat-envs sft`: dialogues in, a model's directory out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.commands.sft import run
from agents.export import is_model_directory, load_model

FAST = ["--set", "num_steps=2", "--set", "num_rows=4", "--engine", "local"]


@pytest.fixture
def data(desk: Path) -> str:
    lines = [{"prompt": f"Say {n}", "completion": str(n)} for n in range(20)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (desk / "d.jsonl").write_text(text)
    return "d.jsonl"


def test_a_blend_becomes_a_model_that_can_be_loaded(
    desk: Path, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [f"{data}:0.7", "env:CustomerService-easy-v0?episodes=10:0.3"]
    argv = ["--output", "out", *FAST, "--json"]
    for source in sources:
        argv += ["--data", source]
    assert run(argv) == 0
    record = json.loads(capsys.readouterr().out)
    assert [s["weight"] for s in record["sources"]] == [0.7, 0.3]
    assert [s["train"]["rows"] for s in record["sources"]] == [18, 9]
    after = record["valid"]["after"]
    assert set(after) == {data, "env:CustomerService-easy-v0"}
    assert after[data]["perplexity"] > 1
    lm, _ = load_model(record["output"], engine="local")
    assert lm.vocab_size == 1024


def test_an_output_that_is_there_is_replaced_on_demand_alone(
    desk: Path, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--data", data, "--output", "out", *FAST]
    assert run(argv) == 0
    first = (desk / "out/model.safetensors").read_bytes()
    assert run([*argv, "--seed", "1"]) == 2
    assert "--force" in capsys.readouterr().err
    assert (desk / "out/model.safetensors").read_bytes() == first
    assert run([*argv, "--seed", "1", "--force"]) == 0
    assert (desk / "out/model.safetensors").read_bytes() != first


def test_people_get_lines(
    desk: Path, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--data", data, "--output", "out", *FAST]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "d.jsonl: 18 rows to learn from, 2 held out"
    assert lines[1].startswith("held out of d.jsonl: cross-entropy ")
    assert lines[-1] == "the model: out"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--data", "missing.jsonl"], "missing.jsonl"),
        (["--data", "broken.jsonl"], "broken.jsonl:2"),
        (["--data", "d.jsonl", "--lm", "tinny"], "tiny"),
        (["--data", "d.jsonl", "--set", "num_step=2"], "num_steps"),
        (["--data", "d.jsonl", "--set", "num_steps=0"], "num_steps"),
        (["--data", "d.jsonl", "--ema"], "ema_decay"),
        (["--data", "d.jsonl", "--max-length", "3"], "longer than 3 tokens"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    desk: Path,
    data: str,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    words: str,
) -> None:
    (desk / "broken.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{\n')
    assert run([*argv, "--output", "out", "--engine", "local"]) == 2
    assert words in capsys.readouterr().err
    assert not (desk / "out").exists()


def test_broken_lines_and_long_dialogues_are_left_out_when_told(
    desk: Path, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = {"prompt": "Say it", "completion": "word " * 40}
    with (desk / data).open("a") as file:
        file.write("{\n" + json.dumps(line) + "\n")
    argv = ["--data", data, "--output", "out", *FAST, "--max-length", "32"]
    assert run([*argv, "--on-broken", "skip"]) == 0
    assert "1 broken, 1 too long" in capsys.readouterr().out


def test_the_average_is_written(desk: Path, data: str) -> None:
    argv = ["--data", data, *FAST, "--set", "ema_decay=0.5"]
    assert run([*argv, "--output", "last"]) == run([*argv, "--output", "mean", "--ema"])
    assert is_model_directory(desk / "mean")
    weights = [(desk / n / "model.safetensors").read_bytes() for n in ("last", "mean")]
    assert weights[0] != weights[1]
