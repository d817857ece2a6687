"""What is JSON, and which fields it has."""

from __future__ import annotations

import pytest

from chat_envs.rewards.json_format import JSONFormat
from tests.chat_envs.rewards.ratings import rate


def test_any_document_is_json_and_nothing_around_it() -> None:
    good = ["{}", "[1, 2]", ' {"a": null} \n', "3", '"text"']
    bad = [
        "",
        "{'a': 1}",
        "NaN",
        '{"a": Infinity}',
        "```json\n{}\n```",
        "{} {}",
        "[" * 99999,
    ]
    assert rate(JSONFormat(), *good) == [1.0] * len(good)
    assert rate(JSONFormat(), *bad) == [0.0] * len(bad)


def test_each_required_field_earns_its_share() -> None:
    reward = JSONFormat(required=["a", "b", "c"])
    replies = ['{"a": 1, "b": null, "c": []}', '{"a": 1}', "[]", "no"]
    assert rate(reward, *replies) == [1.0, 0.5, 0.25, 0.0]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("any", ["null", "1"], []),
        ("string", ['"1"'], ["1", "null"]),
        ("number", ["1", "-1.5", "1" * 400], ['"1"', "true"]),
        ("integer", ["1", "2.0", "1" * 400], ["1.5", "true", "1e999"]),
        ("boolean", ["true"], ["1"]),
        ("array", ["[]"], ["{}"]),
        ("object", ["{}"], ["[]"]),
        ("null", ["null"], ["0", "false"]),
    ],
)
def test_a_type_is_that_of_json(kind: str, good: list[str], bad: list[str]) -> None:
    reward = JSONFormat(required={"x": kind})
    documents = [f'{{"x": {value}}}' for value in good + bad]
    assert rate(reward, *documents) == [1.0] * len(good) + [0.5] * len(bad)


def test_an_unknown_type_is_told_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'string'"):
        JSONFormat(required={"x": "strings"})
    with pytest.raises(ValueError, match="must be a list or a mapping"):
        JSONFormat(required="x")
