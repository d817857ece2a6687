"""The clause about vectors: native, sync and async give the same bytes in every autoreset mode."""

from __future__ import annotations

import functools
from typing import Any, Callable

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from chat_envs.testing.subject import Subject, require
from chat_envs.testing.trajectory import mixed_reply
from chat_envs.vector import ChatVectorEnv

__all__ = ["check_async_vector", "check_vector"]

_NUM_ENVS = 3
_NUM_STEPS = 25
_SEED = 18


def check_vector(subject: Subject) -> None:
    """The native vector environment equals Gymnasium's sync one in all autoreset modes."""
    for mode in AutoresetMode:
        sync = SyncVectorEnv([subject.make] * _NUM_ENVS, autoreset_mode=mode)
        _compare(subject, sync, mode, "SyncVectorEnv")
    if subject.env_id is not None:
        native = gymnasium.make_vec(
            subject.env_id, num_envs=2, vectorization_mode="vector_entry_point"
        )
        require(
            isinstance(native, ChatVectorEnv),
            f"gymnasium.make_vec({subject.env_id!r}) makes a {type(native).__name__}, expected a "
            "ChatVectorEnv: export make_vector = chat_envs.vector_entry_point(YourEnv).",
        )
        native.close()


def check_async_vector(subject: Subject) -> None:
    """Gymnasium's async vector environment, with shared memory, agrees too (starts processes)."""
    for mode in AutoresetMode:
        made: list[Callable[[], Any]] = [functools.partial(subject.make)] * _NUM_ENVS
        other = AsyncVectorEnv(made, autoreset_mode=mode, shared_memory=True)
        _compare(subject, other, mode, "AsyncVectorEnv")


def _compare(subject: Subject, other: Any, mode: AutoresetMode, name: str) -> None:
    """Step both with the same replies and require the same everything."""
    native = ChatVectorEnv(subject.make, _NUM_ENVS, autoreset_mode=mode)
    label = f"ChatVectorEnv and {name} in mode {mode.value!r}"
    try:
        _require_same(label, 0, native.reset(seed=_SEED), other.reset(seed=_SEED))
        is_over = np.zeros(_NUM_ENVS, dtype=np.bool_)
        for number in range(1, _NUM_STEPS + 1):
            # Nobody is asked what to say in an episode that is over; its action is ignored.
            replies = [
                "" if over else mixed_reply(e) for e, over in zip(native.envs, is_over)
            ]
            actions = np.stack([native.envs[0].encode(reply) for reply in replies])
            found, expected = native.step(actions), other.step(actions)
            _require_same(label, number, found, expected)
            is_over = (found[2] | found[3]) & (mode != AutoresetMode.SAME_STEP)
            if mode == AutoresetMode.DISABLED and is_over.any():
                options = {"reset_mask": is_over}
                found_reset = native.reset(options=options)
                require(
                    set(options) == {"reset_mask"},
                    f"{label}: reset changed its options at step {number}.",
                )
                _require_same(label, number, found_reset, other.reset(options=options))
                is_over[:] = False
    finally:
        native.close()
        other.close()


def _require_same(label: str, number: int, found: Any, expected: Any) -> None:
    where = _gap(found, expected, "result")
    require(where == "", f"{label} differ at step {number}: {where}.")


def _gap(found: Any, expected: Any, path: str) -> str:
    """Return where two nested results differ, "" where they are the same."""
    if isinstance(expected, (tuple, dict)) and type(found) is not type(expected):
        return f"{path} is {type(found).__name__}, expected {type(expected).__name__}"
    if isinstance(expected, tuple):
        pairs = zip(range(len(expected)), found, expected)
        return next((g for i, a, b in pairs if (g := _gap(a, b, f"{path}[{i}]"))), "")
    if isinstance(expected, dict):
        if set(found) != set(expected):
            return f"{path} has the keys {sorted(found)}, expected {sorted(expected)}"
        gaps = (_gap(found[k], expected[k], f"{path}[{k!r}]") for k in expected)
        return next((gap for gap in gaps if gap), "")
    a, b = np.asarray(found), np.asarray(expected)
    if a.dtype != b.dtype or a.shape != b.shape:
        return f"{path} is {a.dtype} {a.shape}, expected {b.dtype} {b.shape}"
    if a.dtype == object:
        pairs = zip(range(a.size), a.ravel().tolist(), b.ravel().tolist())
        return next(
            (g for i, x, y in pairs if (g := _gap_of_objects(x, y, f"{path}[{i}]"))),
            "",
        )
    return (
        "" if a.tobytes() == b.tobytes() else f"{path} is {found}, expected {expected}"
    )


def _gap_of_objects(found: Any, expected: Any, path: str) -> str:
    if isinstance(expected, (tuple, dict, np.ndarray)):
        return _gap(found, expected, path)
    return "" if found == expected else f"{path} is {found!r}, expected {expected!r}"
