"""`ReasoningGym`: a task of the package `reasoning-gym`, one question and one reply.

Stojanovski et al. 2025 (arXiv:2505.24760): about a hundred procedural generators, each with its
own scorer. The question is the user's message, the reward what the package's `score_answer`
says of the reply, in [0, 1] for its own tasks.

The item of an episode is drawn from the environment's generator and made on a random state of its
own: the package draws from global state in places, and none of that is seen outside.

Scorers of some tasks hand the answer to Python's `eval` (also through sympy), so a model's reply
is run as code there. They are refused unless `allow_eval`.
"""

from __future__ import annotations

import collections
import hashlib
import math
import re
from typing import Any, Iterator, Mapping

import numpy as np

from chat_envs.bridges.borrowed_randomness import BorrowedRandomness
from chat_envs.bridges.optional_package import load_package, nearest
from chat_envs.core import ChatEnv, Turn
from chat_envs.message import Message, system, user
from chat_envs.vector import vector_entry_point

__all__ = ["EVALUATED", "ReasoningGym", "is_held_out", "make_vector", "readings"]

EVALUATED = frozenset(
    "binary_matrix composite countdown intermediate_integration n_queens"
    " polynomial_multiplication puzzle24 simple_integration spiral_matrix"
    " string_insertion".split()
)
"""Tasks whose scorer runs an answer as Python, in reasoning-gym 0.1.25 (a composite one may)."""

_RULES = (
    "Answer the question. You have 1 reply. Write the answer alone, or put it between <answer> "
    "and </answer>."
)
_SIZE = 10_000
_HELD_OUT = 4  # one question of so many is for the test split
_MAX_DRAWS = 200
_SAMPLE_SIZE = 16
_TAGGED = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL)
_ANNOUNCED = re.compile(r"\banswer(?: is|:)\s*(.+)$", re.DOTALL | re.IGNORECASE)
_WRAPPING = " \t\n\r\"'`*"


