"""Which of two replies is better: a Bradley-Terry model over hashed n-grams.

The model gives a reply y to a prompt x the logit r(x, y) = sum of the weights of its features, and
P(y is better than z) = sigmoid(r(x, y) - r(x, z)) (Bradley and Terry 1952; Christiano et al. 2017,
arXiv:1706.03741, eq. 1). Features are present or absent: words and pairs of neighbours of the
reply, pairs of a word of the prompt and a word of the reply, the reply's length, how much of it is
repeated and how much is copied from the prompt. Each is hashed into one of 2^14 weights
(Weinberger et al. 2009, arXiv:0902.2206).

Weights are stored as whole numbers, so a logit is the same on every machine. `NGramReward` is such
a model as a reward, for any environment.
"""

from __future__ import annotations

import base64
import functools
import itertools
import json
import math
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chat_envs.data_file import load_json
from chat_envs.message import Message, Role
from chat_envs.preference_pair import PreferencePair, divide_pairs
from chat_envs.reward import RewardRequest

__all__ = [
    "CONTEXTS",
    "NGramReward",
    "Pair",
    "PreferenceModel",
    "accuracy",
    "features",
    "load_model",
    "prompt_text",
    "train",
    "train_reward",
]

_BITS = 14
_MASK = 0xFFFFFFFF
_MAX_WORDS = 64
_MAX_PROMPT_WORDS = 24
_WORD = re.compile(r"\w+")
_WORD_KIND, _NEIGHBOURS, _CROSSED, _SHAPE = range(1, 5)
_STEP = 1.0 / 16  # a weight is a whole number of steps, from -127 to 127
_MAX_STEPS = 127
_MAX_LOGIT = 30.0

_FORMAT = 1

CONTEXTS = ("last_user", "all")
"""What a reward's model may read of a prompt: see `prompt_text`."""

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replies to one prompt, of which `chosen` is better."""

    prompt: str
    chosen: str
    rejected: str


class PreferenceModel:
    """A Bradley-Terry model.

    Args:
        steps: (2^14,) whole numbers, the weights in units of 1/16.
        threshold: the logit of a reply that is as good as not; see `as_probability`.
    """

    def __init__(self, steps: npt.ArrayLike, threshold: float) -> None:
        self.steps = np.asarray(steps, dtype=np.int64)
        if self.steps.shape != (1 << _BITS,):
            raise ValueError(
                f"Expected {1 << _BITS} weights, got the shape {self.steps.shape}."
            )
        if not math.isfinite(threshold):
            raise ValueError(f"The threshold must be finite, got {threshold}.")
        self.threshold = threshold
        self._list: list[int] = self.steps.tolist()

    def logit(self, prompt: str, reply: str) -> float:
        """Return r(prompt, reply); only differences between replies to a prompt mean anything."""
        weights = self._list
        return sum([weights[i] for i in features(prompt, reply)]) * _STEP

    def as_probability(self, logit: float) -> float:
        """Return how likely a reply with `logit` is better than one at the threshold, in (0, 1)."""
        margin = logit - self.threshold
        return 1.0 / (1.0 + math.exp(-min(max(margin, -_MAX_LOGIT), _MAX_LOGIT)))

    def as_json(self) -> dict[str, Any]:
        """Return the model as JSON-able values: weights in base 64, one byte each."""
        weights = base64.b64encode(self.steps.astype(np.int8).tobytes())
        return {"threshold": self.threshold, "weights": weights.decode("ascii")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PreferenceModel:
        """Return the model that `as_json` wrote."""
        weights = np.frombuffer(base64.b64decode(data["weights"]), dtype=np.int8)
        return cls(weights, float(data["threshold"]))


class NGramReward:
    """A preference model as a reward: NumPy alone, the same number on every machine.

    `reward={"chat_envs.simulators.preference_model:NGramReward": {"kwargs": {"path": "rm.json"}}}`
    plugs in what `chat-envs reward-model --kind ngram` wrote. A reply's score is its logit, of mean
    0 and standard deviation 1 over the replies that the model was trained on.

    Args:
        path: of its JSON file; None for the model of `Preference`, whose score is the logit above
            its threshold.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged; the message names it.

    >>> NGramReward().name
    'ngram_reward_model'
    """

    name = "ngram_reward_model"

    def __init__(self, path: str | Path | None = None) -> None:
        if path is None:
            model = load_model()
            self._become(model, CONTEXTS[0], model.threshold, 1.0)
            return
        record = _read_record(Path(path))
        try:
            self._become(
                PreferenceModel.from_json(record),
                record["context"],
                record["mean"],
                record["std"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is damaged, or no file of this model: {error!r}."
            ) from error

    @classmethod
    def of(
        cls, model: PreferenceModel, context: str, mean: float, std: float
    ) -> NGramReward:
        """Return the reward of a model.

        Args:
            model: gives the logits.
            context: what it reads of a prompt, one of `CONTEXTS`.
            mean: of the logits of reference replies.
            std: their standard deviation, above 0.
        """
        reward = cls.__new__(cls)
        reward._become(model, context, mean, std)
        return reward

    def _become(
        self, model: PreferenceModel, context: str, mean: float, std: float
    ) -> None:
        if context not in CONTEXTS:
            raise ValueError(f"context must be one of {CONTEXTS}, got {context!r}")
        if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
            raise ValueError(
                f"mean and std must be finite and std above 0, got {mean} and {std}"
            )
        self.model = model
        self.context = context
        self.mean, self.std = float(mean), float(std)

    def logit(self, prompt: Sequence[Message], reply: str) -> float:
        """Return the model's logit, as it was trained: not normalised."""
        return self.model.logit(prompt_text(prompt, self.context), reply)

    def score(self, batch: Sequence[RewardRequest]) -> list[float]:
        """Return one normalised score a request."""
        return [(self.logit(r.prompt, r.reply) - self.mean) / self.std for r in batch]

    def save(self, path: str | Path, notes: Mapping[str, Any] | None = None) -> None:
        """Write a JSON file, at once or not at all.

        Args:
            path: of the file.
            notes: what else it shall say, of the training say.
        """
        own = {
            "format": _FORMAT,
            "kind": self.name,
            "context": self.context,
            "mean": self.mean,
            "std": self.std,
            **self.model.as_json(),
        }
        text = json.dumps({**(notes or {}), **own}, indent=1, allow_nan=False)
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.writing")
        aside.write_text(text + "\n", encoding="utf-8")
        os.replace(aside, target)


