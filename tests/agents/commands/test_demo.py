"""`chat-envs demo`: the whole job, small; and what a second one does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agents.commands import demo
from agents.tracking import read_lines

TINY: Mapping[str, Any] = {
    "total_timesteps": 8,
    "warm_start": {"script": "careless", "num_steps": 1, "num_episodes": 2},
    "hyperparameters": {"num_episodes": 2, "group_size": 2},
    "num_eval_episodes": 3,
    "checkpoint_every": 1,
}


@pytest.fixture
def small(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of a demo that takes a second."""
    monkeypatch.setattr(demo, "DEMO", dict(demo.DEMO) | dict(TINY))
    return desk / "runs/demo"


def test_the_demo_as_it_stands_is_a_run() -> None:
    config = demo.demo_config(seed=4)
    warm_start = config.warm_start_config()
    assert warm_start is not None and warm_start.script == "careless"
    assert config.has_start_evaluation and config.eval_split == "test"
    assert config.num_eval_episodes >= 200, "its claims need that many"


def test_the_demo_leaves_summary_and_report(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.run([]) == 0
    printed = capsys.readouterr().out
    for words in ("before", "after", "gain in success", "report.html", "greedy"):
        assert words in printed
    summary = json.loads((small / "summary.json").read_text())
    assert set(summary) == {"before", "after", "gain", "greedy", "seconds"}
    for side in (summary["before"], summary["after"], *summary["greedy"].values()):
        assert side["env"] == demo.DEMO["env"] and side["episodes"] == 3
        for name in ("return", "success", "normalised_score"):
            assert set(side[name]) == {"mean", "low", "high"}
    assert set(summary["gain"]) == {"mean", "low", "high"}
    assert summary["seconds"] > 0
    page = (small / "report.html").read_text()
    assert "chat-envs demo --seed 0 --lm tiny --run demo" in page


def test_a_finished_demo_is_replaced(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.run(["--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    metrics = (small / "metrics.jsonl").read_bytes()
    assert demo.run(["--json"]) == 0
    second = json.loads(capsys.readouterr().out)
    del first["seconds"], second["seconds"]
    assert first == second and (small / "metrics.jsonl").read_bytes() == metrics
    assert demo.run(["--seed", "1"]) == 0, "of another config, but finished too"
    assert (small / "metrics.jsonl").read_bytes() != metrics


def test_an_interrupted_demo_goes_on(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.run([]) == 0
    summary = json.loads((small / "summary.json").read_text())
    metrics = (small / "metrics.jsonl").read_bytes()
    (small / "summary.json").unlink()
    for path in sorted((small / "checkpoints").iterdir())[1:]:
        (path / "manifest.json").unlink()
    assert demo.run([]) == 0
    assert "Resuming from" in capsys.readouterr().err
    assert (small / "metrics.jsonl").read_bytes() == metrics
    again = json.loads((small / "summary.json").read_text())
    del again["seconds"], summary["seconds"]
    assert again == summary


def test_an_unfinished_run_of_another_config_is_not_lost(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.run([]) == 0
    (small / "summary.json").unlink()
    lines = read_lines(small / "metrics.jsonl")
    assert demo.run(["--seed", "1"]) == 2
    assert "seed is 0 there, 1 here" in capsys.readouterr().err
    assert read_lines(small / "metrics.jsonl") == lines
    assert demo.run(["--seed", "1", "--force"]) == 0


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--lm", "tinny"], "Did you mean 'tiny'"),
        (["--run", "a/b"], "name"),
        (["--seed", "-1"], "seed must lie in"),
        (["--total-timesteps", "0"], "total_timesteps must lie in"),
    ],
)
def test_bad_input_is_exit_code_2(
    small: Path, argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.run(argv) == 2
    assert words in capsys.readouterr().err
    assert not small.exists()
