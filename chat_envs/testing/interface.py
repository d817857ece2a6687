"""Clauses about the interface: spaces, `info`, observations, rendering, the spec."""

from __future__ import annotations

import json
import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from chat_envs.core import ChatEnv
from chat_envs.testing.subject import Subject, require
from chat_envs.testing.trajectory import difference, lines, mixed_reply, trace

__all__ = [
    "check_gymnasium",
    "check_info",
    "check_observations",
    "check_rendering",
    "check_spaces",
    "check_spec",
]

_INFO_TYPES: dict[str, type] = {
    "turn": int,
    "success": bool,
    "termination_reason": str,
    "reward_components": dict,
    "gold_reward": float,
    "metrics": dict,
    "reward_valid": bool,
    "reply_text": str,
    "action_mask": np.ndarray,
}


def check_gymnasium(subject: Subject) -> None:
    """`gymnasium.utils.env_checker.check_env` passes without a warning."""
    if subject.env_id is None:
        env: gymnasium.Env[Any, Any] = subject.make()
    else:
        env = gymnasium.make(subject.env_id, disable_env_checker=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if subject.env_id is None:
            # Of an environment with no spec it says that it cannot check the render modes.
            warnings.filterwarnings("ignore", message=".*not having a spec.*")
        check_env(env.unwrapped, skip_render_check=subject.env_id is None)


def check_spaces(subject: Subject) -> None:
    """The spaces are those of every chat environment, in shape and type."""
    env = subject.make()
    num_ids, length = len(env.tokenizer), env.context_length
    observation = spaces.Dict(
        {
            "input_ids": spaces.Box(0, num_ids - 1, (length,), np.int64),
            "attention_mask": spaces.MultiBinary(length),
        }
    )
    action = spaces.MultiDiscrete(np.full(env.reply_length, num_ids))
    require(
        env.observation_space == observation,
        f"observation_space is {env.observation_space}, expected {observation}; leave it to "
        "ChatEnv.__init__.",
    )
    require(
        env.action_space == action,
        f"action_space is {env.action_space}, expected {action}; leave it to ChatEnv.__init__.",
    )
    fps = env.metadata.get("render_fps", 0)
    require(
        fps > 0 and "ansi" in env.metadata.get("render_modes", []),
        f"metadata is {env.metadata}; it needs render_modes with 'ansi' and a positive "
        "render_fps, or Gymnasium warns.",
    )


def check_info(subject: Subject) -> None:
    """`info` has the same keys and types on reset and every step, and no secrets before the end."""
    env = subject.make()
    keys: list[Any] = []
    _, info = env.reset(seed=11)
    is_over = False
    while True:
        require(
            list(info) == list(_INFO_TYPES) or set(info) == set(_INFO_TYPES),
            f"info has the keys {sorted(info)}, expected {sorted(_INFO_TYPES)}: put floats into "
            "Turn.metrics and everything else into the messages.",
        )
        for key, kind in _INFO_TYPES.items():
            require(
                type(info[key]) is kind,
                f"info[{key!r}] is of type {type(info[key]).__name__} at turn {env.turn}, "
                f"expected {kind.__name__}: types may not change, or vectors cannot stack them.",
            )
        mask = info["action_mask"]
        require(
            mask.shape == (env.context_length,) and mask.dtype == np.int8,
            f"info['action_mask'] is {mask.dtype} {mask.shape}, expected int8 "
            f"({env.context_length},).",
        )
        _check_floats(env, "reward_components", info, env.scorer.component_names)
        _check_floats(env, "metrics", info, env.metric_names)
        keys.append({key: list(info[key]) for key in ("reward_components", "metrics")})
        require(
            keys[0] == keys[-1],
            f"info's names changed from {keys[0]} to {keys[-1]} at turn {env.turn}.",
        )
        if is_over:
            require(
                info["termination_reason"] != "",
                "The episode ended with an empty termination_reason; set Turn.why.",
            )
            return
        require(
            not info["success"] and info["termination_reason"] == "",
            f"info tells success={info['success']}, reason={info['termination_reason']!r} at "
            f"turn {env.turn}, before the end: outcomes are secrets until then.",
        )
        step = env.step(env.encode(mixed_reply(env)))
        is_over, info = step[2] or step[3], step[4]


def _check_floats(
    env: ChatEnv, key: str, info: dict[str, Any], names: tuple[str, ...]
) -> None:
    require(
        set(info[key]) == set(names),
        f"info[{key!r}] has the names {sorted(info[key])} at turn {env.turn}, the class "
        f"declares {sorted(names)}.",
    )
    for name, value in info[key].items():
        require(
            type(value) is float,
            f"info[{key!r}][{name!r}] is {value!r} of type {type(value).__name__}, expected a "
            "float.",
        )


def check_observations(subject: Subject) -> None:
    """Observations and infos are fresh copies: writing into one changes nothing later."""
    clean = trace(subject.make(), seed=12)
    env = subject.make()
    observation, info = env.reset(seed=12)
    kept: list[Any] = []
    for number in range(1, len(clean)):
        require(
            env.observation_space.contains(observation),
            f"The observation of turn {number - 1} does not lie in observation_space.",
        )
        num_ids = int(observation["attention_mask"].sum())
        is_right_padded = bool(observation["attention_mask"][:num_ids].all())
        require(
            is_right_padded,
            f"attention_mask of turn {number - 1} is not right-padded: ones, then zeros.",
        )
        reply = env.encode(mixed_reply(env))
        arrays = [*observation.values(), info["action_mask"]]
        for array in arrays:
            require(
                not any(np.shares_memory(array, old) for old in kept),
                f"The arrays of turn {number - 1} share memory with earlier ones; copy them.",
            )
            array[...] = 1
        kept += arrays
        for nested in (info["reward_components"], info["metrics"], info):
            nested.clear()
        observation, reward, terminated, truncated, info = env.step(reply)
        expected = clean[number]
        same = (
            np.array_equal(observation["input_ids"], expected["input_ids"])
            and reward == expected["reward"]
            and bool(info)
        )
        require(
            same,
            f"Turn {number} changed after the caller wrote into what turn {number - 1} "
            "returned; the environment must hand out copies.",
        )


def check_rendering(subject: Subject) -> None:
    """`render_mode="ansi"` gives the transcript as text."""
    env = subject.make(render_mode="ansi")
    env.reset(seed=13)
    env.step(env.encode("hello there"))
    text = env.render()
    require(
        isinstance(text, str) and "hello" in text,
        f"render() returned {text!r} after the reply 'hello there', expected the transcript.",
    )


def check_spec(subject: Subject) -> None:
    """The spec survives JSON and makes the same environment (ids alone)."""
    if subject.env_id is None:
        return
    spec = gymnasium.make(subject.env_id, disable_env_checker=True).spec
    require(spec is not None, f"gymnasium.make({subject.env_id!r}) left no spec.")
    assert spec is not None
    text = spec.to_json()
    json.loads(text)
    again = gymnasium.make(EnvSpec.from_json(text), disable_env_checker=True).unwrapped
    assert isinstance(again, ChatEnv)
    gap = difference(trace(subject.make(), 14), list(lines(again, 14)))
    require(gap == "", f"After spec.to_json() and back the episode differs {gap}.")
