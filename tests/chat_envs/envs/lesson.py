"""A tutoring lesson with a given student, turn by turn."""

from __future__ import annotations

from typing import Any

from chat_envs.envs.tutoring import Tutoring
from chat_envs.simulators.stream import Stream

__all__ = ["begin", "say", "script"]


def begin(
    states: list[int], tier: str = "default", seed: int = 0, **kwargs: Any
) -> Tutoring:
    """Return an environment with a given student, which no seed could be asked for."""
    env = Tutoring(tier, **({"context_length": 4000, "reply_length": 128} | kwargs))
    env.reset(seed=seed)
    env._student.states = list(states)
    env._student._before = env._student.score
    return env


def say(env: Tutoring, *replies: str) -> dict[str, Any]:
    """Say `replies` in turn; return the last info, with the reward and the last message."""
    info: dict[str, Any] = {}
    for reply in replies:
        _, reward, terminated, truncated, info = env.step(env.encode(reply))
        info |= {"reward": reward, "terminated": terminated, "truncated": truncated}
        info["heard"] = env.conversation[-1].content
    return info


def script(env: Tutoring, *draws: float) -> None:
    """Let the student's next draws be these."""
    env._student._rng = Stream([*draws, 0.5])
