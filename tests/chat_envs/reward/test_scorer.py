from __future__ import annotations

import copy
import json
import math
from typing import Any, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.reward import (
    RewardError,
    RewardOutcome,
    RewardRequest,
    Scorer,
    describe,
    make_scorer,
    reward_function,
)
from tests.chat_envs.request import make_request, make_requests

finite = st.floats(-1e6, 1e6)


def length(reply: str) -> float:
    return float(len(reply))


def shout(reply: str) -> float:
    return float(reply.isupper())


@pytest.mark.parametrize("reward", [None, "task"])
def test_the_tasks_own_reward_is_passed_on_under_its_own_names(
    reward: str | None,
) -> None:
    scorer = make_scorer(reward, task_names=("goal", "pace"))
    request = make_request(task=0.9, task_components={"goal": 1.0, "pace": -0.1})
    assert scorer.component_names == ("goal", "pace")
    assert scorer.score([request]) == [
        RewardOutcome(0.9, {"goal": 1.0, "pace": -0.1}, True)
    ]


def test_a_task_component_that_a_turn_leaves_out_is_zero() -> None:
    scorer = make_scorer(task_names=("goal", "pace"))
    (outcome,) = scorer.score([make_request(task=-0.1, task_components={"pace": -0.1})])
    assert outcome.components == {"goal": 0.0, "pace": -0.1}


def test_components_are_fresh_for_every_request() -> None:
    request = make_request()
    for scorer in (make_scorer(), make_scorer({"task": 1, length: 1})):
        first, second = scorer.score([request, request])
        first.components["task"] = 99.0
        assert second.components["task"] == 1.0
        assert request.task_components == {"task": 1.0}


def test_a_callable_replaces_the_tasks_reward() -> None:
    scorer = make_scorer(length)
    assert scorer.component_names == ("length",)
    assert scorer.score([make_request("four")]) == [
        RewardOutcome(4.0, {"length": 4.0}, True)
    ]


@given(weights=st.tuples(finite, finite, finite), task=finite)
def test_a_mixture_is_the_weighted_sum_of_unweighted_components(
    weights: tuple[float, float, float], task: float
) -> None:
    scorer = make_scorer(dict(zip(("task", length, shout), weights)))
    (outcome,) = scorer.score([make_request("HEY", task=task)])
    values = (task, 3.0, 1.0)
    assert list(outcome.components.values()) == list(values)
    expected = math.fsum(w * v for w, v in zip(weights, values))
    assert outcome.total == pytest.approx(expected, rel=1e-9, abs=1e-3)


@given(st.lists(st.text(max_size=20), max_size=12))
def test_order_and_number_of_requests_are_kept(replies: list[str]) -> None:
    scorer = make_scorer({"task": 0.5, length: 2.0})
    outcomes = scorer.score(make_requests(*replies))
    assert [o.components["length"] for o in outcomes] == [len(r) for r in replies]
    assert all(tuple(o.components) == scorer.component_names for o in outcomes)


def test_the_order_of_components_is_the_mappings() -> None:
    scorer = make_scorer({length: 1, "task": 1, shout: 0}, task_names=("goal", "pace"))
    assert scorer.component_names == ("length", "goal", "pace", "shout")


def test_a_weight_of_zero_records_without_paying() -> None:
    (outcome,) = make_scorer({"task": 0.0, shout: 1.0}).score([make_request("quiet")])
    assert outcome == RewardOutcome(0.0, {"task": 1.0, "shout": 0.0}, True)


def test_a_batched_function_is_called_once_for_all_replies() -> None:
    calls: list[list[str]] = []

    @reward_function(batched=True)
    def count(reply: list[str]) -> list[int]:
        calls.append(reply)
        return [len(text) for text in reply]

    outcomes = make_scorer({"task": 1, count: 1}).score(make_requests("a", "bb", "ccc"))
    assert calls == [["a", "bb", "ccc"]]
    assert [o.total for o in outcomes] == [2.0, 3.0, 4.0]


def test_an_object_with_score_gets_all_requests_in_one_call() -> None:
    class Model:
        sizes: list[int] = []

        def score(self, batch: Sequence[RewardRequest]) -> list[float]:
            self.sizes.append(len(batch))
            return [float(request.turn) for request in batch]

    scorer = make_scorer(Model())
    assert scorer.component_names == ("model",)
    assert [o.total for o in scorer.score(make_requests("a", "b"))] == [1.0, 2.0]
    assert Model.sizes == [2]


