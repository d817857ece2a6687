"""What a command costs is measured of the command alone, and a failure is no cost."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from benchmarks.command_cost import run_command
from benchmarks.pipeline_cost import measure
from tests.agents.pipeline.small_pipeline import NAME, small_pipeline


def test_a_command_has_its_own_directory_and_cost(tmp_path: Path) -> None:
    cost = run_command("info", "chat_envs/Echo-easy-v0", root=tmp_path)
    assert set(cost) == {"seconds", "cpu_seconds", "peak_bytes"}
    assert cost["peak_bytes"] > 10e6
    assert cost["cpu_seconds"] > 0


def test_a_command_that_fails_raises(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run_command("info", "chat_envs/NoSuch-v0", root=tmp_path)


@pytest.mark.slow
def test_a_pipelines_report_comes_with_its_cost(tmp_path: Path) -> None:
    fields = {k: v for k, v in small_pipeline().as_dict().items() if v is not None}
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(fields), encoding="utf-8")
    (tmp_path / "root").mkdir()
    result = measure(file, tmp_path / "root")
    assert result["report"]["config"]["name"] == NAME
    steps = result["report"]["steps"]
    assert set(steps) == {"sft", "pairs", "reward_model", "ppo", "export"}
    assert result["seconds"] >= sum(step["seconds"] for step in steps.values())
    assert set(result["report"]["gold"]) >= {"before", "after", "gain"}


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.yaml"):
        measure(tmp_path / "nowhere.yaml", tmp_path)
