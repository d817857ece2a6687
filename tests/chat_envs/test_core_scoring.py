"""`score_turns`: what the task pays needs no request, everything else is asked for at once."""

from __future__ import annotations

import math
from typing import Any, Sequence

import pytest

from chat_envs.core import ChatEnv, Turn
from chat_envs.core.scoring import score_turns
from chat_envs.reward import (
    RewardError,
    RewardOutcome,
    RewardRequest,
    Scorer,
    make_scorer,
)
from tests.chat_envs.toy import SayIt

REWARDS = (
    {"said": 1.0, "pace": -0.25},
    {"pace": -0.1},
    {"said": math.nan},
    {"said": math.inf, "pace": 0.0},
    None,
)
NAMES = SayIt.component_names


class Paying(SayIt):
    """The toy, whose turns pay what a test says; it counts the requests that it writes."""

    def __init__(self, paid: Any, **kwargs: Any) -> None:
        self._paid = paid
        self.num_requests = 0
        super().__init__(**kwargs)

    def _respond(self, reply: str) -> Turn:
        turn = super()._respond(reply)
        return Turn(messages=turn.messages, reward=self._paid, metrics=turn.metrics)

    def reward_request(self) -> RewardRequest:
        self.num_requests += 1
        return super().reward_request()


class Judge:
    """Pays the length of a reply, and writes down how many it was asked about together."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def score(self, batch: Sequence[RewardRequest]) -> list[float]:
        self.asked.append(len(batch))
        return [float(len(request.reply)) for request in batch]


def advanced(rewards: Sequence[Any], **kwargs: Any) -> list[Paying]:
    """Return one environment for each reward, with a first turn that was not scored yet."""
    envs = [Paying(paid, **kwargs) for paid in rewards]
    for seed, env in enumerate(envs):
        env.reset(seed=seed)
        env._advance(env.encode("red").tolist())
    return envs


def of_requests(scorer: Scorer, envs: Sequence[ChatEnv]) -> list[Any]:
    return scorer.score([env.reward_request() for env in envs])


@pytest.mark.parametrize("on_error", ["mask", -2.5])
def test_the_outcomes_are_those_of_the_requests(on_error: str | float) -> None:
    scorer = make_scorer(None, on_error=on_error, task_names=NAMES)
    envs = advanced(REWARDS)
    outcomes = score_turns(scorer, envs)
    assert outcomes == of_requests(scorer, envs)
    assert [o.is_valid for o in outcomes] == [True] * 2 + [on_error == -2.5] * 3
    assert [o.total for o in outcomes[:2]] == [0.75, -0.1]
    assert [list(o.components) for o in outcomes] == [list(NAMES)] * len(REWARDS)


@pytest.mark.parametrize("paid", REWARDS[2:])
def test_a_failing_task_reward_raises_the_same_error(paid: Any) -> None:
    scorer = make_scorer(None, task_names=NAMES)
    envs = advanced([REWARDS[0], paid])
    with pytest.raises(RewardError) as expected:
        of_requests(scorer, envs)
    with pytest.raises(RewardError) as found:
        score_turns(scorer, envs)
    assert str(found.value) == str(expected.value)


def test_what_the_task_pays_needs_no_request() -> None:
    scorer = make_scorer(None, on_error="mask", task_names=NAMES)
    envs = advanced(REWARDS)
    score_turns(scorer, envs)
    assert [env.num_requests for env in envs] == [0, 0, 1, 1, 1]


def test_a_step_that_the_task_pays_writes_no_request() -> None:
    env = Paying(REWARDS[0])
    env.reset(seed=1)
    _, reward, *_, info = env.step(env.encode("red"))
    assert (reward, info["reward_components"]) == (0.75, REWARDS[0])
    assert env.num_requests == 0


def test_another_scorer_is_asked_once_about_all() -> None:
    judge = Judge()
    scorer = make_scorer(judge)
    envs = advanced(REWARDS)
    assert [outcome.total for outcome in score_turns(scorer, envs)] == [3.0] * 5
    assert judge.asked == [5]


class Strict:
    """A scorer of somebody else's, which takes no empty batch."""

    component_names = ("length",)

    def score(self, requests: Sequence[RewardRequest]) -> list[RewardOutcome]:
        longest = max(len(request.reply) for request in requests)
        return [RewardOutcome(1.0, {"length": float(longest)}, True) for _ in requests]


def test_no_turn_asks_no_scorer() -> None:
    assert score_turns(Strict(), []) == []
    assert len(score_turns(Strict(), advanced(REWARDS))) == len(REWARDS)


def test_a_scorer_of_other_names_pays_under_its_own() -> None:
    scorer = make_scorer(None, task_names=("pace", "tone"))
    (outcome,) = score_turns(scorer, advanced([REWARDS[0]]))
    assert (outcome.total, outcome.components) == (0.75, {"pace": -0.25, "tone": 0.0})


def test_components_of_an_outcome_are_its_own() -> None:
    env = Paying(REWARDS[0])
    env.reset(seed=1)
    env.step(env.encode("red"))
    env._components["said"] = 7.0
    assert env.reward_request().task_components == REWARDS[0]
