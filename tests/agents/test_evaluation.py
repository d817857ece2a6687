"""Intervals against known answers and their own coverage; results on fixed seeds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Iterator

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.evaluation import (
    EvaluationResult,
    bootstrap_interval,
    evaluate,
    evaluate_script,
    gold_gain,
    success_gain,
    wilson_interval,
)
from agents.experience.rollout import Rollout
from tests.agents.toys import make_lm

PARROT = "chat_envs_tests/Parrot-v0"


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    # With Gymnasium alone, and for this file alone: the suite's own table stays as it is.
    gymnasium.register(
        PARROT,
        entry_point="tests.agents.toys:Parrot",
        vector_entry_point="tests.agents.toys:make_vector",
    )
    yield
    del gymnasium.registry[PARROT]


def test_progress_counts_the_episodes_that_are_over() -> None:
    told: list[int] = []
    evaluate_script(
        "expert",
        "chat_envs/Echo-easy-v0",
        num_episodes=5,
        num_envs=2,
        progress=told.append,
    )
    assert told == [2, 4, 5]


def test_wilson_by_hand() -> None:
    # Brown, Cai and DasGupta 2001 and every table: 5 of 10 is [0.2366, 0.7634].
    interval = wilson_interval(5, 10)
    assert (interval.low, interval.high) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson_interval(10, 10).high == 1.0
    assert wilson_interval(10, 10).low == pytest.approx(1 - 0.2775, abs=1e-4)


@given(st.integers(1, 500), st.data())
def test_wilson_contains_the_share_and_mirrors(
    num_trials: int, data: st.DataObject
) -> None:
    num = data.draw(st.integers(0, num_trials))
    interval, mirror = wilson_interval(num, num_trials), wilson_interval(
        num_trials - num, num_trials
    )
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1
    assert interval.low == pytest.approx(1 - mirror.high, abs=1e-12)


def test_wilson_covers_about_95_percent() -> None:
    rng = np.random.default_rng(0)
    for share in (0.05, 0.5, 0.9):
        draws = rng.binomial(60, share, size=2000)
        intervals = [wilson_interval(int(n), 60) for n in draws]
        covered = np.mean([i.low <= share <= i.high for i in intervals])
        assert 0.92 <= covered <= 0.98, share


def test_bootstrap_is_close_to_the_normal_interval_and_repeats() -> None:
    values = np.random.default_rng(1).normal(size=400)
    interval = bootstrap_interval(values, np.random.default_rng(0))
    spread = 1.96 * values.std() / 20
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - spread, abs=0.01)
    assert interval.high == pytest.approx(values.mean() + spread, abs=0.01)
    assert interval == bootstrap_interval(values, np.random.default_rng(0))


def test_bootstrap_follows_an_affine_map_and_ignores_the_batch_size() -> None:
    values = np.random.default_rng(2).exponential(size=150)
    plain = bootstrap_interval(values, np.random.default_rng(0))
    mapped = bootstrap_interval(3 * values - 7, np.random.default_rng(0))
    assert (mapped.low, mapped.high) == pytest.approx(
        (3 * plain.low - 7, 3 * plain.high - 7)
    )
    # More than a million draws are made in several rounds.
    many = bootstrap_interval(np.tile([0.0, 1.0], 100), np.random.default_rng(0))
    assert (many.low, many.high) == pytest.approx((0.43, 0.57), abs=0.011)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_bootstrap_refuses_what_has_no_interval(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least 2 finite"):
        bootstrap_interval(values, np.random.default_rng(0))


def test_too_few_known_returns_are_counted_out() -> None:
    def broken(reply: str) -> float:
        raise ConnectionError("no answer")

    kwargs = {"reward": broken, "on_error": "mask"}
    result = evaluate_script("expert", PARROT, num_episodes=3, env_kwargs=kwargs)
    with pytest.raises(ValueError, match="0 of 3 episodes of .* have a known return"):
        result.as_dict()


def test_an_evaluation_repeats_and_leaves_the_model_alone() -> None:
    lm = make_lm()
    before = [p.clone() for p in lm.module.parameters()]
    first = evaluate(lm, PARROT, num_episodes=6, num_envs=4)
    torch.manual_seed(3)
    again = evaluate(lm, PARROT, num_episodes=6, num_envs=4)
    assert first.as_dict() == again.as_dict()
    assert [e.ids.tolist() for e in first.rollout] == [
        e.ids.tolist() for e in again.rollout
    ]
    assert all(
        torch.equal(a, b) for a, b in zip(before, lm.module.parameters(), strict=True)
    )
    assert [e.seed for e in first.rollout] == list(range(6))
    greedy = [
        evaluate(lm, PARROT, num_episodes=6, num_envs=n, is_greedy=True, seed=5)
        for n in (2, 6)
    ]
    assert [e.ids.tolist() for e in greedy[0].rollout] == [
        e.ids.tolist() for e in greedy[1].rollout
    ]


def test_the_result_is_one_json_object() -> None:
    result = evaluate_script("expert", PARROT, num_episodes=8)
    record = json.loads(json.dumps(result.as_dict()))
    assert record["env"] == PARROT and record["episodes"] == 8
    assert record["policy"] == "expert" and record["split"] == "test"
    assert record["success"] == {
        "mean": 1.0,
        "low": pytest.approx(0.6756, abs=1e-4),
        "high": 1.0,
    }
    assert set(record["return"]) == {"mean", "low", "high"}
    assert record["return"]["mean"] == pytest.approx(np.mean(result.returns))
    assert record["normalised_score"] is None  # no anchors were ever computed for it


def test_an_experts_score_on_the_anchors_own_seeds_is_one() -> None:
    env = "chat_envs/Echo-easy-v0"
    expert = evaluate_script("expert", env)
    score = expert.score_interval()
    assert score is not None and score.mean == pytest.approx(1.0)
    blind = evaluate_script("blind", env).score_interval()
    assert blind is not None and blind.mean == pytest.approx(0.0)
    # A keyword that changes the rewards takes the anchors away.
    changed = evaluate_script(
        "expert", env, num_episodes=4, env_kwargs={"max_turns": 1}
    )
    assert changed.scores is None


def test_unknown_returns_are_left_out_and_counted() -> None:
    result = evaluate_script("expert", PARROT, num_episodes=4)
    broken = replace(
        result.rollout.episodes[0],
        rewards=np.array([np.nan, 1.0]),
        reward_valid=np.array([False, True]),
    )
    partly = replace(result, rollout=Rollout([broken, *result.rollout.episodes[1:]]))
    assert partly.as_dict()["unknown_returns"] == 1
    assert partly.return_interval().mean == pytest.approx(np.mean(result.returns[1:]))


def test_a_gain_is_paired() -> None:
    before = evaluate_script("flawed", PARROT, num_episodes=30)
    after = evaluate_script("expert", PARROT, num_episodes=30)
    gain = success_gain(before, after)
    assert gain.mean == pytest.approx(1.0 - before.successes.mean())
    assert 0 < gain.low < gain.mean < gain.high
    assert success_gain(after, after).as_dict() == {
        "mean": 0.0,
        "low": 0.0,
        "high": 0.0,
    }
    other: EvaluationResult = evaluate_script("expert", PARROT, num_episodes=30, seed=1)
    with pytest.raises(
        ValueError, match="same episodes.*30 seeds from 0.*30 seeds from 1"
    ):
        success_gain(before, other)


def test_gold_is_the_task_s_own_reward_whatever_is_paid() -> None:
    def nothing(reply: str) -> float:
        return 0.0

    paid = evaluate_script(
        "expert", PARROT, num_episodes=4, env_kwargs={"reward": nothing}
    )
    own = evaluate_script("expert", PARROT, num_episodes=4)
    assert paid.return_interval().mean == 0.0
    assert paid.gold_returns.tolist() == own.returns.tolist() != [0.0] * 4
    assert paid.as_dict()["gold_return"]["mean"] == own.return_interval().mean


def test_a_gain_in_gold_is_paired() -> None:
    blind = evaluate_script("blind", "chat_envs/Echo-easy-v0", num_episodes=8)
    expert = evaluate_script("expert", "chat_envs/Echo-easy-v0", num_episodes=8)
    gain = gold_gain(blind, expert)
    assert gain.mean == pytest.approx((expert.gold_returns - blind.gold_returns).mean())
    assert gold_gain(expert, expert).as_dict() == {"mean": 0.0, "low": 0.0, "high": 0.0}
    with pytest.raises(ValueError, match="compares the same episodes"):
        gold_gain(blind, evaluate_script("expert", PARROT, num_episodes=8))
