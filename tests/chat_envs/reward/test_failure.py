from __future__ import annotations

import decimal
import fractions
import math
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.reward.failure import (
    FailurePolicy,
    as_reward,
    call_in_thread,
    call_within,
    error_text,
    shorten,
    shortened,
    shown,
)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_finite_float_is_itself(value: float) -> None:
    assert as_reward(value) == value
    assert as_reward(np.float64(value)) == value
    assert as_reward(np.array(value)) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, 1.0),
        (7, 7.0),
        (np.int8(-3), -3.0),
        (np.bool_(True), 1.0),
        (np.float32(0.5), 0.5),
        (fractions.Fraction(1, 4), 0.25),
    ],
)
def test_real_numbers_of_all_kinds_are_taken(value: Any, expected: float) -> None:
    result = as_reward(value)
    assert result == expected and type(result) is float


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, np.float32("nan"), 10**400]
)
def test_what_is_not_finite_is_a_value_error(value: Any) -> None:
    assert isinstance(as_reward(value), ValueError)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "1.0",
        b"1",
        [1.0],
        {},
        1 + 0j,
        np.array([1.0]),
        np.array("x"),
        decimal.Decimal(1),
    ],
)
def test_what_is_no_real_number_is_a_type_error(value: Any) -> None:
    assert isinstance(as_reward(value), TypeError)


class Item:
    """Counts how often it was looked at; one that is asked twice fails."""

    num_looks = 0

    def __repr__(self) -> str:
        Item.num_looks += 1
        if Item.num_looks > 20:
            raise OSError("tired")
        return "item"


def test_what_is_shown_is_short_and_not_walked_through() -> None:
    assert shown([Item()] * 10**5).endswith("...]")
    assert Item.num_looks < 10
    assert len(shown("x" * 10**6)) <= 80
    Item.num_looks = 20
    assert "Item instance" in shown(Item())
    assert isinstance(as_reward(Item()), TypeError)


def test_an_error_with_a_huge_message_is_replaced_by_a_short_one() -> None:
    short, long = ValueError("x"), ValueError("x" * 10**5)
    assert shortened(short) is short
    assert len(str(shortened(long))) <= 400
    assert len(error_text(long)) <= 400


@given(st.text(), st.integers(10, 100))
def test_a_shortened_text_is_short_and_keeps_both_ends(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert len(short) <= limit
    assert short == text or (
        " ... " in short and short[0] == text[0] and short[-1] == text[-1]
    )


@pytest.mark.parametrize(
    ("on_error", "retries", "expected"),
    [
        ("raise", None, 1),
        ("retry", None, 3),
        ("mask", None, 1),
        (0.0, 2, 3),
        ("retry", 0, 1),
    ],
)
def test_the_number_of_attempts(
    on_error: Any, retries: int | None, expected: int
) -> None:
    assert FailurePolicy(on_error, retries=retries).num_attempts == expected


@pytest.mark.parametrize(
    "on_error", ["ignore", "", None, math.nan, math.inf, True, False, [0]]
)
def test_an_unknown_action_is_refused(on_error: Any) -> None:
    with pytest.raises(ValueError, match="on_error="):
        FailurePolicy(on_error)


@pytest.mark.parametrize("timeout_s", [0, -1.0, math.nan, math.inf])
def test_a_useless_time_limit_is_refused(timeout_s: float) -> None:
    with pytest.raises(ValueError, match="timeout_s="):
        FailurePolicy(timeout_s=timeout_s)


@pytest.mark.parametrize("retries", [-1, 1.5, "2", math.nan])
def test_retries_that_are_no_count_are_refused(retries: Any) -> None:
    with pytest.raises(ValueError, match="must be an integer of at least 0"):
        FailurePolicy(retries=retries)


def test_only_a_number_is_a_fallback() -> None:
    assert FailurePolicy("mask").fallback is None
    assert FailurePolicy(-1).fallback == -1.0


def test_without_a_limit_the_call_stays_in_its_thread() -> None:
    assert call_within(threading.get_ident, None) == threading.get_ident()
    assert call_within(threading.get_ident, 10.0) != threading.get_ident()


@pytest.mark.parametrize("error", [KeyError("k"), SystemExit(3), KeyboardInterrupt()])
def test_errors_of_the_thread_reach_the_caller(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        call_in_thread(fail, 10.0)
    assert caught.value is error


def test_a_hung_call_is_left_behind_as_a_daemon() -> None:
    release = threading.Event()
    with pytest.raises(TimeoutError, match=r"within 0\.02 s"):
        call_in_thread(lambda: release.wait(30), 0.02)
    left = [t for t in threading.enumerate() if t.name == "chat-envs-reward"]
    assert left and all(thread.daemon for thread in left)
    release.set()


@pytest.mark.parametrize("value", [np.ma.masked, np.ma.array(2.0, mask=True)])
def test_a_masked_value_is_no_zero(value: Any) -> None:
    assert value.item() in (0.0, 2.0)  # what lies under the mask
    assert isinstance(as_reward(value), TypeError)
