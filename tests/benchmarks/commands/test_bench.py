"""`chat-envs bench`: what it asks for, what it refuses, and a benchmark from its first word on."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.train_config import AGENTS as ALGORITHMS
from benchmarks.commands.bench import _names, _split, run
from benchmarks.job_run import run_job
from benchmarks.result_folder import cell_path, read_results, write_cell
from benchmarks.suite_table import SUITES
from tests.benchmarks.small_bench import AGENTS, job_of, write_suite

ROOT = Path(__file__).parents[3]
BANDIT = "chat_envs/KeywordBandit-v0"


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(ROOT)


def bench(tmp_path: Path, *argv: str) -> int:
    words = ["--suite", write_suite(tmp_path), "--out", str(tmp_path / "out")]
    return run([*words, "--seeds", "1", *argv])


def test_a_benchmark_from_its_words_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One run is over before, so that one process is all it takes.
    job = job_of(tmp_path, "expert", "Echo-easy-v0")
    write_cell(tmp_path / "out", run_job(job))
    assert bench(tmp_path, "--agents", "expert") == 0
    shown = capsys.readouterr()
    assert shown.out == (
        f"2 runs: 2 done\nThe report: chat-envs report {tmp_path / 'out'}\n"
    )
    lines = shown.err.splitlines()
    assert lines[0].startswith("2 runs, 1 of them over, ")
    assert lines[1].startswith("[2/2] done in ") and len(lines) == 2
    results = read_results(tmp_path / "out")
    assert results.problems == () and len(results.cells) == 2
    assert bench(tmp_path, "--agents", "expert", "--json") == 0
    again = capsys.readouterr()
    assert json.loads(again.out)["runs"] == {"done": 2}
    assert "2 runs, 2 of them over" in again.err and "[" not in again.err


def test_help_names_every_suite_and_agent(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for word in (*SUITES, *ALGORITHMS, "sft", "sb3-ppo", "module:Class", "+shuffled"):
        assert word in shown
    assert shown.rstrip().endswith("--out results/one")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--agents", "pppo"], "Did you mean 'ppo'"),
        (["--agents", "ppo@learning_rat=1"], "Did you mean 'learning_rate'"),
        (["--agents", "sweep"], "the suite has no sweep"),
        ([], "say who is run"),
        (["--agents", "ppo", "--env", "Ecko-easy-v0"], "Did you mean 'Echo-easy-v0'"),
        (["--agents", "ppo", "--suite", "coree"], "Did you mean 'core'"),
        (["--agents", "no_such_module:Agent"], "cannot be imported"),
        (["--agents", f"{AGENTS}:Idl"], "Did you mean 'Idle'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(tmp_path, *argv) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--seeds", "0"], "at least 1, got '0'"),
        (["--seeds", "three"], "at least 1, got 'three'"),
        (["--seeds", "2", "--seed-list", "1"], "not allowed with"),
        (["--seed-list", "-1"], "at least 0"),
        (["--budget", "0"], "at least 1"),
        (["--jobs", "0"], "at least 1"),
        (["--timeout", "0"], "seconds above 0"),
        (["--timeout", "inf"], "seconds above 0"),
        (["--timeout", "soon"], "seconds above 0"),
        (["--bugdet", "3"], "Did you mean --budget"),
        (["--out"], "expected one argument"),
    ],
)
def test_a_wrong_flag_is_named(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(["--agents", "ppo", "--out", "x", *argv])
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


def test_runs_of_other_settings_are_never_mixed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_of(tmp_path, "expert", "Echo-easy-v0")
    path = write_cell(tmp_path / "out", run_job(job))
    argv = ("--agents", "expert", "--env", "Echo-easy-v0", "--budget", "7")
    before = path.read_bytes()
    assert bench(tmp_path, *argv) == 2
    assert "budget is 200 there, 7 here" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_commas_part_agents_and_their_settings() -> None:
    assert _split("ppo,a@x=1,y=2,b, c+frozen") == ["ppo", "a@x=1,y=2", "b", "c+frozen"]
    assert _split("a@x=1+frozen,b@y=2,z=null") == ["a@x=1+frozen", "b@y=2,z=null"]
    assert _split("") == []


def test_a_sweep_is_run_by_default_and_by_name() -> None:
    variants = ("ppo@x=1", "ppo@x=2")
    assert _names([], variants) == list(variants)
    assert _names(["sft", "sweep"], variants) == ["sft", *variants]
    assert _names(["sft"], variants) == ["sft"]


def without_times(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    for name in ("cpu_seconds", "wall_seconds", "date"):
        del record["provenance"][name]
    if record["curve"]:
        del record["curve"]["seconds"]
    return record


@pytest.mark.slow
def test_a_cell_is_made_again_by_its_command_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_ENVS_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    assert bench(tmp_path, "--agents", "ppo", "--env", "Echo-easy-v0") == 0
    first = cell_path(out, "ppo", "chat_envs/Echo-easy-v0", 0)
    words = shlex.split(json.loads(first.read_text())["command"])
    assert words[0] == "chat-envs"
    done = subprocess.run(
        [sys.executable, "-m", "chat_envs.command_line", *words[1:]],
        cwd=tmp_path,
        env=os.environ
        | {"CHAT_ENVS_CACHE": str(tmp_path / "cold"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    second = cell_path(tmp_path / "rerun", "ppo", "chat_envs/Echo-easy-v0", 0)
    assert without_times(second) == without_times(first)


@pytest.mark.slow
def test_an_agent_in_the_working_directory_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "tests/benchmarks/small_agents.py").read_text()
    (tmp_path / "my_own_agents.py").write_text(text)
    # A folder of that name must not stand in front of ours.
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").write_text("raise ImportError('wrong')")
    monkeypatch.chdir(tmp_path)
    argv = ("--agents", "my_own_agents:Idle", "--env", "KeywordBandit-v0")
    assert bench(tmp_path, *argv) == 0
    assert "1 runs: 1 done" in capsys.readouterr().out
    assert cell_path(tmp_path / "out", "my_own_agents:Idle", BANDIT, 0).is_file()
