"""Lines between a run and its workers: all of a turn comes through, and no nonsense does."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.message import Message, Role
from chat_envs.reward import RewardRequest
from chat_envs.reward.failure import error_kind
from chat_envs.reward.wire import (
    ALL_FIELDS,
    ProtocolError,
    Traits,
    encode_answer,
    encode_requests,
    read_answer,
    read_request,
    read_traits,
)
from tests.chat_envs.request import make_request

messages = st.lists(st.builds(Message, st.sampled_from(Role), st.text(max_size=8)))
finite = st.floats(allow_nan=False, allow_infinity=False)


def through(request: RewardRequest, fields: Any = ALL_FIELDS) -> RewardRequest:
    (code,) = encode_requests([request], fields)
    assert isinstance(code, bytes) and b"\n" not in code
    return read_request(json.loads(code))


@given(messages, messages, st.text(), st.booleans())
def test_a_turn_comes_through_as_it_is(
    prompt: list[Message], rest: list[Message], reply: str, is_prefix: bool
) -> None:
    request = make_request(
        reply,
        prompt=tuple(prompt),
        messages=tuple(prompt + rest) if is_prefix else tuple(rest),
        reply_ids=np.array([1, 2**40], dtype=np.int64),
        info={"metrics": {"a": np.float32(0.5)}, "success": np.bool_(True)},
        task=None,
    )
    found = through(request)
    for field in dataclasses.fields(request):
        sent, got = getattr(request, field.name), getattr(found, field.name)
        assert np.array_equal(sent, got) if field.name == "reply_ids" else sent == got
    assert found.reply_ids.dtype == np.int64


def test_half_a_surrogate_pair_comes_through() -> None:
    assert through(make_request("a\ud800b")).reply == "a\ud800b"


def test_only_what_is_wanted_is_sent() -> None:
    (code,) = encode_requests([make_request("hi")], ("reply",))
    assert code == b'{"reply": "hi"}'


def test_what_is_no_json_is_an_error_of_its_turn() -> None:
    bad = make_request(info={"x": object()})
    good = make_request()
    first, second = encode_requests([bad, good], ("info",))
    assert isinstance(first, TypeError) and "cannot be sent" in str(first)
    assert isinstance(second, bytes)


@given(finite, st.integers(0, 100))
def test_an_answer_is_exact(value: float, index: int) -> None:
    line = encode_answer(index, value)
    assert line.endswith(b"\n") and read_answer(line[:-1], index, None) == value
    line = encode_answer(index, (value, 1.0))
    assert read_answer(line, index, ("a", "b")) == (value, 1.0)


def test_an_error_keeps_its_kind_and_a_short_text() -> None:
    error = read_answer(encode_answer(0, KeyError("x" * 10**5)), 0, None)
    assert isinstance(error, Exception) and error_kind(error) == "KeyError"
    assert 100 < len(str(error)) <= 400


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b"[1, 1.0]",
        b"[0]",
        b"[0, NaN]",
        b"[0, Infinity]",
        b"[0, true]",
        b"[0, null]",
        b'[0, "1.0"]',
        b"[0, [1.0]]",
        b"[0, [1.0, 2.0]]",
        b'[0, 1.0, "KeyError", "x"]',
        b'[0, null, "KeyError", 3]',
        b'[0, null, 3, "x"]',
        b"[0, 1.0, 2.0]",
    ],
)
def test_what_is_no_answer_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_answer(line, 0, None)


@pytest.mark.parametrize(
    "line", [b"[0, 1.0]", b"[0, [1.0]]", b"[0, [1.0, null]]", b"[0, [1.0, true]]"]
)
def test_a_vector_answer_has_all_its_parts(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_answer(line, 0, ("a", "b"))


def test_a_number_that_is_no_float_is_a_failure_of_the_reward() -> None:
    assert isinstance(read_answer(b"[0, 1e999]", 0, None), ValueError)
    assert isinstance(read_answer(b"[0, 1%s]" % (b"0" * 400), 0, None), ValueError)
    assert math.isclose(read_answer(b"[0, 3]", 0, None), 3.0)  # type: ignore[arg-type]


def test_traits_come_through_and_nonsense_does_not() -> None:
    traits = Traits("a", ("x", "y"), ("reply",), True, False, {"on_error": "mask"})
    record = json.loads(json.dumps(traits.as_json()))
    assert read_traits(record) == traits
    for key, value in [
        ("name", 3),
        ("name", ""),
        ("names", [1]),
        ("names", 3),
        ("fields", ["__class__"]),
        ("fields", None),
        ("options", 3),
    ]:
        with pytest.raises(ProtocolError):
            read_traits(record | {key: value})
    for nonsense in (None, [], {}, "x"):
        with pytest.raises(ProtocolError):
            read_traits(nonsense)
