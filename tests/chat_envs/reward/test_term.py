"""What an entry's options make of its values: clipping, normalising, endings, groups, parts."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.message import user
from chat_envs.reward import (
    RewardError,
    RewardOutcome,
    RewardRequest,
    make_scorer,
    reward_function,
)
from tests.chat_envs.request import make_request, make_requests

finite = st.floats(-1e6, 1e6)


def task(value: float | None, **changes: Any) -> RewardRequest:
    return make_request(task=value, **changes)


def length(reply: str) -> float:
    return float(len(reply))


# Clipping and normalising --------------------------------------------------------------------


@pytest.mark.parametrize(("value", "paid"), [(-9.0, -1.0), (0.5, 0.5), (7.0, 2.0)])
def test_the_total_is_clipped_and_the_component_is_not(
    value: float, paid: float
) -> None:
    scorer = make_scorer({"task": {"clip": [-1, 2], "weight": 3.0}})
    assert scorer.score([task(value)]) == [
        RewardOutcome(3.0 * paid, {"task": value}, True)
    ]


def test_what_is_masked_pays_nothing_even_where_the_least_is_above_0() -> None:
    options = {"clip": [1, 2], "on_error": "mask", "normalize": True}
    (outcome,) = make_scorer({"task": options}).score([task(math.nan)])
    assert outcome == RewardOutcome(0.0, {"task": 0.0}, False)


@given(st.lists(st.lists(finite, max_size=5), max_size=5))
def test_the_total_is_in_deviations_of_all_values_so_far(
    batches: list[list[float]],
) -> None:
    scorer = make_scorer({"task": {"normalize": True}})
    seen: list[float] = []
    for batch in batches:
        outcomes = scorer.score([task(value) for value in batch])
        seen += batch
        mean = statistics.fmean(seen) if seen else 0.0
        std = statistics.pstdev(seen) if seen else 0.0
        assert [o.components["task"] for o in outcomes] == batch
        for value, outcome in zip(batch, outcomes):
            if std > 1e-6 * abs(mean) + 1e-6:
                expected = (value - mean) / std
                assert outcome.total == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_values_without_spread_are_0() -> None:
    scorer = make_scorer({"task": {"normalize": True}})
    assert [o.total for o in scorer.score([task(5.0)] * 3)] == [0.0, 0.0, 0.0]
    values = [0.1 + 0.2, 0.3]
    assert [
        o.total
        for o in make_scorer({"task": {"normalize": True}}).score(
            [task(value) for value in values]
        )
    ] == [0.0, 0.0]


def test_a_value_whose_variance_is_no_float_is_an_error() -> None:
    scorer: Any = make_scorer({"task": {"normalize": True}})
    with pytest.raises(RewardError, match="too large to be normalised"):
        scorer.score([task(1.0), task(1e200)])
    json.dumps(scorer.state_dict(), allow_nan=False)


def test_it_is_clipped_after_it_is_normalised() -> None:
    scorer = make_scorer({"task": {"normalize": True, "clip": [-0.5, 0.5]}})
    outcomes = scorer.score([task(100.0), task(200.0)])
    assert [o.total for o in outcomes] == [-0.5, 0.5]


def test_a_stand_in_is_normalised_but_teaches_nothing() -> None:
    scorer = make_scorer({"task": {"normalize": True, "on_error": 4.0}})
    outcomes = scorer.score([task(1.0), task(3.0), task(math.nan)])
    assert [o.total for o in outcomes] == [-1.0, 1.0, 2.0]


# When ---------------------------------------------------------------------------------------


def ended(reply: str, **changes: Any) -> RewardRequest:
    return make_request(reply, terminated=True, **changes)


def test_an_end_reward_is_asked_for_the_last_turn_alone() -> None:
    seen: list[str] = []

    @reward_function(when="end")
    def judge(reply: str) -> float:
        seen.append(reply)
        return 5.0

    cut = make_request("cut", info={"termination_reason": "context_length"})
    requests = [make_request("going"), ended("over"), cut, make_request("on")]
    outcomes = make_scorer({"task": 1.0, judge: {"clip": [1, 2]}}).score(requests)
    assert seen == ["over", "cut"]
    assert [o.components["judge"] for o in outcomes] == [0.0, 5.0, 5.0, 0.0]
    assert [o.total for o in outcomes] == [1.0, 3.0, 3.0, 1.0]
    assert all(o.is_valid for o in outcomes)
    assert all(tuple(o.components) == ("task", "judge") for o in outcomes)


def test_the_task_s_own_reward_may_be_paid_at_the_end() -> None:
    scorer = make_scorer({"task": {"when": "end"}}, task_names=("task", "pace"))
    first, last = scorer.score([make_request(), ended("x")])
    assert first == RewardOutcome(0.0, {"task": 0.0, "pace": 0.0}, True)
    assert last == RewardOutcome(1.0, {"task": 1.0, "pace": 0.0}, True)


def test_without_an_ending_nothing_is_called() -> None:
    @reward_function(batched=True, when="end")
    def never(reply: list[str]) -> list[float]:
        raise AssertionError

    assert make_scorer(never).score([make_request()])[0].total == 0.0


# Groups -------------------------------------------------------------------------------------


def asked(prompt: str, *replies: str) -> list[RewardRequest]:
    return [make_request(reply, prompt=(user(prompt),)) for reply in replies]


def test_a_group_reward_sees_all_replies_to_one_prompt_at_once() -> None:
    groups: list[list[str]] = []

    @reward_function(group=True)
    def rank(reply: list[str], prompt: list[Any]) -> list[float]:
        assert len(set(prompt)) == 1
        groups.append(reply)
        return [float(sorted(reply).index(text)) for text in reply]

    first, second = asked("1", "c", "a", "b"), asked("2", "x", "w")
    scorer = make_scorer({"task": 0.0, rank: 1.0})
    assert scorer.needs_groups  # type: ignore[attr-defined]
    mixed = [first[0], second[0], first[1], second[1], first[2]]
    assert [o.total for o in scorer.score(mixed)] == [2.0, 1.0, 0.0, 0.0, 1.0]
    assert groups == [["c", "a", "b"], ["x", "w"]]


def test_only_a_group_reward_needs_groups() -> None:
    class Ranker:
        needs_groups = True

        def score(self, batch: Sequence[RewardRequest]) -> list[float]:
            return [float(len(batch)) for _ in batch]

    plain: Any = make_scorer({"task": 1.0, length: 1.0})
    assert not plain.needs_groups
    assert not make_scorer().needs_groups  # type: ignore[attr-defined]
    ranker: Any = make_scorer(Ranker())
    assert ranker.needs_groups
    requests = [*asked("1", "a", "b"), *asked("2", "c")]
    assert [o.total for o in ranker.score(requests)] == [2.0, 2.0, 1.0]


def test_a_group_is_retried_whole_and_a_sound_value_stays() -> None:
    calls: list[list[str]] = []

    @reward_function(group=True, on_error="retry")
    def flaky(reply: list[str]) -> list[float]:
        calls.append(reply)
        fails = len(calls) == 1
        return [math.nan if fails and r == "b" else float(len(calls)) for r in reply]

    requests = [*asked("1", "a", "b"), *asked("2", "c", "d")]
    outcomes = make_scorer(flaky).score(requests)
    assert calls == [["a", "b"], ["c", "d"], ["a", "b"]]
    assert [o.total for o in outcomes] == [1.0, 3.0, 2.0, 2.0]


def test_a_group_that_fails_leaves_the_others() -> None:
    @reward_function(group=True, on_error="mask")
    def picky(reply: list[str]) -> list[float]:
        return [1.0] if "b" in reply else [1.0] * len(reply)

    requests = [*asked("1", "a", "b"), *asked("2", "c", "d")]
    outcomes = make_scorer(picky).score(requests)
    assert [o.is_valid for o in outcomes] == [False, False, True, True]


# Rewards of several parts -------------------------------------------------------------------


@reward_function(names=("length", "words"))
def measures(reply: str) -> dict[str, Any]:
    if reply == "bad":
        return {"length": 1.0}
    if reply == "odd":
        return {"length": 1.0, "words": None}
    return {"words": len(reply.split()), "length": len(reply)}


def test_the_parts_of_a_vector_reward_are_components() -> None:
    scorer = make_scorer({"task": 1.0, measures: 0.5})
    names = ("task", "measures/length", "measures/words")
    assert scorer.component_names == names
    (outcome,) = scorer.score([make_request("two words")])
    assert outcome.total == 1.0 + 0.5 * (9 + 2)
    assert list(outcome.components.values()) == [1.0, 9.0, 2.0]


def test_its_parts_are_weighed_by_name() -> None:
    scorer = make_scorer({measures: {"weight": {"words": 2.0}, "clip": [0, 1.5]}})
    assert scorer.score([make_request("two words")])[0].total == 3.0
    with pytest.raises(ValueError, match="has no part 'word'.*Did you mean 'words'"):
        make_scorer({measures: {"weight": {"word": 2.0}}})
    with pytest.raises(ValueError, match="must be one number, for it has no parts"):
        make_scorer({length: {"weight": {"length": 2.0}}})
    with pytest.raises(ValueError, match="weight of reward"):
        make_scorer({measures: {"weight": {}}})


def test_each_part_is_normalised_by_itself() -> None:
    scorer = make_scorer({measures: {"weight": {"words": 1.0}, "normalize": True}})
    outcomes = scorer.score(make_requests("one", "one two three"))
    assert [o.total for o in outcomes] == [-1.0, 1.0]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("bad", "the names .*'length'.*expected length, words"),
        ("odd", "words: returned"),
    ],
)
def test_a_vector_that_lacks_a_part_is_a_failure(reply: str, message: str) -> None:
    with pytest.raises(RewardError, match=message):
        make_scorer(measures).score([make_request(reply)])
    (outcome,) = make_scorer({measures: {"on_error": -2.0}}).score(
        [make_request(reply)]
    )
    assert outcome.components == {"measures/length": -2.0, "measures/words": -2.0}
    assert outcome.total == -4.0


def test_a_batched_vector_reward_returns_a_mapping_a_reply() -> None:
    class Heads:
        names = ["up", "down"]

        def score(self, batch: Sequence[RewardRequest]) -> list[dict[str, float]]:
            return [{"up": 1.0, "down": float(r.turn)} for r in batch]

    outcomes = make_scorer(Heads()).score(make_requests("a", "b"))
    assert [o.components for o in outcomes] == [
        {"heads/up": 1.0, "heads/down": 1.0},
        {"heads/up": 1.0, "heads/down": 2.0},
    ]


@pytest.mark.parametrize("names", ["ab", [], ["a", ""], ["a", "a"], 3])
def test_names_that_are_none_are_refused(names: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="names of reward 'length'"):
        reward_function(names=names)(length)


# States and statistics ----------------------------------------------------------------------

MIXTURE: dict[Any, Any] = {
    "task": {"normalize": True, "max_error_rate": 0.9, "on_error": "mask"},
    length: {"breaker_after": 1, "on_error": "mask"},
}


@given(
    st.lists(finite | st.just(math.nan), max_size=6),
    st.lists(finite | st.just(math.nan), max_size=6),
)
def test_a_scorer_goes_on_from_its_state(
    before: list[float], after: list[float]
) -> None:
    first: Any = make_scorer(MIXTURE)
    first.score([task(value) for value in before])
    second: Any = make_scorer(MIXTURE)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    requests = [task(value) for value in after]
    assert second.score(requests) == first.score(requests)
    assert second.state_dict() == first.state_dict()


def test_the_task_s_scorer_has_an_empty_state() -> None:
    scorer: Any = make_scorer()
    scorer.load_state_dict(json.loads(json.dumps(scorer.state_dict())))
    assert scorer.statistics() == {}
    with pytest.raises(ValueError, match="is of the rewards"):
        scorer.load_state_dict(make_scorer(MIXTURE).state_dict())  # type: ignore[attr-defined]


def broken(path: Sequence[str], value: Any) -> dict[str, Any]:
    """Return a state of the mixture with one thing in it replaced."""
    scorer: Any = make_scorer(MIXTURE)
    state = json.loads(json.dumps(scorer.state_dict()))
    place: Any = state
    for key in path[:-1]:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[path[-1]] = value
    return dict(state)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["version"], 2),
        (["components"], []),
        (["components"], {"task": {}}),
        (["components", "task"], 3),
        (["components", "task", "moments"], []),
        (["components", "task", "moments"], [3]),
        (["components", "task", "moments", "0", "count"], -1),
        (["components", "task", "moments", "0", "count"], 1.5),
        (["components", "task", "moments", "0", "mean"], math.nan),
        (["components", "task", "moments", "0", "mean"], "0"),
        (["components", "task", "moments", "0", "squares"], -1.0),
        (["components", "task", "error_rate"], {"recent": "xy"}),
        (["components", "length", "moments"], None),
        (["components", "length", "breaker"], None),
        (["components", "length", "breaker", "num_remaining"], "1"),
        (["components", "length", "breaker", "num_doublings"], 99),
        (["components", "length", "breaker", "is_on_trial"], 0),
    ],
)
def test_a_broken_state_is_refused_and_changes_nothing(
    path: list[str], value: Any
) -> None:
    scorer: Any = make_scorer(MIXTURE)
    scorer.score([task(1.0), task(3.0)])
    before = scorer.state_dict()
    with pytest.raises(ValueError, match="state"):
        scorer.load_state_dict(broken(path, value))
    assert scorer.state_dict() == before
    with pytest.raises(ValueError, match="is no state"):
        scorer.load_state_dict(None)


def test_statistics_count_requests_and_failures() -> None:
    @reward_function(on_error="mask")
    def picky(reply: str) -> float:
        return 1.0 if reply == "good" else math.nan

    scorer: Any = make_scorer({"task": 1.0, picky: 1.0})
    scorer.score(make_requests("good", "bad", "good"))
    scorer.score(make_requests("bad"))
    found = scorer.statistics()
    assert list(found) == ["task", "picky"]
    assert (found["task"]["requests"], found["task"]["failures"]) == (4, 0)
    assert (found["picky"]["requests"], found["picky"]["failures"]) == (4, 2)
    assert found["picky"]["error_rate"] == 0.5
    assert found["picky"]["mean_seconds"] > 0
    assert (found["picky"]["refused"], found["picky"]["worker_kills"]) == (0, 0)
