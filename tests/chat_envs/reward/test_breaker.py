"""A reward function that keeps failing is left alone, and a run that fails is given up."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import pytest

from chat_envs.message import user
from chat_envs.reward import RewardError, make_scorer, reward_function
from chat_envs.reward.breaker import CircuitBreaker
from tests.chat_envs.request import make_request, make_requests


class Moody:
    """Fails while it is told to, and notes what it is called with."""

    def __init__(self) -> None:
        self.is_down = True
        self.calls: list[str] = []

    def __call__(self, reply: str) -> float:
        """Return 1, or fail."""
        self.calls.append(reply)
        if self.is_down:
            raise OSError("down")
        return 1.0


def score(scorer: Any, num_requests: int) -> list[bool]:
    outcomes = scorer.score([make_request("x") for _ in range(num_requests)])
    return [outcome.is_valid for outcome in outcomes]


def test_after_failures_in_a_row_it_is_left_alone_then_tried_for_ever_longer() -> None:
    moody = Moody()
    scorer: Any = make_scorer({moody: {"on_error": "mask", "breaker_after": 3}})
    called = []
    for _ in range(3 + 3 + 1 + 6 + 1 + 12 + 1):
        before = len(moody.calls)
        assert score(scorer, 1) == [False]
        called.append(len(moody.calls) > before)
    expected = [True] * 3 + [False] * 3 + [True] + [False] * 6 + [True]
    assert called == [*expected, *[False] * 12, True]
    assert scorer.statistics()["moody"]["refused"] == 21


def test_it_counts_alike_whatever_the_batches_are() -> None:
    for sizes in ([1] * 30, [30], [7, 11, 12]):
        moody = Moody()
        scorer: Any = make_scorer({moody: {"on_error": "mask", "breaker_after": 3}})
        for size in sizes:
            score(scorer, size)
        assert len(moody.calls) == 3 + 1 + 1 + 1


def test_a_success_on_trial_takes_it_back_at_once() -> None:
    moody = Moody()
    scorer = make_scorer({moody: {"on_error": "mask", "breaker_after": 2}})
    score(scorer, 2)
    moody.is_down = False
    assert score(scorer, 6) == [False, False, True, True, True, True]
    moody.is_down = True
    assert len(moody.calls) == 2 + 4
    score(scorer, 1)
    score(scorer, 1)
    score(scorer, 2)  # refused: no longer than the first time
    before = len(moody.calls)
    score(scorer, 1)
    assert len(moody.calls) == before + 1


def test_failures_that_are_not_in_a_row_do_not_count() -> None:
    calls: list[str] = []

    def flaky(reply: str) -> float:
        calls.append(reply)
        return 1 / (len(calls) % 2)

    scorer = make_scorer({flaky: {"on_error": "mask", "breaker_after": 2}})
    score(scorer, 20)
    assert len(calls) == 20


def test_a_hanging_function_is_not_waited_for_a_whole_batch() -> None:
    release = threading.Event()
    calls = []

    def hang(reply: str) -> float:
        calls.append(reply)
        release.wait(30)
        return 1.0

    options = {"on_error": "mask", "timeout_s": 0.02, "breaker_after": 2, "retries": 1}
    scorer = make_scorer({hang: options})
    assert score(scorer, 40) == [False] * 40
    release.set()
    # Two, then on trial after 2, 4, 8 and 16 that were refused; each once more as a retry.
    assert len(calls) == 2 * (2 + 4)


def test_a_function_that_recovers_on_a_retry_is_called_for_the_rest() -> None:
    calls: list[str] = []

    def slow_start(reply: str) -> float:
        calls.append(reply)
        return 1.0 if len(calls) > 2 else 1 / 0

    options = {"on_error": "mask", "breaker_after": 2, "retries": 1}
    assert score(make_scorer({slow_start: options}), 5) == [True] * 5
    assert len(calls) == 2 + 5


def test_a_refusal_says_why_and_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    moody = Moody()
    scorer = make_scorer({moody: {"on_error": "mask", "breaker_after": 2}})
    caplog.set_level(logging.DEBUG)
    score(scorer, 2)
    score(scorer, 2)
    assert [r.levelname for r in caplog.records] == ["WARNING"] * 2 + ["DEBUG"] * 2
    message = caplog.records[-1].getMessage()
    assert "NotCalledError: was not called: its last 2 requests failed" in message


def test_none_never_leaves_it_alone() -> None:
    moody = Moody()
    score(make_scorer({moody: {"on_error": "mask", "breaker_after": None}}), 300)
    assert len(moody.calls) == 300


def test_by_default_it_is_left_alone_after_fifty() -> None:
    moody = Moody()
    scorer = make_scorer(moody, on_error="mask")
    for _ in range(100):
        score(scorer, 1)
    assert len(moody.calls) == 50


def test_a_trial_of_groups_is_of_whole_ones() -> None:
    sizes: list[int] = []

    @reward_function(group=True, on_error="mask")
    def down(reply: list[str]) -> list[float]:
        sizes.append(len(reply))
        raise OSError("down")

    scorer = make_scorer({down: {"breaker_after": 3}})
    for _ in range(3):
        scorer.score(
            [make_request("x", prompt=(user(p),)) for p in "1122" for _ in "ab"]
        )
    assert sizes == [4, 4, 4, 4]  # called, refused, called on trial


def test_the_other_rewards_are_unharmed() -> None:
    moody = Moody()
    scorer = make_scorer({"task": 1.0, moody: {"on_error": -1.0, "breaker_after": 1}})
    outcomes = scorer.score(make_requests("a", "b", "c"))
    assert [o.total for o in outcomes] == [0.0, 0.0, 0.0]
    assert all(o.components["task"] == 1.0 for o in outcomes)


def test_a_breaker_goes_on_from_its_state() -> None:
    first, second = CircuitBreaker(2), CircuitBreaker(2)
    first.note([True, True, True])
    first.refuse(1)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.refuse(5) == first.refuse(5) == 1
    assert second.is_on_trial and second.state_dict() == first.state_dict()


# Giving up ----------------------------------------------------------------------------------


def test_a_run_is_given_up_above_its_error_rate_once_enough_was_seen() -> None:
    moody = Moody()
    options = {"on_error": "mask", "max_error_rate": 0.5, "breaker_after": None}
    scorer: Any = make_scorer({moody: options})
    assert score(scorer, 99) == [False] * 99
    with pytest.raises(
        RewardError, match=r"'moody' failed for 100\.0% of the last 100"
    ):
        score(scorer, 1)


def test_the_rate_is_that_of_the_last_thousand() -> None:
    moody = Moody()
    options = {"on_error": 0.0, "max_error_rate": 0.1, "breaker_after": None}
    scorer = make_scorer({moody: options})
    moody.is_down = False
    score(scorer, 2000)
    moody.is_down = True
    score(scorer, 100)  # a tenth of the last thousand is not above a tenth
    with pytest.raises(RewardError, match=r"more than max_error_rate=0\.1"):
        score(scorer, 1)


def test_the_task_s_own_reward_may_be_given_up_on() -> None:
    scorer = make_scorer({"task": {"on_error": "mask", "max_error_rate": 0.0}})
    with pytest.raises(RewardError, match="'task' failed for 1.0%"):
        scorer.score([make_request(task=float("nan")), *[make_request()] * 99])
