"""Goals of `VoiceAssistant` and the words for them: what a user wants, and how it is said."""

from __future__ import annotations

import collections
import itertools
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Mapping, Sequence, TypeVar

from chat_envs.envs._voice_assistant_reader import Command, Intent, Reader
from chat_envs.simulators.stream import Uniform

__all__ = ["Goals", "Script", "TIERS", "Tier", "hearable"]

_HELD_OUT_EVERY = 4
_NUM_EASY_VALUES = 4
_Choice = TypeVar("_Choice")


@dataclass(frozen=True, kw_only=True)
class Tier:
    """How hard a tier is.

    Attributes:
        language: key of the words in the data file.
        num_requests: what a user wants, one after the other.
        max_turns: replies that the agent has.
        context_length: holds the longest replies in every turn.
        word_error_rate: see `SpeechChannel`.
        scale: the confidence is shown in whole parts of so many.
        ask_below: the confidence below which the expert asks.
        bystander_rate: share of asides that are commands to somebody else.
    """

    language: str
    num_requests: int
    max_turns: int
    context_length: int
    word_error_rate: float
    scale: int
    ask_below: int
    bystander_rate: float = 0.0

    @property
    def is_easy(self) -> bool:
        """Whether intents and values are few."""
        return self.language == "easy"


TIERS: Mapping[str, Tier] = {
    "easy": Tier(
        language="easy",
        num_requests=1,
        max_turns=5,
        context_length=384,
        word_error_rate=0.15,
        scale=10,
        ask_below=9,
    ),
    "default": Tier(
        language="default",
        num_requests=2,
        max_turns=12,
        context_length=1024,
        word_error_rate=0.15,
        scale=100,
        ask_below=80,
    ),
    "hard": Tier(
        language="default",
        num_requests=3,
        max_turns=18,
        context_length=1152,
        word_error_rate=0.25,
        scale=100,
        ask_below=80,
        bystander_rate=0.5,
    ),
}


class Goals:
    """The commands of a tier, those held out apart.

    A command is held out by its intent and value together; both occur in training, in other
    commands. A goal of the test split begins with such a command; a goal of the train split has
    none.

    Args:
        intents: all of them.
        tier: whose.
        split: "train" or "test".
    """

    def __init__(self, intents: Sequence[Intent], tier: Tier, split: str) -> None:
        held_out: list[Command] = []
        seen: list[Command] = []
        users = collections.Counter(v for i in intents for v in _values(i, tier))
        for number, intent in enumerate(intents):
            if tier.is_easy and not intent.is_easy:
                continue
            for position, value in enumerate(_values(intent, tier) or ("",)):
                is_held_out = (
                    users[value] > 1 and (number + position) % _HELD_OUT_EVERY == 0
                )
                command = Command(intent.device, intent.verb, value)
                (held_out if is_held_out else seen).append(command)
        self.first = tuple(seen if split == "train" else held_out)
        self.rest = tuple(seen if split == "train" else [*seen, *held_out])
        self._num_requests = tier.num_requests

    def draw(self, key: Callable[[Command], str], rng: Uniform) -> list[Command]:
        """Return what a user wants: commands that set different parts of the state.

        Args:
            key: what of the state a command sets.
            rng: the goal's own stream.
        """
        requests: list[Command] = []
        pool = self.first
        keys: set[str] = set()
        while len(requests) < self._num_requests:
            command = pool[int(rng.random() * len(pool))]
            if key(command) not in keys:
                keys.add(key(command))
                requests.append(command)
                pool = self.rest
        return requests


def _values(intent: Intent, tier: Tier) -> tuple[str, ...]:
    if tier.is_easy:
        return intent.values[:_NUM_EASY_VALUES] if intent.is_easy else ()
    return intent.values


class Script:
    """What is said in a tier and a split, without noise.

    Requests and asides are put together from parts; which parts go together differs between the
    splits, and every part occurs in both.

    Args:
        document: what `data/voice_assistant.json` holds.
        reader: reads the intents of it.
        tier: whose language.
        split: "train" or "test".
    """

    def __init__(
        self, document: Mapping[str, Any], reader: Reader, tier: Tier, split: str
    ) -> None:
        language = tier.language
        self.lines: Mapping[str, Sequence[str]] = {
            kind: by_split[split] for kind, by_split in document["lines"].items()
        }
        self._bystander_rate = tier.bystander_rate
        self.names: Sequence[str] = document["names"]
        self._requests = {
            (intent.device, intent.verb): _of_split(
                (
                    document["greetings"][language],
                    intent.cores[:1] if tier.is_easy else intent.cores,
                    document["endings"][language],
                ),
                split,
            )
            for intent in reader.intents
            if intent.is_easy or not tier.is_easy
        }
        remarks = document["remarks"][language]
        self._asides = _of_split((self.names, remarks), split)
        self._asides += _of_split((remarks, self.names), split)
        self._others = [c for i in reader.intents for c in i.commands]

    def request(self, command: Command, rng: Uniform) -> str:
        """Return how a user asks for `command`."""
        template = _pick(self._requests[command.device, command.verb], rng)
        return template.format(value=command.value)

    def line(self, kind: str, rng: Uniform) -> str:
        """Return one of the user's short lines."""
        return _pick(self.lines[kind], rng)

    def aside(self, rng: Uniform) -> str:
        """Return what is said to somebody else; his name is in it."""
        if rng.random() < self._bystander_rate:
            name = _pick(self.names, rng)
            return f"{name} {self.request(_pick(self._others, rng), rng)}"
        return _pick(self._asides, rng)

    def words(self) -> set[str]:
        """Return every word that may be said but values."""
        texts = itertools.chain(
            *self._requests.values(), self._asides, *self.lines.values()
        )
        return {word for text in texts for word in text.split()}


def hearable(
    similar: Mapping[str, Sequence[str]], words: Iterable[str]
) -> dict[str, list[str]]:
    """Return `similar` without words other than `words`, to keep a vocabulary small.

    >>> hearable({"on": ["off", "own"], "hall": ["wall"]}, ["on", "off", "hall"])
    {'on': ['off']}
    """
    known = set(words)
    kept = {
        word: [other for other in others if other in known]
        for word, others in similar.items()
        if word in known
    }
    return {word: others for word, others in kept.items() if others}


def _of_split(parts: Sequence[Sequence[str]], split: str) -> list[str]:
    """Return the combinations of one text of every part that belong to `split`.

    The sum of the positions of the texts decides; one in four is held out.
    """
    texts = []
    for positions in itertools.product(*(range(len(part)) for part in parts)):
        is_held_out = sum(positions) % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1
        if is_held_out == (split == "test"):
            chosen = [part[p] for part, p in zip(parts, positions, strict=True)]
            texts.append(" ".join(text for text in chosen if text))
    return texts


def _pick(choices: Sequence[_Choice], rng: Uniform) -> _Choice:
    return choices[int(rng.random() * len(choices))]
