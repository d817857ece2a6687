"""`chat-envs pipeline`: a file of steps, its report, and what is wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from agents.commands.pipeline import read_pipeline, run
from tests.agents.pipeline.small_pipeline import small_pipeline

DOCS = Path(__file__).parents[3] / "docs"


def write_file(path: Path, **fields: object) -> Path:
    record = small_pipeline().as_dict() | fields
    path.write_text(yaml.safe_dump({k: v for k, v in record.items() if v is not None}))
    return path


def test_a_file_is_carried_out_and_then_left_alone(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = dict.fromkeys(("pairs", "reward_model", "ppo"))
    path = write_file(desk / "mine.yaml", **steps)
    assert run([str(path), "--set", "name=one", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((desk / "runs/one/pipeline.json").read_text())
    assert list(report["steps"]) == ["sft", "export"]
    assert not any(step["was_there"] for step in report["steps"].values())
    assert run([str(path), "--set", "name=one"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("sft: there already; held out of env:")
    assert lines[-1] == "the report: runs/one/pipeline.json"


def test_a_value_may_be_set_at_any_depth(desk: Path) -> None:
    path = write_file(desk / "mine.yaml")
    config = read_pipeline(
        path,
        [
            "sft.learning_rate=1e-4",
            "ppo.hyperparameters.num_epochs=3",
            "env_kwargs.max_turns=3",
        ],
    )
    assert config.step("sft").settings.learning_rate == 1e-4
    assert config.step("ppo").settings["hyperparameters"]["num_epochs"] == 3
    assert config.env_kwargs == {"max_turns": 3}


def test_a_file_without_a_name_is_called_as_its_file(desk: Path) -> None:
    (desk / "mine.yaml").write_text("export: {}\nppo: {}\n")
    assert read_pipeline(desk / "mine.yaml").name == "mine"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no file"),
        ("a: [", "cannot be read"),
        ("- a", "must map"),
        ("pppo: {}", "Did you mean 'ppo'"),
        ("ppo: {hyperparameters: {trace: 3}}", "trace"),
        ("sft: {data: [missing.jsonl]}", "missing.jsonl"),
    ],
)
def test_bad_input_is_named(
    desk: Path, capsys: pytest.CaptureFixture[str], text: str | None, words: str
) -> None:
    if text is not None:
        (desk / "mine.yaml").write_text(text)
    assert run(["mine.yaml"]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pipeline_tiny", "pipeline_smollm2"])
def test_the_files_of_the_documentation_are_pipelines(name: str) -> None:
    config = read_pipeline(DOCS / f"{name}.yaml")
    assert config.name == name
    assert config.steps == ("sft", "pairs", "reward_model", "ppo", "export")


@pytest.mark.slow
def test_the_tiny_pipeline_beats_its_start_on_gold(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([str(DOCS / "pipeline_tiny.yaml"), "--json"]) == 0
    gold = json.loads(capsys.readouterr().out)["gold"]
    assert gold["episodes"] == 200 and gold["gain"]["low"] > 0
