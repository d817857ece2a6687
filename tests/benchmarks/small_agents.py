"""Agents from outside, each of a few lines: some are sound, most are broken in one way."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from chat_envs.core import ChatEnv

Actions = npt.NDArray[Any]


def make_env(env_id: str, **env_kwargs: Any) -> ChatEnv:
    env = gymnasium.make(env_id, **env_kwargs).unwrapped
    assert isinstance(env, ChatEnv)
    return env


class Idle:
    """Never learns, and says one word."""

    word = "yes"

    def __init__(
        self, env_id: str, seed: int, env_kwargs: Mapping[str, Any], word: str = ""
    ) -> None:
        self.env = make_env(env_id, **env_kwargs)
        self.rng = np.random.default_rng(seed)
        self.action = self.env.encode(word or self.word)

    def learn(self, total_tokens: int) -> None:
        pass

    def predict(
        self, observation: Mapping[str, Actions], deterministic: bool = False
    ) -> tuple[Any, None]:
        return self.answer(len(observation["input_ids"])), None

    def answer(self, number: int) -> Any:
        return np.tile(self.action, (number, 1))


class Guesser(Idle):
    """Says a word at random, so that a run shows whether its seed is kept."""

    def answer(self, number: int) -> Actions:
        words = self.env.candidate_replies() or ["yes", "no"]
        drawn = self.rng.integers(len(words), size=number)
        return np.stack([self.env.encode(words[i]) for i in drawn])


class Raises(Idle):
    """Fails while it learns."""

    def learn(self, total_tokens: int) -> None:
        raise RuntimeError(f"no idea what to do with {total_tokens} tokens")


class Leaves(Idle):
    """Ends the interpreter while it learns, as a script would."""

    def learn(self, total_tokens: int) -> None:
        sys.exit("enough of this")


class Vanishes(Idle):
    """Ends its process without a word to anybody."""

    def learn(self, total_tokens: int) -> None:
        print("going, going", flush=True)
        os._exit(7)


class Hungry(Idle):
    """Wants more memory than there is."""

    def learn(self, total_tokens: int) -> None:
        raise MemoryError("three exabytes")


class Hangs(Idle):
    """Never comes back; leaves its process id, and that of a child, where `HANG_NOTE` says."""

    def learn(self, total_tokens: int) -> None:
        child = os.fork()
        if child:
            aside = Path(os.environ["HANG_NOTE"] + ".writing")
            aside.write_text(f"{os.getpid()} {child}")
            aside.rename(os.environ["HANG_NOTE"])
        threading.Event().wait()


class Floats(Idle):
    def answer(self, number: int) -> Any:
        return np.tile(self.action, (number, 1)).astype(np.float32)


class NaNs(Idle):
    def answer(self, number: int) -> Any:
        return np.full((number, 2), np.nan)


class Short(Idle):
    def answer(self, number: int) -> Any:
        return self.action


class Long(Idle):
    def answer(self, number: int) -> Any:
        return np.tile(self.action, (number, 2))


class FewRows(Idle):
    def answer(self, number: int) -> Any:
        return np.tile(self.action, (number + 1, 1))


class TooHigh(Idle):
    def answer(self, number: int) -> Any:
        return np.full((number, 1), len(self.env.tokenizer))


class Negative(Idle):
    def answer(self, number: int) -> Any:
        return np.full((number, 1), -1)


class Padded(Idle):
    """Writes padding alone, which is no reply."""

    def answer(self, number: int) -> Any:
        return np.full((number, 3), self.env.tokenizer.pad_id)


class Ragged(Idle):
    def answer(self, number: int) -> Any:
        return [[1] * (row + 1) for row in range(number)]


class Bare(Idle):
    """Returns the actions without the pair around them."""

    def predict(
        self, observation: Mapping[str, Actions], deterministic: bool = False
    ) -> Any:
        return self.answer(len(observation["input_ids"]))


class Mute:
    """Has no `predict`."""

    def learn(self, total_tokens: int) -> None:
        pass
