"""What several tests of Wordle need: episodes with a chosen goal, and marks given by hand."""

from __future__ import annotations

import functools
import re
from collections import Counter

from chat_envs.envs.wordle import Wordle

__all__ = ["TIERS", "begin", "hints_in", "marked", "say", "shared"]

TIERS = {"easy": 3, "default": 5, "hard": 5}


@functools.cache
def shared(tier: str, split: str = "train") -> Wordle:
    """Return one environment a tier; every test resets it."""
    return Wordle(tier, split=split)


def begin(env: Wordle, goal: str) -> None:
    """Start an episode with a given goal, which no seed could be asked for."""
    env.reset(seed=0)
    env._goal = goal


def say(env: Wordle, text: str) -> tuple[str, float, bool]:
    """Return the answer to `text`, the reward and whether the episode is over."""
    _, reward, terminated, truncated, _ = env.step(env.encode(text))
    return env.conversation[-1].content, reward, terminated or truncated


def marked(guess: str, goal: str) -> list[int]:
    """Return the marks of a guess, letter by letter, as a person would give them."""
    marks = [2 if a == b else 0 for a, b in zip(guess, goal)]
    left = Counter(b for a, b in zip(guess, goal) if a != b)
    for place, letter in enumerate(guess):
        if not marks[place] and left[letter]:
            left[letter] -= 1
            marks[place] = 1
    return marks


def hints_in(text: str) -> list[tuple[str, str]]:
    return re.findall(r"\b([a-z]) (no|near|yes|told)\b", text)
