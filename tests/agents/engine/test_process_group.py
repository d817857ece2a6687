"""The processes that train together: alone everything is itself; two hear of each other."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch

pytest.importorskip("deepspeed")  # what starts processes knows all that they run

from agents.engine import process_group  # noqa: E402
from tests.agents.engine import group_program  # noqa: E402
from tests.agents.run_program import run_ranks  # noqa: E402


def test_one_process_is_the_first_of_one() -> None:
    assert process_group.place() == (0, 1)
    assert process_group.rank() == process_group.local_rank() == 0
    assert process_group.num_processes() == 1


@pytest.mark.parametrize("message", [b"", b"\x00", b"abc" * 99])
def test_one_process_gathers_its_own_message(message: bytes) -> None:
    assert process_group.gather(message) == [message]


def test_the_sum_of_one_process_is_what_it_has() -> None:
    tensor = torch.tensor([1.0, -2.0, torch.inf])
    process_group.add_up(tensor)
    assert tensor.tolist() == [1.0, -2.0, math.inf]


def test_one_process_agrees_with_itself() -> None:
    assert process_group.is_same("whatever")
    process_group.agree(None)
    process_group.barrier()


def test_the_error_of_one_process_is_raised_as_it_is() -> None:
    error = FileNotFoundError("mine")
    with pytest.raises(FileNotFoundError) as caught:
        process_group.agree(error)
    assert caught.value is error


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what each of two processes got."""
    out = tmp_path_factory.mktemp("group")
    run_ranks(out, group_program.run, out)
    return [json.loads((out / f"rank{rank}.json").read_text()) for rank in range(2)]


def test_nobody_has_a_place_among_others_before_joining(
    reports: list[dict[str, Any]],
) -> None:
    assert [report["early"] for report in reports] == [[0, 1], [0, 1]]
    assert [report["place"] for report in reports] == [[0, 2], [1, 2]]


def test_all_get_the_messages_of_all_in_order(reports: list[dict[str, Any]]) -> None:
    for report in reports:
        gathered = {
            name: [bytes.fromhex(part) for part in parts]
            for name, parts in report["gathered"].items()
        }
        assert gathered == {
            "of different lengths": [bytes(range(200)) * 40, b"\x00\xff\x00"],
            "one empty": [b"not empty\x00", b""],
            "all empty": [b"", b""],
        }


def test_a_sum_is_over_all_and_a_nan_is_not_lost(
    reports: list[dict[str, Any]],
) -> None:
    for report in reports:
        (tenth, four), (one, nan) = report["sum"]
        assert (four, one) == (4.0, 1.0) and math.isnan(nan)
        assert tenth == pytest.approx(0.2)


def test_texts_are_the_same_only_where_all_are(reports: list[dict[str, Any]]) -> None:
    for report in reports:
        assert report["same"] == [True, False, False, True]


def test_an_error_of_one_stops_the_other_too(reports: list[dict[str, Any]]) -> None:
    first, second = reports
    assert second["agreed"] == "FileNotFoundError: mine"
    assert first["agreed"].startswith("OtherProcessError: 1 of 2 processes failed")
    assert [r["both"] for r in reports] == ["ValueError: 0", "ValueError: 1"]
    assert [r["none"] for r in reports] == ["", ""]


def test_nobody_passes_a_barrier_before_all_are_there(
    reports: list[dict[str, Any]],
) -> None:
    for report in reports:
        assert report["seen"] == ["here0", "here1"]


def test_a_tally_over_processes_is_of_all_of_them(
    reports: list[dict[str, Any]],
) -> None:
    expected = {
        "largest": 3.0,
        "mean": pytest.approx(20 / 3),
        "only 0": 5.0,
        "only 1": 5.0,
        "total": 3.0,
    }
    for report in reports:
        assert report["tally"] == expected
