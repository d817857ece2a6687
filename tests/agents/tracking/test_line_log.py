"""Logs of lines: the same records are the same bytes, and a cut goes back exactly."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.checkpoint import DamagedFileError
from agents.tracking import LineLog, plain_json, read_lines
from tests.agents.damage import ACCIDENTS, malicious_pickle

figures = st.dictionaries(st.text(max_size=5), st.floats() | st.integers() | st.text())


def test_records_come_back(tmp_path: Path) -> None:
    log = LineLog(tmp_path / "log")
    records = [{"return": 0.1, "text": "a\nb \u2028 \N{GRINNING FACE}"}, {"n": [1, 2]}]
    for record in records:
        log.append(record)
    log.close()
    assert read_lines(tmp_path / "log") == records


@given(before=st.lists(figures), after=st.lists(figures), again=st.lists(figures))
def test_a_resumed_log_is_the_log_of_a_run_that_was_never_cut(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[dict[str, object]],
    after: list[dict[str, object]],
    again: list[dict[str, object]],
) -> None:
    directory = tmp_path_factory.mktemp("log")
    cut, whole = directory / "cut", directory / "whole"
    log = LineLog(cut)
    for record in before:
        log.append(record)
    mark = log.mark()
    for record in after:
        log.append(record)
    log.close()
    log = LineLog(cut, mark)
    for record in again:
        log.append(record)
    resumed = log.mark()
    log.close()
    log = LineLog(whole)
    for record in before + again:
        log.append(record)
    assert log.mark() == resumed
    log.close()
    assert cut.read_bytes() == whole.read_bytes()


def test_every_line_is_json_of_the_standard(tmp_path: Path) -> None:
    log = LineLog(tmp_path / "log")
    log.append({"a": math.nan, "b": [math.inf, 1.0], "c": {"d": -math.inf}, "e": (1,)})
    log.close()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    line = (tmp_path / "log").read_text()
    assert json.loads(line, parse_constant=refuse) == {
        "a": None,
        "b": [None, 1.0],
        "c": {"d": None},
        "e": [1],
    }


def test_without_a_mark_a_log_begins_afresh(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("something else")
    LineLog(tmp_path / "log").close()
    assert (tmp_path / "log").read_bytes() == b""


@pytest.mark.parametrize("accident", ACCIDENTS)
def test_a_damaged_log_is_refused_and_left_alone(tmp_path: Path, accident: str) -> None:
    path = tmp_path / "metrics.jsonl"
    log = LineLog(path)
    log.append({"return": 1.0})
    mark = log.mark()
    log.close()
    ACCIDENTS[accident](path)
    before = path.read_bytes() if path.exists() else b""
    with pytest.raises(DamagedFileError, match="metrics.jsonl is damaged"):
        LineLog(path, mark)
    assert path.read_bytes() == before


def test_a_pickle_for_a_log_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = LineLog(path)
    log.append({"return": 1.0})
    mark = log.mark()
    log.close()
    path.write_bytes(malicious_pickle(tmp_path / "proof"))
    with pytest.raises(DamagedFileError, match="metrics.jsonl"):
        LineLog(path, mark)
    path.write_bytes(malicious_pickle(tmp_path / "proof") + b"\n")
    with pytest.raises(DamagedFileError, match="metrics.jsonl:1"):
        read_lines(path)
    assert not (tmp_path / "proof").exists()


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"a": 1}\n{"a"')
    assert read_lines(tmp_path / "log") == [{"a": 1}]


@pytest.mark.parametrize("line", ["x", "[1]", '{"a": }'])
def test_another_bad_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "log").write_text('{"a": 1}\n' + line + "\n")
    with pytest.raises(DamagedFileError, match="log:2 is damaged"):
        read_lines(tmp_path / "log")


def test_a_missing_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match="log is missing"):
        read_lines(tmp_path / "log")


def test_plain_json_keeps_what_json_has() -> None:
    record = {"a": [1, 2.5, "x", None, True], "b": {}}
    assert plain_json(record) == record