def test_no_request_calls_no_function() -> None:
    @reward_function(batched=True)
    def never(reply: list[str]) -> list[float]:
        raise AssertionError

    assert make_scorer(never).score([]) == []
    assert make_scorer().score([]) == []


def test_a_scorer_is_returned_as_it_is() -> None:
    scorer = make_scorer({"task": 1.0, length: 1.0})
    assert isinstance(scorer, Scorer)
    assert make_scorer(scorer) is scorer
    assert make_scorer(make_scorer(), task_names=("other",)).component_names == (
        "task",
    )


def test_a_deep_copy_shares_scorer_and_function() -> None:
    class Heavy:
        def __deepcopy__(self, memo: Any) -> Heavy:
            raise AssertionError("weights were copied")

        def score(self, batch: Sequence[RewardRequest]) -> list[float]:
            return [0.0] * len(batch)

    scorer = make_scorer(Heavy())
    assert copy.deepcopy({"reward": scorer})["reward"] is scorer
    function = reward_function(length)
    assert copy.deepcopy(function) is function


# Failures -----------------------------------------------------------------------------------


def test_without_any_reward_the_error_says_what_to_do() -> None:
    with pytest.raises(RewardError, match=r"pass reward=\.\.\., or return a reward"):
        make_scorer().score([make_request(task=None)])


@pytest.mark.parametrize("task", [math.nan, math.inf, -math.inf])
def test_a_task_reward_that_is_not_finite_is_a_failure(task: float) -> None:
    with pytest.raises(RewardError, match="own reward is"):
        make_scorer().score([make_request(task=task)])
    (outcome,) = make_scorer(on_error="mask").score([make_request(task=task)])
    assert outcome == RewardOutcome(0.0, {"task": 0.0}, False)
    (outcome,) = make_scorer({"task": 2.0}, on_error="mask").score(
        [make_request(task=task)]
    )
    assert outcome == RewardOutcome(0.0, {"task": 0.0}, False)
    (outcome,) = make_scorer(on_error=-1.5).score([make_request(task=task)])
    assert (outcome.total, outcome.is_valid) == (-1.5, True)


def test_an_error_names_function_turn_and_shortened_reply() -> None:
    def broken(reply: str) -> float:
        return 1 / 0

    with pytest.raises(RewardError) as caught:
        make_scorer(broken).score([make_request("x" * 500, turn=7)])
    message = str(caught.value)
    assert (
        "'broken'" in message and "turn 7" in message and "division by zero" in message
    )
    assert "xxx ... xxx" in message and len(message) < 300
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_an_exception_with_a_huge_message_is_told_in_short() -> None:
    def broken(reply: str) -> float:
        raise ValueError("x" * 10**6)

    with pytest.raises(RewardError, match="ValueError: xxx") as caught:
        make_scorer(broken).score([make_request()])
    assert len(str(caught.value)) < 700
    assert len(str(caught.value.__cause__)) < 700


def test_a_masked_request_is_invalid_and_the_others_are_not() -> None:
    def picky(reply: str) -> float:
        if reply == "bad":
            raise ValueError("no")
        return 5.0

    scorer = make_scorer({"task": 1.0, picky: {"weight": 2.0, "on_error": "mask"}})
    good, bad = scorer.score(make_requests("good", "bad"))
    assert good == RewardOutcome(11.0, {"task": 1.0, "picky": 5.0}, True)
    assert bad == RewardOutcome(1.0, {"task": 1.0, "picky": 0.0}, False)


def test_masking_and_falling_back_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken(reply: str) -> float:
        raise ValueError("no")

    make_scorer(broken, on_error="mask").score([make_request()])
    make_scorer(broken, on_error=0.5).score([make_request()])
    assert [r.levelname for r in caplog.records] == ["WARNING", "WARNING"]
    assert all("'broken'" in r.getMessage() for r in caplog.records)


def test_a_fallback_is_valid_and_weighted() -> None:
    def broken(reply: str) -> None:
        return None

    (outcome,) = make_scorer({broken: {"weight": 3.0, "on_error": -2}}).score(
        [make_request()]
    )
    assert outcome == RewardOutcome(-6.0, {"broken": -2.0}, True)


def test_retry_calls_again_only_for_what_failed() -> None:
    calls: list[str] = []

    def flaky(reply: str) -> float:
        calls.append(reply)
        return math.nan if reply == "b" and calls.count("b") < 3 else 1.0

    outcomes = make_scorer(flaky, on_error="retry").score(make_requests("a", "b", "c"))
    assert [o.total for o in outcomes] == [1.0, 1.0, 1.0]
    assert calls == ["a", "b", "c", "b", "b"]


