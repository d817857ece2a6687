"""When a run ends, by whichever of its totals."""

from __future__ import annotations

from typing import Any

import pytest

from agents.budget import Budget
from agents.reinforce import REINFORCE
from tests.agents.toys import make_lm, make_parrots

HALF = {"timesteps": 50, "iterations": 2, "tokens": 300}


@pytest.mark.parametrize(
    ("totals", "left", "progress"),
    [
        ({"timesteps": 100}, 0.5, (50, 100)),
        ({"iterations": 8}, 0.75, (2, 8)),
        ({"tokens": 400}, 0.25, (300, 400)),
        # The nearest end counts.
        ({"timesteps": 100, "iterations": 8, "tokens": 400}, 0.25, (300, 400)),
        ({"timesteps": 100, "iterations": 2}, 0.0, (2, 2)),
        ({"timesteps": 25}, -1.0, (50, 25)),
        ({"tokens": 0}, 0.0, (300, 0)),
        ({}, 1.0, (2, None)),
    ],
)
def test_what_is_left_by_hand(
    totals: dict[str, int], left: float, progress: tuple[int, int | None]
) -> None:
    budget = Budget(**totals)
    assert budget.share_left(**HALF) == left
    assert budget.progress(**HALF) == progress
    assert budget.is_endless == (not totals)


@pytest.mark.parametrize(
    ("total", "error"), [(-1, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_a_total_is_a_count(total: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"total_tokens must.*{total}"):
        Budget(tokens=total)
    algorithm = make()
    with pytest.raises(error, match=f"total_tokens must.*{total}"):
        algorithm.learn(total_tokens=total)
    assert algorithm.iteration == 0


def make(**kwargs: Any) -> REINFORCE:
    settings = {"num_episodes": 4, "group_size": 4, "num_envs": 4} | kwargs
    return REINFORCE(make_lm(), make_parrots(4), **settings)


def test_learn_ends_by_generated_tokens() -> None:
    algorithm, played = make(), []
    algorithm.learn(
        total_tokens=60, callback=lambda r: played.append(r.metrics["reply_tokens"])
    )
    assert algorithm.num_tokens == sum(played) >= 60
    assert sum(played[:-1]) < 60  # the last iteration is the one that reached it
    assert algorithm.state_dict()["num_tokens"] == algorithm.num_tokens
    done = algorithm.iteration
    assert algorithm.learn(total_tokens=60).iteration == done  # from the run's start


def test_whichever_total_comes_first_ends_it() -> None:
    assert make().learn(total_tokens=10**6, total_iterations=2).iteration == 2
    assert make().learn(total_tokens=1, total_iterations=9).iteration == 1


def test_a_linear_schedule_falls_towards_the_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    algorithm = make(learning_rate=0.5, learning_rate_schedule="linear")
    rates: list[float] = []
    spent = [0]
    monkeypatch.setattr(algorithm.lm, "set_learning_rate", rates.append)
    algorithm.learn(total_tokens=100, callback=lambda r: spent.append(r.num_tokens))
    expected = [0.5 * (1 - tokens / 100) for tokens in spent if tokens < 100]
    assert rates == pytest.approx(expected) and len(rates) > 2


def test_the_greedy_dialogues_of_a_baseline_are_generated_too() -> None:
    algorithm = make(baseline="greedy")
    report = algorithm.iterate()
    sampled = report.metrics["reply_tokens"]
    # One more dialogue of the group of four: two turns, and at least a token each.
    assert algorithm.num_timesteps == 8 + 2
    assert sampled + 2 <= algorithm.num_tokens == report.num_tokens <= sampled + 8


def test_episodes_played_outside_of_an_iteration_are_not_counted() -> None:
    algorithm = make()
    algorithm.collect()
    assert algorithm.num_tokens == algorithm.num_timesteps == 0
    report = algorithm.iterate()
    assert algorithm.num_tokens == report.metrics["reply_tokens"]


def test_a_state_without_tokens_is_refused_by_name() -> None:
    algorithm = make()
    state = algorithm.state_dict()
    del state["num_tokens"]
    with pytest.raises(ValueError, match="num_tokens"):
        algorithm.load_state_dict(state)
