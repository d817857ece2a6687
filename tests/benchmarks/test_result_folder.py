"""A results folder, whole or not: what cannot be counted is named, and the rest is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.result_folder import (
    Plan,
    Problem,
    ResultsError,
    cell_path,
    is_about,
    read_results,
    write_cell,
    write_plan,
)
from tests.benchmarks.synthetic_results import cell


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for agent in ("ppo", "grpo"):
        for seed in range(3):
            write_cell(tmp_path, cell(agent, seed=seed))
    return tmp_path


PPO_0 = "cells/ppo/own%2FTask-v0/0.json"


def edit(path: Path, **fields: Any) -> None:
    record = json.loads(path.read_text()) | fields
    path.write_text(json.dumps(record))


def only_problem(folder: Path) -> Problem:
    results = read_results(folder)
    assert len(results.problems) == 1, results.problems
    assert len(results.cells) == 5
    return results.problems[0]


def test_whole_results_have_no_problem(folder: Path) -> None:
    results = read_results(folder)
    assert results.problems == ()
    assert [(c.agent, c.seed) for c in results.cells] == [
        (agent, seed) for agent in ("grpo", "ppo") for seed in range(3)
    ]
    assert results.cells[3] == cell("ppo", seed=0)


@pytest.mark.parametrize("kept", [0, 1, 40, -2])
def test_a_torn_file_is_named(folder: Path, kept: int) -> None:
    path = folder / PPO_0
    path.write_bytes(path.read_bytes()[:kept])
    found = only_problem(folder)
    assert (found.place, found.kind) == (PPO_0, "torn")
    assert str(folder) not in found.text


@pytest.mark.parametrize(
    "content", [b"\x80\x04", b"[1]", b"{\xff}", b"null", b"{" * 99999]
)
def test_what_is_no_json_object_is_torn(folder: Path, content: bytes) -> None:
    (folder / PPO_0).write_bytes(content)
    assert only_problem(folder).kind == "torn"


@pytest.mark.parametrize("version", [0, 2, "1", None, True])
def test_a_file_of_another_version_is_named(folder: Path, version: Any) -> None:
    edit(folder / PPO_0, version=version)
    found = only_problem(folder)
    assert found.kind in ("version", "malformed")
    assert repr(version) in found.text


def test_a_malformed_cell_is_named_with_its_field(folder: Path) -> None:
    edit(folder / PPO_0, seed="zero")
    found = only_problem(folder)
    assert (found.place, found.kind) == (PPO_0, "malformed")
    assert "record.seed is 'zero'" in found.text


def test_a_cell_in_another_ones_place_is_not_counted(folder: Path) -> None:
    edit(folder / PPO_0, seed=1, agent="grpo")
    found = only_problem(folder)
    assert (found.place, found.kind) == (PPO_0, "misfiled")


def test_a_missing_cell_is_named(folder: Path) -> None:
    (folder / PPO_0).unlink()
    assert only_problem(folder) == Problem(
        "ppo own/Task-v0 0", "missing", "there is no such cell"
    )


def test_a_plan_says_what_else_is_missing(folder: Path) -> None:
    write_plan(folder, Plan(("ppo", "sb3"), ("own/Task-v0",), (0, 3)))
    places = [(p.place, p.kind) for p in read_results(folder).problems]
    assert places == [
        ("ppo own/Task-v0 3", "missing"),
        ("sb3 own/Task-v0 0", "missing"),
        ("sb3 own/Task-v0 3", "missing"),
    ]
    assert read_results(folder).agents == ["grpo", "ppo", "sb3"]


@pytest.mark.parametrize(
    ("content", "kind"), [('{"version": 1', "torn"), ('{"version": 1}', "malformed")]
)
def test_a_broken_plan_is_named(folder: Path, content: str, kind: str) -> None:
    (folder / "plan.json").write_text(content)
    (found,) = read_results(folder).problems
    assert (found.place, found.kind) == ("plan.json", kind)


def test_what_a_killed_writer_left_aside_is_no_cell(folder: Path) -> None:
    (folder / PPO_0).with_name(".0.json.writing").write_text('{"version"')
    assert read_results(folder).problems == ()


def test_a_file_that_does_not_belong_is_named(folder: Path) -> None:
    (folder / "cells" / "notes.txt").write_text("hello")
    (found,) = read_results(folder).problems
    assert (found.place, found.kind) == ("cells/notes.txt", "stray")


def test_a_control_needs_no_partner_on_every_task(folder: Path) -> None:
    write_cell(folder, cell("shuffled", "own/Other-v0", 9, kind="control"))
    assert read_results(folder).problems == ()


def test_no_folder_and_an_empty_one_are_refused(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(ResultsError, match="holds no results"):
        read_results(folder / "empty")
    (folder / "empty" / "cells").mkdir()
    with pytest.raises(ResultsError, match="holds no results"):
        read_results(folder / "empty")
    (folder / "core").mkdir()
    (folder / "core" / "cells").mkdir()
    with pytest.raises(ResultsError, match="no folder .*Did you mean 'core'"):
        read_results(folder / "cor")
    with pytest.raises(ResultsError, match="no folder"):
        read_results(folder / "nowhere" / "deep")


def test_a_folder_of_broken_files_alone_is_read_and_says_so(tmp_path: Path) -> None:
    path = write_cell(tmp_path, cell())
    path.write_text("")
    results = read_results(tmp_path)
    assert results.cells == ()
    assert [p.kind for p in results.problems] == ["torn"]


NAME = st.text(min_size=1, max_size=20).filter(lambda s: s.isprintable())


@given(NAME, NAME)
def test_any_name_has_one_file_inside_the_folder(agent: str, env: str) -> None:
    root = Path("results")
    path = cell_path(root, agent, env, 0)
    assert path.parts[:2] == ("results", "cells") and len(path.parts) == 5
    assert ".." not in path.parts and "." not in path.parts
    others = cell_path(root, agent + "/", env, 0), cell_path(root, agent, env + "%", 0)
    assert path not in others


@pytest.mark.parametrize("agent", ["..", ".", "my.pkg:Agent", "a/b", "sb3-ppo", "$x"])
def test_an_agent_of_any_name_is_found_again(tmp_path: Path, agent: str) -> None:
    write_cell(tmp_path, cell(agent))
    results = read_results(tmp_path)
    assert [c.agent for c in results.cells] == [agent]
    assert results.problems == ()


def test_a_cell_is_replaced_whole(folder: Path) -> None:
    write_cell(folder, cell("ppo", score=0.75))
    assert read_results(folder).cells[3].score() == 0.75
    assert [p.name for p in (folder / PPO_0).parent.glob(".*")] == []


def test_half_of_a_surrogate_pair_is_stored(tmp_path: Path) -> None:
    write_cell(tmp_path, cell(command="\ud800 broken"))
    assert read_results(tmp_path).cells[0].command == "\ud800 broken"


def test_a_problem_is_of_one_agent_or_of_all() -> None:
    file = Problem(PPO_0, "torn", "")
    assert is_about(file, "ppo") and not is_about(file, "grpo")
    missing = Problem("ppo own/Task-v0 0", "missing", "")
    assert is_about(missing, "ppo") and not is_about(missing, "pp")
    assert is_about(Problem("plan.json", "torn", ""), "anybody")
