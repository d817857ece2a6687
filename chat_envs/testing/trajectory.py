"""Episodes written down exactly, to be compared."""

from __future__ import annotations

import json
from typing import Any, Iterator

import numpy as np
from numpy.typing import NDArray

from chat_envs.core import ChatEnv
from chat_envs.replier import REPLIERS, Replier

__all__ = [
    "Line",
    "as_ids",
    "difference",
    "lines",
    "mixed_reply",
    "resumed",
    "trace",
]

Line = dict[str, Any]

_MIXTURE = ("expert", "echo_user", "expert", "special_tokens", "keyword_stuffing")
_MAX_TURNS = 1000


def mixed_reply(env: ChatEnv) -> str:
    """Return an expert's or a hostile reply by turn, so that episodes are long and varied."""
    return REPLIERS[_MIXTURE[env.turn % len(_MIXTURE)]](env)


def lines(env: ChatEnv, seed: int, replier: Replier = mixed_reply) -> Iterator[Line]:
    """Yield what `reset` and every `step` of one episode gave, as plain values."""
    return _play(env, env.reset(seed=seed), replier)


def resumed(
    env: ChatEnv, state: dict[str, Any], replier: Replier = mixed_reply
) -> list[Line]:
    """Return all lines from a saved state on."""
    return list(_play(env, env.reset(options={"state": state}), replier))


def _play(
    env: ChatEnv, begun: tuple[Any, dict[str, Any]], replier: Replier
) -> Iterator[Line]:
    yield _line(*begun)
    for _ in range(_MAX_TURNS):
        observation, reward, terminated, truncated, info = env.step(
            env.encode(replier(env))
        )
        yield _line(observation, info) | {
            "reward": reward,
            "terminated": terminated,
            "truncated": truncated,
        }
        if terminated or truncated:
            return
    raise AssertionError(f"An episode had not ended after {_MAX_TURNS} turns.")


def trace(env: ChatEnv, seed: int, replier: Replier = mixed_reply) -> list[Line]:
    """Return all lines of one episode."""
    return list(lines(env, seed, replier))


def difference(one: list[Line], other: list[Line]) -> str:
    """Return where two episodes first differ, in words; "" where they are the same."""
    for number, (a, b) in enumerate(zip(one, other)):
        for key in a:
            if _frozen(a[key]) != _frozen(b.get(key)):
                return f"at turn {number}, {key!r}: {_brief(a[key])} against {_brief(b.get(key))}"
    if len(one) != len(other):
        return f"in length: {len(one) - 1} against {len(other) - 1} turns"
    return ""


def _line(observation: Any, info: dict[str, Any]) -> Line:
    # Copied at once, so that an environment that reuses its arrays cannot rewrite the past.
    flat = {key: np.array(value) for key, value in observation.items()}
    for key, value in info.items():
        flat[f"info[{key}]"] = (
            np.array(value) if isinstance(value, np.ndarray) else _frozen(value)
        )
    return flat


def _frozen(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return json.dumps(value, default=str)
    return repr(value)


def _brief(value: Any) -> str:
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = np.trim_zeros(value, "b").tolist()
    text = str(value)
    return text if len(text) < 160 else f"... {text[-156:]}"


def as_ids(values: Any, length: int, fill: int) -> NDArray[np.int64]:
    """Return an action of `length` ids that begins with `values`."""
    action = np.full(length, fill, dtype=np.int64)
    action[: len(values)] = values
    return action
