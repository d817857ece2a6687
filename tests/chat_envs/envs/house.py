"""Playing `VoiceAssistant` in tests: with wanted requests, without noise and without asides."""

from __future__ import annotations

import functools
import math
from typing import Any, Callable, Sequence

import numpy as np

from chat_envs.envs import voice_assistant
from chat_envs.envs._voice_assistant_reader import Command
from chat_envs.envs.voice_assistant import VoiceAssistant
from chat_envs.message import Conversation
from chat_envs.replier import play

__all__ = [
    "DATA",
    "Fixed",
    "KITCHEN_ON",
    "Policy",
    "READER",
    "TIERS",
    "begin",
    "interval",
    "make",
    "returns",
    "say",
    "said_last",
]

Policy = Callable[[VoiceAssistant], str]
TIERS = ("easy", "default", "hard")
DATA = voice_assistant._data()
READER = voice_assistant._reader()
KITCHEN_ON = Command("light", "on", "kitchen")


class Fixed:
    """A stream that draws one number for ever."""

    def __init__(self, draw: float) -> None:
        self._draw = draw

    def random(self) -> float:
        """Return it."""
        return self._draw


def make(tier: str = "default", **kwargs: Any) -> VoiceAssistant:
    """Return an environment whose context holds any episode, whatever the tokenizer."""
    kwargs = {"context_length": 3000, "reply_length": 100} | kwargs
    return VoiceAssistant(tier, **kwargs)


@functools.cache
def _clean(tier: str) -> VoiceAssistant:
    return make(tier, word_error_rate=0.0, context_length=12_000, reply_length=600)


def begin(
    *requests: Command, tier: str = "default", behaviour: float = 0.99, seed: int = 0
) -> VoiceAssistant:
    """Start an episode with given requests, all heard right.

    `behaviour` decides everything that the user leaves to chance: below .1 an aside comes first,
    below .3 a wrong act is noticed.
    """
    env = _clean(tier)
    env.reset(seed=seed)
    env._requests = list(requests)
    env._goal = {READER.key(command): command for command in requests}
    env._behaviour_rng = Fixed(behaviour)  # type: ignore[assignment]
    request = env._speak(env._request())
    env.conversation = Conversation.of(env.conversation[0], request)
    return env


def say(env: VoiceAssistant, *replies: str) -> dict[str, Any]:
    """Say `replies` in turn; return the last info, with the reward."""
    info: dict[str, Any] = {}
    for reply in replies:
        _, reward, terminated, truncated, info = env.step(env.encode(reply))
        assert not truncated
        info |= {"reward": reward, "terminated": terminated}
    return info


def said_last(env: VoiceAssistant) -> str:
    """Return the last line, without its confidence."""
    mark, _, words = env.conversation[-1].content.partition(" ")
    return words if mark[:1].isdigit() else env.conversation[-1].content


def returns(env: VoiceAssistant, policy: Policy, seeds: Sequence[int]) -> Any:
    """Return the return of every episode that `policy` plays."""
    return np.array(
        [play(env, policy, seed).episode_return for seed in seeds]  # type: ignore[arg-type]
    )


def interval(values: Any, z: float = 1.96) -> tuple[float, float]:
    """Return the confidence interval of the mean."""
    half = z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half
