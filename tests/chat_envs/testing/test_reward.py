"""`check_reward`: it sees what is wrong with a reward, and never fails because of it."""

from __future__ import annotations

import itertools
import json
import math
import threading
from typing import Any, Sequence

import numpy as np
import pytest

from chat_envs.message import user
from chat_envs.reward import RewardRequest, reward_function
from chat_envs.rewards.description import make_request
from chat_envs.testing import RewardReport, check_reward
from chat_envs.testing.hostile_reply import HOSTILE_REPLIES
from chat_envs.testing.recorded_reply import record_requests

ORDINARY = [make_request(text, [user("Hi")]) for text in ("one", "one two", "a b c")]


def length(reply: str) -> float:
    return float(len(reply))


def words(reply: str) -> float:
    return float(len(reply.split()))


def constant(reply: str) -> float:
    return 1.0


def check(reward: Any, **kwargs: Any) -> RewardReport:
    return check_reward(reward, requests=ORDINARY, **kwargs)


def test_range_and_mean_are_those_of_the_replies() -> None:
    report = check(words)
    expert = report.spreads["expert"]
    assert (expert.num_replies, expert.low, expert.mean, expert.high) == (3, 1, 2, 3)
    assert report.mean == 2.0
    # "and so on " 5,000 times is the longest of the hostile ones.
    assert report.range == (0.0, 15_000.0)
    assert report.is_sound and not report.failures


def test_without_requests_experts_and_chance_are_asked() -> None:
    report = check_reward(words)
    expert = [words(r.reply) for r in record_requests("expert")]
    random = [words(r.reply) for r in record_requests("random")]
    assert report.spreads["expert"].mean == pytest.approx(np.mean(expert))
    assert report.spreads["random"].mean == pytest.approx(np.mean(random))
    assert len(expert) > 30 and len(random) > 30
    # Every hostile reply to three prompts.
    assert report.spreads["hostile"].num_replies == 3 * len(HOSTILE_REPLIES)


def test_what_is_the_same_each_time_is_called_so() -> None:
    report = check(words)
    assert report.is_deterministic is True
    assert report.depends_on_order is False and report.depends_on_batch is False
    assert report.batched_us > 0 and report.single_us > 0


def test_a_reward_that_draws_is_not_deterministic() -> None:
    rng = np.random.default_rng(0)

    def moody(reply: str) -> float:
        return float(rng.random())

    report = check(moody)
    assert report.is_deterministic is False
    assert 0.1 < report.repeat_difference <= 1.0
    assert "determinism  NOT KEPT" in report.render()


def test_a_reward_of_ranks_depends_on_its_batch_and_not_on_the_order() -> None:
    @reward_function(batched=True)
    def rank(reply: list[str]) -> list[float]:
        return [float(sum(len(o) < len(r) for o in reply)) for r in reply]

    report = check(rank)
    assert report.is_deterministic is True
    assert report.depends_on_order is False and report.depends_on_batch is True
    assert "batch        NOT KEPT" in report.render()


def test_a_reward_of_places_depends_on_the_order() -> None:
    @reward_function(batched=True)
    def place(reply: list[str]) -> list[float]:
        return [float(k) for k in range(len(reply))]

    report = check(place)
    assert report.is_deterministic is True and report.depends_on_order is True


def test_a_difference_within_the_tolerance_is_none() -> None:
    ticks = itertools.count()

    def ticking(reply: str) -> float:
        return 1e-5 * next(ticks)

    assert check(ticking, tolerance=1.0).is_deterministic is True
    assert check(ticking, tolerance=1e-6).is_deterministic is False


def fails_on(text: str, with_what: Any) -> Any:
    def reward(reply: str) -> Any:
        if reply == text:
            if isinstance(with_what, BaseException):
                raise with_what
            return with_what
        return 0.0

    return reward


@pytest.mark.parametrize(
    ("with_what", "error"),
    [
        (KeyError("x"), "KeyError: 'x'"),
        (math.nan, "ValueError: returned nan"),
        (None, "TypeError: returned None"),
        ("1", "TypeError: returned '1'"),
        (SystemExit(3), "SystemExit: 3"),
        (ValueError("long " * 1000), "Error: long long"),
        (MemoryError(), "MemoryError"),
    ],
    ids=["raise", "nan", "none", "text", "exit", "long", "memory"],
)
def test_a_failure_is_told_with_its_reply_and_costs_no_other(
    with_what: Any, error: str
) -> None:
    report = check(fails_on("one two", with_what))
    [failure] = report.failures
    assert (failure.kind, failure.reply) == ("expert", "one two")
    assert error in failure.error and len(failure.error) < 300
    assert report.spreads["expert"].num_replies == 2
    assert not report.is_sound and report.is_deterministic is True
    assert "expert turn 1, 'one two': " in report.render()


def test_a_masked_failure_is_one_too() -> None:
    mask = {"on_error": "mask"}
    fails = reward_function(**mask)(fails_on("one", ValueError("no")))
    [failure] = check(fails).failures
    assert failure.reply == "one"


def test_a_hostile_reply_can_break_a_reward() -> None:
    report = check(lambda reply: 1 / len(reply.split()))
    broken = {f.name for f in report.failures}
    assert {"empty", "whitespace"} <= broken
    assert all(f.error.startswith("ZeroDivisionError") for f in report.failures)


