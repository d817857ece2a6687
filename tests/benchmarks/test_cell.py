"""The record of one run: what it holds, what it refuses, and that nothing is lost on the way."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.tracking import plain_json
from benchmarks.cell import Cell, Curve, Evaluation, shorten_error
from benchmarks.cell_schema import SCHEMA, MalformedRecordError, validate
from benchmarks.language_health import LanguageHealth
from tests.benchmarks.synthetic_results import OWN, cell, evaluation, transcript

FULL = cell(
    score=0.25,
    curve=Curve(
        split="train",
        turns=(0, 10),
        tokens=(0, 100),
        seconds=(0.0, 1.5),
        mean_return=(1.0, None),
        kl=(0.0, 0.5),
        gold=(1.0, 0.5),
        proxy=(0.0, 2.0),
    ),
    language={"final": LanguageHealth(distinct_1=0.5, share_cut=0.25)},
    transcripts=(transcript("best"), transcript("random", 3)),
    config={"agent": "ppo", "ppo": {"rate": 1e-4}},
)


def stored(of: Cell = FULL) -> dict[str, Any]:
    return json.loads(json.dumps(plain_json(of.as_dict())))


def test_a_cell_comes_back_from_json_as_it_was() -> None:
    assert Cell.from_dict(stored()) == FULL


def test_a_score_is_normalised_by_the_anchors_of_its_split() -> None:
    split = OWN.train.__class__(4.0, 0.0, 0.0)
    own = OWN.__class__("v", train=split, test=OWN.test)
    found = cell(
        anchors=own,
        evaluations={
            "final": evaluation([1.5, 2.0]),
            "final_train": evaluation([1.0, 3.0], split="train"),
        },
    )
    assert found.score() == 0.75
    assert found.score("final_train") == 0.5
    assert found.score("final_greedy") is None
    assert cell(anchors=None).score() is None


def test_unknown_returns_are_counted_and_left_out_of_the_mean() -> None:
    found = evaluation([1.0, None, 3.0])
    assert (found.mean_return, found.num_unknown) == (2.0, 1)
    assert math.isnan(evaluation([None]).mean_return)


def test_a_number_that_json_lacks_is_stored_as_unknown() -> None:
    found = cell(evaluations={"final": evaluation([1.0, math.nan])})
    assert Cell.from_dict(stored(found)).evaluations["final"].num_unknown == 1


def test_repeats_are_trials_of_one_goal() -> None:
    found = Evaluation(
        split="test",
        first_seed=7,
        repeats=2,
        returns=(1.0,) * 4,
        successes=(1, 0, 1, 1),
    )
    assert found.seeds == (7, 7, 8, 8)
    assert found.trials() == ([1, 2], [2, 2])


@pytest.mark.parametrize("status", ["failed", "killed", "malformed"])
def test_a_run_without_a_score_says_why(status: str) -> None:
    found = cell(status=status, error="CUDA out of memory", evaluations={})
    assert Cell.from_dict(stored(found)) == found


def test_a_run_that_is_done_has_a_score() -> None:
    with pytest.raises(MalformedRecordError, match="'final' has no known return"):
        cell(evaluations={})
    with pytest.raises(MalformedRecordError, match="'final' has no known return"):
        cell(evaluations={"final": evaluation([None, None])})


BROKEN: list[tuple[tuple[Any, ...], Any, str]] = [
    (("status",), "ok", "record.status is 'ok'; expected one of 'done'"),
    (("seed",), True, "record.seed is True; expected integer"),
    (("seed",), -1, "record.seed is -1; expected at least 0"),
    (("seed",), 10**400, "record.seed is 1000.*; expected a number below"),
    (("agent",), "", "record.agent is ''; expected a text that is not empty"),
    (("budget", "tokens"), "many", r"record.budget\['tokens'\] is 'many'"),
    (("surprise",), 1, "record has an unknown field 'surprise'"),
    (("anchors", "train", "blind"), None, "record.anchors.train.blind is None"),
    (("evaluations", "final", "returns", 0), "1", r"final'\].returns\[0\] is '1'"),
    (("evaluations", "final", "returns", 0), math.nan, "expected a finite number"),
    (("evaluations", "final", "returns", 0), math.inf, "expected a finite number"),
    (("evaluations", "final", "returns"), [], "expected at least 1 items"),
    (("evaluations", "final", "successes", 0), 2, r"\[0\] is 2; expected at most 1"),
    (("evaluations", "final", "successes", 0), True, r"\[0\] is True; expected int"),
    (("evaluations", "final", "successes"), [1], "2 returns and 1 successes"),
    (("evaluations", "final", "reply_tokens"), [1.0], "2 returns and 1 reply_tokens"),
    (("evaluations", "final", "repeats"), 3, "2 returns are no multiple of 3"),
    (("curve", "tokens"), [5, 1], "the tokens of the curve fall"),
    (("curve", "mean_return"), [0.5], "2 turns and 1 mean_return"),
    (("transcripts", 0, "messages", 0), "hello", r"messages\[0\] is 'hello'"),
    (("transcripts", 0, "kind"), "good", r"transcripts\[0\].kind is 'good'"),
]


@pytest.mark.parametrize(("place", "value", "message"), BROKEN)
def test_what_is_no_cell_is_named(
    place: tuple[Any, ...], value: Any, message: str
) -> None:
    record = stored()
    inner = record
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    with pytest.raises(MalformedRecordError, match=message):
        Cell.from_dict(record)


@pytest.mark.parametrize("name", SCHEMA["required"])
def test_no_field_may_be_missing(name: str) -> None:
    record = stored()
    del record[name]
    with pytest.raises(MalformedRecordError, match=f"record lacks '{name}'"):
        Cell.from_dict(record)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(stored())), JSON)
def test_any_value_of_any_field_is_taken_or_named(name: str, value: Any) -> None:
    record = stored() | {name: value}
    try:
        found = Cell.from_dict(record)
    except MalformedRecordError as error:
        assert str(error)
    else:
        validate(stored(found))


def test_a_long_error_keeps_its_ends() -> None:
    text = "first " + "x" * 10_000 + " last"
    short = shorten_error(text)
    assert len(short) < 2_010
    assert short.startswith("first x") and short.endswith("x last")
    assert shorten_error("short") == "short"
