"""An environment whose openings can be counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from chat_envs import ChatEnv, Message, Turn, system, user

__all__ = ["WORDS", "Toy", "drawn"]

# Four words in training, each as likely; three in the test split, two of them words of training.
WORDS = {
    "train": ("one", "two", "three", "four"),
    "test": ("four", "four", "one", "five"),
}


def drawn(split: str, num_episodes: int) -> list[str]:
    """Return the words of the seeds from 0 on, drawn as anyone would draw them."""
    size = len(WORDS[split])
    return [
        WORDS[split][int(np.random.default_rng(seed).random() * size)]
        for seed in range(num_episodes)
    ]


class Toy(ChatEnv):
    """The user says a word, which is to be said back.

    A second paragraph.

    Args:
        has_rules_of_its_own: whether each split has a system message of its own.
        kwargs: those of `ChatEnv`.
    """

    def __init__(self, has_rules_of_its_own: bool = True, **kwargs: Any) -> None:
        self._has_rules_of_its_own = has_rules_of_its_own
        super().__init__(max_turns=1, **kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        words = WORDS[self.split]
        self._word = words[int(rng.random() * len(words))]
        rules = f"Rules of {self.split}." if self._has_rules_of_its_own else "Rules."
        return [system(rules), user(self._word)]

    def _respond(self, reply: str) -> Turn:
        success = reply == self._word
        return Turn(reward=float(success), ended=True, success=success, why="answered")

    def expert_reply(self) -> str:
        return self._word
