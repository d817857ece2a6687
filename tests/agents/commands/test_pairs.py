"""`chat-envs pairs`: a file that `read_pairs` reads, and a summary of how it came about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.commands.pairs import SUMMARY, run
from chat_envs.preference_pair import read_pairs

ENV = "CustomerService-easy-v0"


def collect(*argv: str, policies: tuple[str, ...] = ("expert", "blind")) -> int:
    return run(["--env", ENV, "--num-pairs", "20", *argv, "--policies", *policies])


def test_the_file_holds_the_pairs_that_the_summary_counts(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert collect("--output", "p.jsonl", "--flip-rate", "0.5", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["env"] == f"chat_envs/{ENV}" and record["num_pairs"] == 20
    assert set(record["mean_gold"]) == {"expert", "blind"}
    assert len(read_pairs("p.jsonl")) == 20
    lines = [json.loads(line) for line in Path("p.jsonl").open()]
    num_flipped = sum(line["is_flipped"] for line in lines)
    assert num_flipped == record["num_flipped"] and 0 < num_flipped < 20
    for line in lines:
        assert (line["gold"][0] < line["gold"][1]) == line["is_flipped"]


def test_people_get_lines(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert collect("--output", "p.jsonl") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"p.jsonl: 20 pairs of chat_envs/{ENV}"
    assert any(line.startswith("  mean gold reward of expert: 0.") for line in lines)


def test_runs_and_models_answer_at_temperatures(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policies = ("expert", "runs/small@0.7", "runs/small@1.3", "tiny")
    short = ["--set", "reply_length=4", "--set", "max_turns=2"]
    assert collect("--output", "p.jsonl", *short, policies=policies) == 0
    said = [json.loads(line)["policies"] for line in Path("p.jsonl").open()]
    assert {name for names in said for name in names} == set(policies)


@pytest.mark.parametrize(
    ("policies", "problem"),
    [
        (("expert",), "Pairs need two policies"),
        (("expert", "experto"), "no script 'experto'"),
        (("expert", "tiny@hot"), "a temperature above 0, got 'hot'"),
        (("expert", "tiny@0"), "a temperature above 0, got '0'"),
        (("expert", "runs/none@1"), "runs/none"),
        (("expert", "expert"), "Take other policies"),
    ],
)
def test_policies_that_cannot_be_are_refused(
    desk: Path,
    capsys: pytest.CaptureFixture[str],
    policies: tuple[str, ...],
    problem: str,
) -> None:
    assert collect("--output", "p.jsonl", policies=policies) == 2
    assert problem in capsys.readouterr().err
    assert not Path("p.jsonl").exists()


def test_a_file_is_replaced_only_by_force(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("p.jsonl").write_text("mine", "utf-8")
    with pytest.raises(SystemExit) as caught:
        collect("--output", "p.jsonl")
    assert caught.value.code == 2 and Path("p.jsonl").read_text("utf-8") == "mine"
    assert collect("--output", "p.jsonl", "--force") == 0
    assert len(read_pairs("p.jsonl")) == 20


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert SUMMARY in text and "example:\n  chat-envs pairs" in text
