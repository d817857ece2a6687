from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from chat_envs.reward import describe, make_scorer
from chat_envs.reward.option import EntryOptions, read_options, time_limit
from tests.chat_envs.request import make_request

ALL = {
    "weight": 0.5,
    "on_error": "mask",
    "timeout_s": 2.0,
    "retries": 1,
    "kwargs": {"scale": 2.0},
    "isolation": "process",
    "clip": [-1.0, 1.0],
    "normalize": True,
    "when": "end",
    "breaker_after": 7,
    "max_error_rate": 0.5,
    "memory_mb": 512,
    "cpu_s": 3,
    "max_processes": 4,
    "workers": 2,
}


def test_what_is_not_said_has_a_default() -> None:
    assert read_options("x", {}, {}) == EntryOptions()


def test_every_option_is_read_and_survives_json() -> None:
    options = read_options("x", ALL, {})
    for name, value in ALL.items():
        if name not in ("on_error", "timeout_s", "retries", "clip"):
            assert getattr(options, name) == value
    assert options.clip == (-1.0, 1.0)
    assert (options.policy.on_error, options.policy.retries) == ("mask", 1)
    reward = {"some.module:Reward": ALL}
    assert json.loads(json.dumps(describe(reward))) == reward


def test_a_description_of_python_s_own_values_is_json() -> None:
    reward = {
        "a:b": {
            "clip": (np.float32(-1.0), 1),
            "weight": {"x": np.float64(2.0)},
            "kwargs": {"names": ("u", "v")},
        }
    }
    expected = {
        "a:b": {
            "clip": [-1.0, 1],
            "weight": {"x": 2.0},
            "kwargs": {"names": ["u", "v"]},
        }
    }
    assert json.loads(json.dumps(describe(reward))) == expected
    assert describe(describe(reward)) == describe(reward)


def test_an_entry_s_options_beat_those_that_it_inherits() -> None:
    inherited = {"on_error": "mask", "timeout_s": 3.0, "when": "end"}
    options = read_options("x", {"on_error": 1.0}, inherited)
    assert options.policy.on_error == 1.0
    assert (options.policy.timeout_s, options.when) == (3.0, "end")


def test_a_process_always_has_a_time_limit() -> None:
    assert time_limit(read_options("x", {}, {})) is None
    isolated = {"isolation": "process"}
    assert time_limit(read_options("x", isolated, {"timeout_s": None})) == 10.0
    assert time_limit(read_options("x", isolated, {"timeout_s": 3.0})) == 3.0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("kwargs", [1]),
        ("kwargs", {1: 2}),
        ("kwargs", {"x": object()}),
        ("kwargs", {"x": math.nan}),
        ("isolation", "thread"),
        ("isolation", None),
        ("clip", [1.0]),
        ("clip", [2.0, 1.0]),
        ("clip", [0.0, math.inf]),
        ("clip", "01"),
        ("clip", 1.0),
        ("normalize", 1),
        ("normalize", "yes"),
        ("when", "episode"),
        ("when", ["end"]),
        ("breaker_after", 0),
        ("breaker_after", 2.5),
        ("breaker_after", True),
        ("max_error_rate", 1.5),
        ("max_error_rate", math.nan),
        ("max_error_rate", "0.1"),
        ("memory_mb", 0),
        ("cpu_s", -1),
        ("max_processes", None),
        ("workers", 0),
    ],
)
def test_an_option_that_is_not_what_it_must_be_is_refused(
    option: str, value: Any
) -> None:
    given = {"isolation": "process", option: value}
    with pytest.raises(ValueError, match=f"reward 'x': .*{option}"):
        read_options("x", given, {})


@pytest.mark.parametrize("option", ["memory_mb", "cpu_s", "max_processes", "workers"])
def test_the_limits_of_a_process_need_one(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} limits a process"):
        read_options("x", {option: 1}, {})


@pytest.mark.parametrize("option", [{"kwargs": {}}, {"isolation": "process"}])
def test_the_task_s_own_reward_takes_no_construction(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="'task' is the environment's own"):
        make_scorer({"task": option})
    proxies = {"both": {"task": 1.0}}
    if "kwargs" in option:
        with pytest.raises(ValueError, match="is a mixture"):
            make_scorer({"proxy:both": option}, proxies=proxies)
    else:  # meant for what can have it
        scorer = make_scorer({"proxy:both": option}, proxies=proxies)
        assert scorer.score([make_request()])[0].total == 1.0