class ReasoningGym(ChatEnv):
    """Answer one question of one task.

    A quarter of the questions is asked in the test split alone: which, is decided by a hash of
    the text, so that no question stands in both splits.

    Args:
        dataset: the name of the task, e.g. "leg_counting".
        config: keywords of the task's own configuration, JSON-able. `size` (10,000) is how many
            items there are, `seed` (0) which ones; a few tasks make all items at once and want a
            smaller size.
        on_long: what an item that does not fit does: its question into `context_length`, or its
            stored answer into `reply_length`. "stop" raises, "skip" draws another.
        allow_eval: accept the tasks of `EVALUATED`.
        **kwargs: those of `ChatEnv`; `max_turns` is 1.

    Raises:
        ImportError: if the package is not installed.
        ValueError: if there is no such task, it refuses its configuration, it would run replies
            as code, an item does not fit, or the split has no question.
    """

    metric_names = ("unreadable",)

    def __init__(
        self,
        dataset: str,
        *,
        config: Mapping[str, Any] | None = None,
        on_long: str = "stop",
        allow_eval: bool = False,
        **kwargs: Any,
    ) -> None:
        if kwargs.setdefault("max_turns", 1) != 1:
            raise ValueError(
                f"ReasoningGym has one turn, got max_turns={kwargs['max_turns']}."
            )
        if on_long not in ("stop", "skip"):
            raise ValueError(f"on_long must be 'stop' or 'skip', got {on_long!r}.")
        if dataset in EVALUATED and not allow_eval:
            raise ValueError(
                f"The scorer of {dataset!r} runs replies as Python code; where that is safe, "
                "say allow_eval=True."
            )
        self.dataset = dataset
        self._on_long = on_long
        self._tasks = _load(dataset, {"size": _SIZE, "seed": 0, **(config or {})})
        self._sample: list[str] | None = None
        kwargs.setdefault("context_length", 1024)
        kwargs.setdefault("reply_length", 64)
        super().__init__(**kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        for _ in range(_MAX_DRAWS):
            index = int(rng.integers(len(self._tasks)))
            item = self._item(index)
            messages = [system(_RULES), user(str(item["question"]))]
            if is_held_out(messages[-1].content) != (self.split == "test"):
                continue
            problem = self._misfit(messages, item["answer"])
            if not problem:
                self._current = item
                return messages
            if self._on_long == "stop":
                raise ValueError(
                    f"Item {index} of {self.dataset!r} does not fit: {problem} Or leave such "
                    "items out with on_long='skip'."
                )
        raise ValueError(
            f"{_MAX_DRAWS} draws found no question of {self.dataset!r} for the split "
            f"{self.split!r} that fits; it may have too few: widen its config."
        )

    def _item(self, index: int) -> dict[str, Any]:
        with BorrowedRandomness(index).installed():
            item: dict[str, Any] = self._tasks[index]
        return item

    def _misfit(self, messages: list[Message], answer: Any) -> str:
        """Return what an item needs that is not there, "" where it fits."""
        needed = len(self.template.opening(messages)) + self._reply_room
        if needed > self.context_length:
            return f"it needs a context_length of {needed}, not {self.context_length}."
        if isinstance(answer, str):
            needed = len(self.tokenizer.encode(answer)) + 1
            if needed > self.reply_length:
                return f"it needs a reply_length of {needed}, not {self.reply_length}."
        return ""

    def _respond(self, reply: str) -> Turn:
        scores = [self._score(reading) for reading in readings(reply)]
        known = [score for score in scores if score is not None]
        score = max(known, default=0.0)
        return Turn(
            reward=score,
            ended=True,
            success=score >= 1.0,
            why="answered",
            metrics={"unreadable": float(len(known) < len(scores) and not any(known))},
        )

    def _score(self, answer: str) -> float | None:
        """Return the package's score, None where it cannot read the answer."""
        try:
            with BorrowedRandomness(0).installed():
                score = float(self._tasks.score_answer(answer, self._current))
        except Exception:  # whatever a parser of the package meets in a reply
            return None
        return score if math.isfinite(score) else None

    def expert_reply(self) -> str:
        """Return the stored answer."""
        answer = self._current["answer"]
        if not isinstance(answer, str):
            raise NotImplementedError(
                f"reasoning-gym stores no answer to questions of {self.dataset!r}; its scorer "
                "alone knows."
            )
        return answer

    def blind_reply(self) -> str:
        """Return the commonest answer of a few training items."""
        counts = collections.Counter(self._answers())
        return min(counts, key=lambda answer: (-counts[answer], answer), default="")

    def candidate_replies(self) -> list[str]:
        """Return the answers of a few training items, each once."""
        return sorted(set(self._answers()))

    def _answers(self) -> list[str]:
        if self._sample is None:
            size = min(_SAMPLE_SIZE, len(self._tasks))
            items = (self._item(index) for index in range(size))
            self._sample = [
                item["answer"]
                for item in items
                if isinstance(item["answer"], str)
                and not is_held_out(str(item["question"]))
            ]
        return self._sample


def _load(dataset: str, config: Mapping[str, Any]) -> Any:
    """Return the package's dataset."""
    # Not even the import may touch the global state.
    with BorrowedRandomness(0).installed():
        factory = load_package("reasoning_gym.factory", extra="reasoning-gym")
        load_package("reasoning_gym", extra="reasoning-gym")
        if dataset not in factory.DATASETS:
            raise ValueError(
                f"reasoning-gym has no task {dataset!r}."
                f"{nearest(dataset, factory.DATASETS)}"
            )
        try:
            return factory.create_dataset(dataset, **config)
        except AssertionError as error:
            raise ValueError(
                f"The task {dataset!r} refuses its config {dict(config)}: {error}"
            ) from error


def is_held_out(question: str) -> bool:
    """Return whether a question belongs to the test split: one of four does.

    >>> sum(is_held_out(f"{n} + {n}?") for n in range(1000))
    232
    """
    digest = hashlib.sha256(question.encode("utf-8", "replace")).digest()
    return digest[0] % _HELD_OUT == 0


def readings(reply: str) -> Iterator[str]:
    """Yield the one answer of a reply as it stands, and without what often stands around it.

    >>> list(readings("Four and four. <answer> 8. </answer>"))
    ['8.', '8']
    >>> list(readings("The answer is **8**")), list(readings("8")), list(readings(" "))
    (['**8**', '8'], ['8'], [])
    """
    tagged = _TAGGED.findall(reply)
    announced = _ANNOUNCED.search(reply)
    text = tagged[-1] if tagged else announced[1] if announced else reply
    text = text.strip()
    if text:
        yield text
    bare = text.strip(_WRAPPING).removesuffix(".").strip(_WRAPPING)
    if bare and bare != text:
        yield bare


make_vector = vector_entry_point(ReasoningGym)