def test_a_reward_that_never_answers_is_left_after_three_times() -> None:
    released = threading.Event()

    def stuck(reply: str) -> float:
        released.wait()
        return 0.0

    try:
        report = check(stuck, timeout_s=0.05)
    finally:
        released.set()
    assert [f.error.partition(":")[0] for f in report.failures] == ["TimeoutError"] * 3
    assert report.num_skipped == len(HOSTILE_REPLIES) * 3
    assert report.mean is None and report.range is None and not report.is_sound
    assert report.is_deterministic is None and math.isnan(report.single_us)
    assert "no reply got a value" in report.render()
    assert "replies were not tried" in report.render()


def test_what_fails_only_together_is_told() -> None:
    class Alone:
        def score(self, batch: Sequence[RewardRequest]) -> list[float]:
            return [0.0]  # one, whatever was asked

    report = check(Alone())
    [failure] = report.failures
    assert failure.kind == "batch" and "returned 1 values" in failure.error
    assert report.mean == 0.0 and report.is_deterministic is None


def test_a_reply_that_is_masked_only_among_others_is_told_too() -> None:
    @reward_function(batched=True, on_error="mask")
    def shy(reply: list[str]) -> list[float]:
        return [0.0, *[math.nan] * (len(reply) > 1), *[0.0] * (len(reply) - 2)]

    [failure] = check(shy).failures
    assert failure.kind == "batch" and "masked" in failure.error


@pytest.mark.parametrize(
    ("reward", "problem"),
    [
        ("lengthband", "Did you mean 'length_band'"),
        (3, "TypeError"),
        (lambda replay: 1.0, "Did you mean 'reply'"),
        ({}, "ValueError"),
        ("no_such_module:reward", "no module named"),
    ],
    ids=["misspelt", "number", "argument", "empty", "module"],
)
def test_what_is_no_reward_is_reported(reward: Any, problem: str) -> None:
    report = check(reward)
    assert problem in report.problem and not report.is_sound
    assert "cannot be used" in report.render()


def test_hostile_replies_that_beat_the_best_ordinary_ones_are_exploits() -> None:
    report = check(length)
    found = {exploit.name: exploit for exploit in report.exploits}
    assert report.exploits[0].name == "very_long"
    assert found["very_long"].score == 50_000 and found["very_long"].is_above
    assert {"copy_everything", "empty", "one_letter"}.isdisjoint(found)
    scores = [exploit.score for exploit in report.exploits]
    assert scores == sorted(scores, reverse=True)
    assert "> 5e+04" in report.render()


def test_of_several_prompts_that_counts_where_the_hostile_reply_is_paid_best() -> None:
    asked = ["one", "one two three four", "one two"]
    requests = [make_request("a", [user(text)]) for text in asked]
    report = check_reward(words, requests=requests)
    [echo] = [e for e in report.exploits if e.name == "echo_user"]
    assert (echo.score, echo.reply) == (4.0, "one two three four")


def test_a_hostile_reply_that_reaches_them_is_one_where_most_do_not() -> None:
    def has_three(reply: str) -> float:
        return float(len(reply.split()) >= 3)

    report = check(has_three)
    assert {e.is_above for e in report.exploits} == {False}
    assert "praise" in {e.name for e in report.exploits}
    assert "empty" not in {e.name for e in report.exploits}
    assert "    = 1         " in report.render()


@pytest.mark.parametrize(
    ("reward", "name"),
    [
        ("length_band", "filler"),
        ("overlap", "echo_user"),
        ("politeness", "courtesy"),
        ("readability", "one_letter"),
        ("json_format", "json"),
        ("sentiment", "praise"),
        ("similarity", "echo_user"),
    ],
)
def test_exploits_of_the_built_in_rewards_are_found(reward: str, name: str) -> None:
    report = check_reward(reward)
    assert name in {exploit.name for exploit in report.exploits}
    assert report.is_sound and report.is_deterministic
    assert not report.depends_on_batch and not report.depends_on_order


def test_a_constant_has_no_exploit() -> None:
    report = check(constant)
    assert report.exploits == ()
    assert "exploits     none" in report.render()


def test_a_mapping_is_tried_as_a_whole_and_hostile_replies_earn_no_task() -> None:
    mixed = check_reward({"task": 1.0, words: 0.0})
    expert = [r.task for r in record_requests("expert")]
    assert mixed.spreads["expert"].mean == pytest.approx(np.mean(expert))
    assert mixed.spreads["hostile"].high == 0.0 < mixed.spreads["expert"].high


def test_the_report_is_json_without_nan() -> None:
    for reward in (words, "lengthband", fails_on("one", None)):
        values = check(reward).as_dict()
        again = json.loads(json.dumps(values, allow_nan=False))
        assert again["is_sound"] == values["is_sound"]
        assert again["exploits"] == [dict(e) for e in values["exploits"]]
    assert check(words).as_dict()["range"] == [0.0, 15_000.0]


def test_the_report_reads_as_a_table() -> None:
    lines = check(words).render().splitlines()
    assert lines[0].startswith("reward tests.chat_envs.testing.test_reward:words")
    assert lines[1].split() == ["replies", "low", "mean", "95%", "high"]
    assert lines[2].split() == ["expert", "3", "1", "2", "3", "3"]
    assert any(line.startswith("  speed") for line in lines)


def test_no_requests_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="requests is empty"):
        check_reward(words, requests=[])
