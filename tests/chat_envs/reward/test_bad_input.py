"""All that a reward can do wrong, at once and under each policy: the others are paid as ever."""

from __future__ import annotations

import os
import threading
from typing import Any

import gymnasium
import numpy as np
import pytest

from chat_envs.reward import RewardError, make_scorer
from chat_envs.reward.worker_process import session_members
from chat_envs.vector import ChatVectorEnv
from tests.chat_envs.request import make_requests
from tests.chat_envs.reward.fork_bomb import obey_or_fork
from tests.chat_envs.reward.hostile import obey
from tests.chat_envs.toy import SayIt

FAILING = ("nan", "inf", "none", "text", "array", "raise", "mute")
KILLING = ("loop", "sleep", "exit", "quit", "crash", "children", "bomb", "garbage")
PATH = f"{obey_or_fork.__module__}:{obey_or_fork.__name__}"
# Long for a reply that is scored at once, on a machine that does much else.
PROCESS = {"isolation": "process", "timeout_s": 1.0, "max_processes": 8}


def returned_array(reply: str) -> Any:
    return np.ones(2) if reply == "bad" else np.float32(1.0)


@pytest.mark.parametrize("act", FAILING)
def test_what_fails_goes_by_its_policy_and_harms_no_other(act: str) -> None:
    requests = make_requests("a", act, "ccc")

    def scored(on_error: str | float) -> list[tuple[float, bool]]:
        scorer = make_scorer({"task": 1.0, obey: {"weight": 2.0, "on_error": on_error}})
        outcomes = scorer.score(requests)
        assert [o.components["task"] for o in outcomes] == [1.0, 1.0, 1.0]
        return [(o.total, o.is_valid) for o in outcomes]

    assert scored("mask") == [(3.0, True), (1.0, False), (7.0, True)]
    assert scored(-0.5) == [(3.0, True), (0.0, True), (7.0, True)]
    for on_error, words in (("raise", "failed at"), ("retry", "failed after 3 att")):
        with pytest.raises(RewardError, match=f"'obey' {words}.* turn 2") as caught:
            scored(on_error)
        assert len(str(caught.value)) < 700


def test_everything_at_once_costs_each_its_own_reply() -> None:
    bad = (*FAILING, "hoard", *KILLING)
    replies = ["a", *bad[:8], "bb", *bad[8:], "ccc"]
    good = [replies.index(reply) for reply in ("a", "bb", "ccc")]
    reward = {"task": 1.0, PATH: PROCESS | {"on_error": "mask", "breaker_after": None}}
    vector = ChatVectorEnv(SayIt, len(replies), reward=reward)
    vector.reset(seed=1)
    encode = vector.envs[0].encode
    _, rewards, *_, infos = vector.step(np.stack([encode(text) for text in replies]))
    assert np.flatnonzero(infos["reward_valid"]).tolist() == good
    expected = np.full(len(replies), -0.1)  # what the task pays
    expected[good] += [1.0, 2.0, 3.0]
    assert rewards == pytest.approx(expected)
    # The run goes on, with the same function.
    _, rewards, *_, infos = vector.step(np.stack([encode("four")] * len(replies)))
    assert infos["reward_valid"].all()
    assert rewards == pytest.approx(np.full(len(replies), 3.9))


def test_a_fork_bomb_is_ended_with_all_its_processes() -> None:
    scorer = make_scorer({PATH: PROCESS | {"on_error": -1.0, "memory_mb": 3500}})
    pid, fallback, last = (
        o.total for o in scorer.score(make_requests("pid", "bomb", "a"))
    )
    assert (fallback, last) == (-1.0, 1.0)
    assert pid != os.getpid() and session_members(int(pid)) == set()


def test_a_closure_that_nothing_can_pickle_is_a_reward_like_any_other() -> None:
    lock = threading.Lock()

    def guarded(reply: str) -> float:
        with lock:
            return float(len(reply))

    env = gymnasium.make("chat_envs/Echo-easy-v0", reward={"task": 1.0, guarded: 0.5})
    env.reset(seed=1)
    *_, info = env.step(env.unwrapped.encode("hello"))  # type: ignore[attr-defined]
    assert info["reward_components"]["guarded"] == 5.0
    with pytest.raises(TypeError, match="put it in a module of its own"):
        make_scorer({guarded: {"isolation": "process"}})


def test_a_number_of_numpy_is_one_and_an_array_is_none() -> None:
    scorer = make_scorer(returned_array, on_error="mask")
    outcomes = scorer.score(make_requests("good", "bad"))
    assert [(o.total, o.is_valid) for o in outcomes] == [(1.0, True), (0.0, False)]