def test_retry_gives_up_with_an_error() -> None:
    calls = []

    def broken(reply: str) -> float:
        calls.append(reply)
        raise OSError("down")

    with pytest.raises(RewardError, match="failed after 3 attempts.*OSError: down"):
        make_scorer(broken, on_error="retry").score([make_request()])
    assert len(calls) == 3


def test_retries_come_before_a_mask() -> None:
    calls = []

    @reward_function(on_error="mask", retries=4)
    def broken(reply: str) -> float:
        calls.append(reply)
        raise OSError("down")

    (outcome,) = make_scorer(broken).score([make_request()])
    assert (outcome.is_valid, len(calls)) == (False, 5)


def test_a_batch_that_fails_is_retried_as_a_batch() -> None:
    sizes: list[int] = []

    @reward_function(batched=True, on_error="retry")
    def flaky(reply: list[str]) -> list[float]:
        sizes.append(len(reply))
        return [1.0] * (len(reply) if len(sizes) > 1 else 1)

    assert [o.total for o in make_scorer(flaky).score(make_requests("a", "b"))] == [
        1.0,
        1.0,
    ]
    assert sizes == [2, 2]


def test_a_wrong_length_names_both_and_masks_the_whole_batch() -> None:
    @reward_function(batched=True)
    def short(reply: list[str]) -> list[float]:
        return [1.0]

    with pytest.raises(RewardError, match="1 values for 3 replies"):
        make_scorer(short).score(make_requests("a", "b", "c"))
    outcomes = make_scorer(short, on_error="mask").score(make_requests("a", "b", "c"))
    assert [o.is_valid for o in outcomes] == [False, False, False]


def test_a_nan_in_a_batch_masks_that_reply_alone() -> None:
    @reward_function(batched=True, on_error="mask")
    def holey(reply: list[str]) -> list[float]:
        return [math.nan if text == "b" else 1.0 for text in reply]

    outcomes = make_scorer(holey).score(make_requests("a", "b", "c"))
    assert [o.is_valid for o in outcomes] == [True, False, True]


def test_options_of_the_mapping_beat_the_decorators_and_these_the_environments() -> (
    None
):
    @reward_function(on_error="mask")
    def broken(reply: str) -> float:
        raise ValueError("no")

    request = [make_request()]
    assert make_scorer({broken: {"on_error": 7.0}}).score(request)[0].total == 7.0
    assert make_scorer(broken, on_error=7.0).score(request)[0].is_valid is False


def test_a_total_that_overflows_is_an_error() -> None:
    with pytest.raises(RewardError, match="weighted sum"):
        make_scorer({"task": 1e300}).score([make_request(task=1e300)])


# Refusals -----------------------------------------------------------------------------------


def test_two_components_of_one_name_are_refused() -> None:
    def task(reply: str) -> float:
        return 0.0

    with pytest.raises(ValueError, match="two reward components are called 'task'"):
        make_scorer({"task": 1.0, task: 1.0})


@pytest.mark.parametrize("weight", [math.nan, math.inf, None, "1", [1.0]])
def test_a_weight_that_is_no_finite_number_is_refused(weight: Any) -> None:
    with pytest.raises(ValueError, match="weight of reward 'task'"):
        make_scorer({"task": weight})


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="'weights'.*Did you mean 'weight'"):
        make_scorer({"task": {"weights": 1.0}})


@pytest.mark.parametrize("reward", [3, 1.5, b"task", object(), ["task"]])
def test_what_is_no_reward_is_refused(reward: Any) -> None:
    with pytest.raises(TypeError, match="is neither None, an id"):
        make_scorer(reward)


def test_an_empty_mapping_is_refused() -> None:
    with pytest.raises(ValueError, match="has no component"):
        make_scorer({})


# Description --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        (None, "task"),
        ("task", "task"),
        ("mypkg:concise", "mypkg:concise"),
        (length, f"{__name__}:length"),
        (reward_function(length), f"{__name__}:length"),
        (
            {"task": 1.0, length: {"weight": 2}},
            {"task": 1.0, f"{__name__}:length": {"weight": 2}},
        ),
    ],
)
def test_a_description_is_json(reward: Any, expected: Any) -> None:
    assert json.loads(json.dumps(describe(reward))) == expected


def test_the_description_of_a_scorer_is_its_components() -> None:
    assert describe(make_scorer({"task": 1, length: 1})) == ["task", "length"]
