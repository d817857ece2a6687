"""`check` and `anchors`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chat_envs import anchors as anchor_file
from chat_envs.commands import anchors, check
from chat_envs.registration import registrations
from chat_envs.testing import CLAUSES
from tests.chat_envs.registered import registered

Capture = pytest.CaptureFixture[str]
BROKEN = "tests.chat_envs.commands.toy_broken:Forgetful"


def test_check_prints_one_line_an_id(capsys: Capture) -> None:
    with registered() as env_id:
        assert check.run([env_id, "--episodes", "4"]) == 0
    line, total = capsys.readouterr().out.splitlines()
    assert line.split()[:2] == [env_id, "ok"]
    assert total.startswith("1 of 1 passed")


def test_check_names_the_broken_clauses(capsys: Capture) -> None:
    with registered("toy/Forgetful-v0", BROKEN) as env_id:
        assert check.run([env_id, "--episodes", "4", "--json"]) == 1
        report = json.loads(capsys.readouterr().out)
        assert check.run([env_id, "--episodes", "4"]) == 1
    (row,) = report["environments"]
    broken = {c["clause"]: c["message"] for c in row["clauses"] if not c["is_passed"]}
    assert not row["is_passed"] and "determinism" in broken
    assert {c["clause"] for c in row["clauses"]} <= set(CLAUSES)
    out = capsys.readouterr().out
    assert "BROKEN" in out and "determinism: " in out and "0 of 1 passed" in out


def test_check_all_takes_every_id(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def record(env_id: str, **kwargs: Any) -> list[Any]:
        seen.append(env_id)
        return []

    monkeypatch.setattr(check, "check_chat_env", record)
    assert check.run(["all"]) == 0
    assert seen == [r.id for r in registrations()]


def test_check_wants_enough_episodes() -> None:
    with pytest.raises(SystemExit) as stop:
        check.run(["all", "--episodes", "1"])
    assert stop.value.code == 2


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the anchors be kept in a file of the test's own, of few episodes."""
    path = tmp_path / "anchors.json"
    monkeypatch.setattr(anchor_file, "_own_file", lambda: path)
    monkeypatch.setattr(anchor_file, "NUM_EPISODES", 5)
    anchor_file._read_file.cache_clear()
    return path


def test_anchors_are_written_and_then_hold(own_file: Path, capsys: Capture) -> None:
    with registered() as env_id:
        assert anchors.run([env_id, "--check"]) == 1, "nothing is stored yet"
        assert not own_file.exists(), "--check wrote"
        assert anchors.run([env_id]) == 0
        assert anchors.run([env_id, "--check"]) == 0
        capsys.readouterr()
        assert anchors.run([env_id, "--check", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {env_id: []}


def test_anchors_that_no_longer_hold_are_named(own_file: Path, capsys: Capture) -> None:
    with registered() as env_id:
        anchors.run([env_id])
        document = json.loads(own_file.read_text(encoding="utf-8"))
        document["anchors"][env_id]["test"]["blind"] += 0.5
        own_file.write_text(json.dumps(document), encoding="utf-8")
        anchor_file._read_file.cache_clear()
        capsys.readouterr()
        assert anchors.run([env_id, "--check"]) == 1
    out = capsys.readouterr().out
    assert "no longer holds" in out and "test blind" in out


def test_anchors_of_all_ids_by_default(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchor_file, "check", lambda env_id: [])
    assert anchors.run(["--check"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(registrations())
