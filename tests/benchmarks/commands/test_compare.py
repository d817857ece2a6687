"""`chat-envs compare`: the paired difference, and folders in which it cannot be taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.commands.compare import run
from benchmarks.result_folder import cell_path, write_cell
from chat_envs.anchors import Anchors, SplitAnchors
from tests.benchmarks.synthetic_results import cell

TASK = "own/Task-v0"
BASE = (0.1, 0.5, 0.9)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return two agents whose seeds differ far more than they do: ppo is .1 better in each."""
    for seed, base in enumerate(BASE):
        write_cell(tmp_path, cell("grpo", seed=seed, score=base))
        write_cell(tmp_path, cell("ppo", seed=seed, score=base + 0.1))
    return tmp_path


def compare(
    capsys: pytest.CaptureFixture[str], *argv: str
) -> tuple[dict[str, Any], str]:
    assert run([*argv, "--json"]) == 0
    shown = capsys.readouterr()
    record: dict[str, Any] = json.loads(shown.out)
    return record, shown.err


def test_pairing_shows_what_two_intervals_would_hide(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, told = compare(capsys, "ppo", "grpo", "--results", str(folder))
    overall = found["overall"]
    assert overall["value"] == pytest.approx(0.1) and overall["n"] == 3
    assert overall["low"] == pytest.approx(0.1) == overall["high"]
    assert found["probability_of_improvement"]["value"] == pytest.approx(6 / 9)
    assert "left out" not in told


def test_the_other_way_round_is_the_negative(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = compare(capsys, "grpo", "ppo", "--results", str(folder))
    assert found["overall"]["value"] == pytest.approx(-0.1)


def test_people_read_a_line_a_task(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ppo", "grpo", "--results", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ppo minus grpo, normalised score"
    assert lines[1].startswith(f"{TASK}  +0.100 [+0.100, +0.100] (n = 3)  0.600 and ")
    assert lines[2].startswith("overall      +0.100 [+0.100, +0.100] (n = 3)  P 0.667")
    assert len(lines) == 3


def test_two_folders_are_compared_by_their_agent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for seed, base in enumerate(BASE):
        write_cell(one, cell("ppo", seed=seed, score=base + 0.2))
        write_cell(two, cell("ppo", seed=seed, score=base))
    found, _ = compare(capsys, str(one), str(two))
    assert (found["first"], found["second"]) == (str(one), str(two))
    assert found["overall"]["value"] == pytest.approx(0.2)
    write_cell(one, cell("grpo"))
    assert run([str(one), str(two)]) == 2
    assert "name one by --agent" in capsys.readouterr().err
    found, _ = compare(capsys, str(one), str(two), "--agent", "ppo")
    assert found["overall"]["value"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("text", "kind"),
    [(None, "missing"), ("{", "torn"), ('{"version": 0}', "version")],
)
def test_a_run_without_a_partner_is_named(
    folder: Path, text: str | None, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cell(folder, cell("ppo", seed=3, score=0.3))
    write_cell(folder, cell("grpo", seed=3, score=0.1))
    path = cell_path(folder, "ppo", TASK, 1)
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    found, told = compare(capsys, "ppo", "grpo", "--results", str(folder))
    assert found["unpaired"] == [f"grpo {TASK} 1"]
    assert f"grpo {TASK} 1: it has no partner" in told
    assert [p["kind"] for p in found["problems"]] == [kind]
    assert found["overall"]["value"] == pytest.approx((0.1 + 0.1 + 0.2) / 3)


def test_one_seed_has_no_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for agent in ("ppo", "grpo"):
        write_cell(tmp_path, cell(agent))
    found, _ = compare(capsys, "ppo", "grpo", "--results", str(tmp_path))
    assert found["overall"]["value"] is None
    assert "1 run of a task" in found["overall"]["why"]
    assert run(["ppo", "grpo", "--results", str(tmp_path)]) == 0
    assert "not shown: 1 run of a task" in capsys.readouterr().out


def test_a_failed_run_counts_as_nothing_learned_and_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cell(folder, cell("ppo", seed=1, status="failed", error="it broke"))
    found, _ = compare(capsys, "ppo", "grpo", "--results", str(folder))
    assert found["overall"]["value"] == pytest.approx((0.1 - 0.5 + 0.1) / 3)
    assert run(["ppo", "grpo", "--results", str(folder)]) == 0
    assert "1 of ppo's runs failed" in capsys.readouterr().out


def test_agents_that_failed_in_every_run_are_told_apart_from_bad_ones(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(3):
        write_cell(folder, cell("ppo", seed=seed, status="killed", error="slow"))
    found, _ = compare(capsys, "ppo", "grpo", "--results", str(folder))
    assert found["tasks"][TASK]["num_failed"] == [3, 0]
    assert found["tasks"][TASK]["head_to_head"] is None


def test_cells_of_other_anchors_are_never_paired(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = Anchors("v0", SplitAnchors(9.0, 1.0, 0.5), SplitAnchors(9.0, 1.0, 0.5))
    write_cell(folder, cell("ppo", seed=1, anchors=old))
    found, told = compare(capsys, "ppo", "grpo", "--results", str(folder))
    assert [p["kind"] for p in found["problems"]] == ["anchors"]
    assert "(anchors)" in told and found["unpaired"] == [f"grpo {TASK} 1"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["ppo", "grpoo", "--results", "FOLDER"], "Did you mean 'grpo'"),
        (["ppo", "grpo"], "there is no folder 'ppo'"),
        (["ppo", "grpo", "--results", "nowhere"], "There is no folder nowhere"),
        (["ppo", "lonely", "--results", "FOLDER"], "no run of ppo has a partner"),
    ],
)
def test_what_cannot_be_compared_is_bad_input(
    folder: Path, argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cell(folder, cell("lonely", env="own/Other-v0"))
    assert run([str(folder) if word == "FOLDER" else word for word in argv]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["ppo", "ppo", "--results", "x"], "A and B are both 'ppo'"),
        (["a", "b", "--results", "x", "--agent", "y"], "--agent is of two folders"),
        (["a", "b", "--result", "x"], "Did you mean --results"),
    ],
)
def test_a_wrong_flag_is_named(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(argv)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err
