"""The run directory: one run of one config, and clear words about everything else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.checkpoint import DamagedFileError
from agents.tracking import (
    LOGS,
    RunDirectory,
    RunError,
    check_run_name,
    differences,
    find_run,
    machinery,
    replace_json,
)
from tests.agents.damage import malicious_pickle

CONFIG: dict[str, Any] = {"seed": 0, "total": 10, "ppo": {"rate": 0.1, "clip": 0.2}}


def open_run(
    path: Path, config: dict[str, Any] = CONFIG, **options: Any
) -> RunDirectory:
    return RunDirectory(path, config, growing=("total",), **options)


def test_a_run_says_what_it_is(tmp_path: Path) -> None:
    with open_run(tmp_path / "run") as run:
        assert run.remarks == []
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["config"] == CONFIG
    assert stored["machinery"] == machinery()
    assert stored["machinery"]["versions"]["torch"]


def test_a_run_is_not_begun_twice(tmp_path: Path) -> None:
    open_run(tmp_path).close()
    with pytest.raises(RunError, match="--resume.*--force.*--run"):
        open_run(tmp_path)


def test_a_run_in_use_is_refused_even_for_replacing(tmp_path: Path) -> None:
    with open_run(tmp_path):
        for options in ({}, {"is_resuming": True}, {"is_replacing": True}):
            with pytest.raises(RunError, match=f"in use: process {os.getpid()}"):
                open_run(tmp_path, **options)
        assert (tmp_path / "config.json").exists()


def test_a_refusal_lets_go_of_the_lock(tmp_path: Path) -> None:
    open_run(tmp_path).close()
    for _ in range(2):
        with pytest.raises(RunError, match="holds a run already"):
            open_run(tmp_path)


def test_another_config_is_refused_and_the_fields_are_named(tmp_path: Path) -> None:
    open_run(tmp_path).close()
    before = (tmp_path / "config.json").read_bytes()
    other = {"seed": 1, "total": 10, "ppo": {"rate": 0.1, "trace": 1.0}}
    with pytest.raises(RunError) as caught:
        open_run(tmp_path, other, is_resuming=True)
    message = str(caught.value)
    assert "config.json is of another config" in message
    for words in (
        "seed is 0 there, 1 here",
        "ppo.clip is 0.2 there, 'absent' here",
        "ppo.trace is 'absent' there, 1.0 here",
    ):
        assert words in message
    assert "rate" not in message and "total" not in message
    assert (tmp_path / "config.json").read_bytes() == before


def test_the_same_config_is_resumed(tmp_path: Path) -> None:
    open_run(tmp_path).close()
    with open_run(tmp_path, is_resuming=True) as run:
        assert run.remarks == []


def test_a_run_may_grow_but_not_shrink(tmp_path: Path) -> None:
    open_run(tmp_path).close()
    open_run(tmp_path, CONFIG | {"total": 20}, is_resuming=True).close()
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["config"]["total"] == 20
    with pytest.raises(RunError, match="total is 20 there, 10 here"):
        open_run(tmp_path, is_resuming=True)


def test_resuming_nothing_begins_and_says_so(tmp_path: Path) -> None:
    with open_run(tmp_path, is_resuming=True) as run:
        assert "no run to resume" in run.remarks[0]
    assert (tmp_path / "config.json").exists()


def test_other_machinery_is_remarked(tmp_path: Path) -> None:
    open_run(tmp_path).close()
    stored = json.loads((tmp_path / "config.json").read_text())
    stored["machinery"]["versions"]["torch"] = "1.0"
    (tmp_path / "config.json").write_text(json.dumps(stored))
    with open_run(tmp_path, is_resuming=True) as run:
        (remark,) = run.remarks
    assert "versions.torch is '1.0' there" in remark


@pytest.mark.parametrize("text", [b"", b"{", b'{"machinery": {}}', b"[]"])
def test_a_damaged_config_is_refused_by_name(tmp_path: Path, text: bytes) -> None:
    open_run(tmp_path).close()
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(DamagedFileError, match="config.json"):
        open_run(tmp_path, is_resuming=True)


def test_a_pickle_for_a_config_is_refused_unread(tmp_path: Path) -> None:
    open_run(tmp_path).close()
    (tmp_path / "config.json").write_bytes(malicious_pickle(tmp_path / "proof"))
    with pytest.raises(DamagedFileError, match="config.json is refused unread"):
        open_run(tmp_path, is_resuming=True)
    assert not (tmp_path / "proof").exists()


def test_checkpoints_without_a_config_are_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir(parents=True)
    with pytest.raises(DamagedFileError, match="config.json is missing"):
        open_run(tmp_path, is_resuming=True)
    open_run(tmp_path, is_replacing=True).close()
    assert not (tmp_path / "checkpoints").exists()


def test_replacing_removes_what_a_run_writes_and_nothing_else(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.open_logs(None)
        run.log("metrics.jsonl", {"return": 1.0})
        run.write("evaluation.json", {"after": 1})
        (run.checkpoints / "step_1").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "mine.json").write_text("{}")
    with open_run(tmp_path, {"seed": 5}, is_replacing=True):
        found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["config.json", "lock", "mine.json", "notes.txt"]


def test_logs_are_cut_back_to_their_marks(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.open_logs(None)
        for name in LOGS:
            run.log(name, {"line": 1})
        marks = run.marks()
        for name in LOGS:
            run.log(name, {"line": 2})
    with open_run(tmp_path, is_resuming=True) as run:
        run.open_logs(json.loads(json.dumps(marks)), 10)
    for name in LOGS:
        assert (tmp_path / name).read_text() == '{"line": 1}\n'


def test_events_past_the_checkpoint_are_purged(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.open_logs(None)
        marks = run.marks()
        for step in (10, 20, 30):
            run.log_scalars({"return": step, "unknown": float("nan")}, step)
    with open_run(tmp_path, is_resuming=True) as run:
        run.open_logs(marks, 10)
        run.log_scalars({"return": 21.0}, 21)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Tags()["scalars"] == ["return"]
    assert [(e.step, e.value) for e in events.Scalars("return")] == [(10, 10), (21, 21)]


def test_a_json_file_is_replaced_at_once(tmp_path: Path) -> None:
    path = replace_json(tmp_path / "summary.json", {"gain": float("nan"), "n": (1, 2)})
    assert json.loads(path.read_text()) == {"gain": None, "n": [1, 2]}
    assert [p.name for p in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-x", "a b", "x\n"])
def test_a_name_that_leaves_the_directory_of_runs_is_refused(name: str) -> None:
    with pytest.raises(RunError, match="name"):
        check_run_name(name)


def test_good_names_stay_as_they_are() -> None:
    assert (
        check_run_name("ppo-CustomerService-easy-v0-0")
        == "ppo-CustomerService-easy-v0-0"
    )


def test_a_run_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    open_run(tmp_path / "runs" / "first").close()
    assert find_run("first", tmp_path / "runs") == tmp_path / "runs" / "first"
    path = tmp_path / "runs" / "first"
    assert find_run(str(path), Path("elsewhere")) == path
    with pytest.raises(RunError, match="Did you mean 'first'.*There are: first"):
        find_run("frist", tmp_path / "runs")
    with pytest.raises(RunError, match="None is there yet"):
        find_run("first", tmp_path / "nowhere")


def test_differences_of_equal_records_are_none() -> None:
    assert differences(CONFIG, json.loads(json.dumps(CONFIG))) == []
    assert differences({"a": {}}, {"a": {"b": 1}}) != []