def prompt_text(prompt: Sequence[Message], context: str) -> str:
    """Return what a model reads of a prompt.

    Args:
        prompt: the messages before the reply.
        context: "last_user" for what the user said last, "all" for all that was said.
    """
    if context == "all":
        return "\n".join([message.content for message in prompt])
    said = (m.content for m in reversed(prompt) if m.role is Role.USER)
    return next(said, "")


def features(prompt: str, reply: str) -> set[int]:
    """Return the indices of the features that are present, each below 2^14.

    >>> same = features("Hi", "It is RED!")
    >>> same == features("hi", "it is red"), same == features("hi", "red is it")
    (True, False)
    """
    said = [m.group() for m in itertools.islice(_WORD.finditer(reply), _MAX_WORDS)]
    codes = [_code(word) for word in said]
    asked = _prompt_codes(prompt)
    distinct = set(codes)
    num_words, num_distinct = len(codes), len(distinct)
    num_copied = len(distinct.intersection(asked))
    found = {
        _index(_SHAPE, 1, min(num_words, 16)),
        _index(_SHAPE, 2, min(num_words - num_distinct, 8)),
        _index(_SHAPE, 3, 4 * num_copied // max(num_distinct, 1)),
    }
    found.update([_index(_WORD_KIND, code, 0) for code in distinct])
    found.update(map(_index, itertools.repeat(_NEIGHBOURS), [0, *codes], [*codes, 0]))
    found.update([_index(_CROSSED, a, b) for a in asked for b in distinct])
    return found


def train(
    pairs: Sequence[Pair],
    *,
    seed: int,
    num_epochs: int = 6,
    learning_rate: float = 0.5,
) -> PreferenceModel:
    """Return the model that makes the better replies of `pairs` likely.

    Stochastic gradient descent on -log P(chosen is better), one pair at a time; the step falls
    linearly to 0. The threshold is the logit that nine of ten better replies reach.

    Args:
        pairs: what to learn from.
        seed: of the order in which pairs are seen.
        num_epochs: how often each pair is seen.
        learning_rate: of the first step.

    Raises:
        ValueError: if there is no pair.
    """
    if not pairs:
        raise ValueError("A preference model needs at least one pair.")
    rng = np.random.default_rng(seed)
    rows = [_difference(pair) for pair in pairs]
    weights = np.zeros(1 << _BITS)
    num_steps = num_epochs * len(rows)
    order = np.concatenate([rng.permutation(len(rows)) for _ in range(num_epochs)])
    for step, row in enumerate(order.tolist()):
        better, worse = rows[row]
        margin = weights[better].sum() - weights[worse].sum()
        rate = learning_rate * (1.0 - step / num_steps)
        gradient = rate / (1.0 + math.exp(min(margin, _MAX_LOGIT)))
        weights[better] += gradient
        weights[worse] -= gradient
    steps = np.clip(np.rint(weights / _STEP), -_MAX_STEPS, _MAX_STEPS)
    model = PreferenceModel(steps.astype(np.int64), 0.0)
    better = [model.logit(p.prompt, p.chosen) for p in pairs]
    threshold = float(np.percentile(better, 10.0, method="lower"))
    return PreferenceModel(model.steps, threshold)


def train_reward(pairs: Sequence[PreferencePair], *, seed: int = 0) -> NGramReward:
    """Return the reward that prefers the better replies of `pairs`.

    Of a prompt it reads what tells more: of the two `CONTEXTS` the one that is right more often
    about a held-out tenth; then it learns from all pairs. Mean and standard deviation are those of
    all replies of `pairs`.

    Args:
        pairs: what to learn from.
        seed: of the order in which pairs are seen.

    Raises:
        ValueError: if there is no pair.
    """
    if not pairs:
        raise ValueError("A preference model needs at least one pair.")
    most, held_out = divide_pairs(pairs)
    shares = {
        context: accuracy(
            train(_as_texts(most, context), seed=seed), _as_texts(held_out, context)
        )
        for context in CONTEXTS
    }
    context = max(CONTEXTS, key=shares.__getitem__)
    texts = _as_texts(pairs, context)
    model = train(texts, seed=seed)
    logits = [
        model.logit(t.prompt, reply) for t in texts for reply in (t.chosen, t.rejected)
    ]
    std = float(np.std(logits))
    return NGramReward.of(model, context, float(np.mean(logits)), std or 1.0)


def _as_texts(pairs: Sequence[PreferencePair], context: str) -> list[Pair]:
    return [Pair(prompt_text(p.prompt, context), p.chosen, p.rejected) for p in pairs]


def accuracy(model: PreferenceModel, pairs: Sequence[Pair]) -> float:
    """Return the share of `pairs` of which the model prefers the better reply."""
    num_right = sum(
        model.logit(p.prompt, p.chosen) > model.logit(p.prompt, p.rejected)
        for p in pairs
    )
    return num_right / len(pairs)


@functools.cache
def load_model() -> PreferenceModel:
    """Return the model that ships with the suite; `chat-envs preference` trains it."""
    return PreferenceModel.from_json(load_json("preference_model.json"))


def _read_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError too
        raise ValueError(f"{path} is not JSON ({error}).") from error
    kind = record.get("kind") if isinstance(record, dict) else None
    if kind != NGramReward.name or record.get("format") != _FORMAT:
        raise ValueError(
            f"{path} is no file of an {NGramReward.name} of format {_FORMAT}; "
            "`chat-envs reward-model --kind ngram` writes one."
        )
    return dict(record)


def _difference(pair: Pair) -> tuple[Integers, Integers]:
    """Return the features that only the better and only the worse reply has."""
    better = features(pair.prompt, pair.chosen)
    worse = features(pair.prompt, pair.rejected)
    one, other = sorted(better - worse), sorted(worse - better)
    return np.array(one, dtype=np.int64), np.array(other, dtype=np.int64)


@functools.lru_cache(
    32768
)  # words come again, and a hit takes a fifth of the arithmetic
def _index(kind: int, a: int, b: int) -> int:
    mixed = a * 0x9E3779B1 + b * 0x85EBCA77 + kind * 0xC2B2AE3D
    mixed = (mixed ^ (mixed >> 15)) * 0x2C1B3C6D
    return (mixed & _MASK) >> (32 - _BITS)


@functools.lru_cache(65536)
def _code(word: str) -> int:
    """Return a number for a word in any case, the same in every process."""
    return zlib.crc32(word.lower().encode("utf-8", "replace"))


@functools.lru_cache(4096)
def _prompt_codes(prompt: str) -> tuple[int, ...]:
    words = [m.group().lower() for m in itertools.islice(_WORD.finditer(prompt), 1024)]
    rare = [word for word in words if word not in _common_words()]
    return tuple(dict.fromkeys(map(_code, rare[-_MAX_PROMPT_WORDS:])))


@functools.cache
def _common_words() -> frozenset[str]:
    """Return the words of a prompt that say nothing of what it is about."""
    return frozenset(load_json("preference.json")["common"])
