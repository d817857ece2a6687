"""`Paraphrase`: one meaning in many templates; some templates are withheld from training.

The user wants a thing on or off and says so in one of 96 templates (a greeting, a core and an
ending); the agent names the thing and the state, as in "fan on". Goals are the same in both
splits, so that nothing but unseen templates separates test from train. Every part of a withheld
template is seen in training, the words of each core with both states too.

Reward and success are 1 for the right thing and state, else 0. A reply is read if it has one thing,
one state and otherwise only words such as "the" and "ok": whoever says the user's words back gives
no answer.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np

from chat_envs.core import ChatEnv, Turn
from chat_envs.data_file import load_json
from chat_envs.message import Message, system, user
from chat_envs.simulators.stream import split_streams
from chat_envs.vector import vector_entry_point

__all__ = [
    "Goal",
    "Paraphrase",
    "SWEEP",
    "make_vector",
    "read_goal",
    "score",
    "split_templates",
]

_data = functools.partial(load_json, "paraphrase.json")

SWEEP = tuple({"withheld": s} for s in (0.125, 0.25, 0.5, 0.625, 0.75, 0.875))
"""Keywords of `Paraphrase`, from easy to hard: the share of templates withheld from training."""

_NUM_PARTS = (4, 6, 4)  # greetings, cores, endings
_NUM_ALWAYS_SEEN = (
    12  # the least common multiple of 4 and 6: they have each part equally often
)
_STRIDE = 37  # has no factor in common with the number of templates
_LEARNT = 0.5
_MAX_CHARACTERS = 300
_WORD = re.compile(r"\w+")
_STATES = ("on", "off")
_FILLERS = frozenset({"the", "is", "now", "ok", "okay", "yes", "done", "a", "it"})

# tier -> word list, share withheld
_TIERS: Mapping[str, tuple[str, float]] = {
    "easy": ("easy", 0.25),
    "default": ("default", 0.5),
    "hard": ("default", 0.875),
}

Template = tuple[int, int, int]


class Goal(NamedTuple):
    """What the user wants: a thing, "on" or "off"."""

    thing: str
    state: str


class Paraphrase(ChatEnv):
    """Name the thing and the state that the user wants, in one turn.

    Tiers: "easy" has eight things and withholds a quarter of the templates, "default" twelve things
    and half of them, "hard" all but the twelve templates in which every part occurs.

    Args:
        tier: "easy", "default" or "hard".
        withheld: share of templates that only the test split has, above 0 and at most 0.875; None
            for the tier's. A template withheld for some share is withheld for every larger one.
        **kwargs: those of `ChatEnv`.

    Raises:
        ValueError: if the tier is unknown or the share is out of range.
    """

    def __init__(
        self, tier: str = "default", *, withheld: float | None = None, **kwargs: Any
    ) -> None:
        if tier not in _TIERS:
            raise ValueError(f"tier must be one of {sorted(_TIERS)}, got {tier!r}.")
        word_list, tier_withheld = _TIERS[tier]
        self.withheld = tier_withheld if withheld is None else withheld
        self._data = _data()
        self._things: list[str] = self._data["things"][word_list]
        self._by_split = split_templates(self.withheld)
        kwargs.setdefault("max_turns", 1)
        super().__init__(**kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal, phrasing = split_streams(rng, 2)
        things = self._things
        self._goal = Goal(
            things[int(goal.random() * len(things))],
            _STATES[int(goal.random() * len(_STATES))],
        )
        templates = self._by_split[self.split]
        template = templates[int(phrasing.random() * len(templates))]
        rules = self._data["rules"]
        rule = rules[int(phrasing.random() * len(rules))]
        return [
            system(rule.format(turns=self.max_turns)),
            user(_phrase(self._data, template, self._goal)),
        ]

    def _respond(self, reply: str) -> Turn:
        goal = read_goal(reply, self._things)
        is_right = goal == self._goal
        if goal is None:
            text = self._data["unread"]
        else:
            text = self._data["right" if is_right else "wrong"]
        return Turn(
            messages=[user(text)],
            reward=float(is_right),
            ended=is_right,
            success=is_right,
            why="understood" if is_right else "",
        )

    def expert_reply(self) -> str:
        """Return the thing and the state."""
        return f"{self._goal.thing} {self._goal.state}"

    def blind_reply(self) -> str:
        """Return one thing and state: all are equally likely."""
        return f"{self._things[0]} on"

    def candidate_replies(self) -> list[str]:
        """Return every thing in both states."""
        return [f"{t} {s}" for t in self._things for s in _STATES]


def read_goal(text: str, things: Sequence[str]) -> Goal | None:
    """Return the one thing and state that `text` names, or None.

    >>> read_goal("Ok, the FAN is on.", ["fan"])
    Goal(thing='fan', state='on')
    >>> read_goal("turn the fan on", ["fan"]), read_goal("fan on off", ["fan"])
    (None, None)
    """
    if len(text) > _MAX_CHARACTERS:
        return None
    words = [w for w in _WORD.findall(text.lower()) if w not in _FILLERS]
    if len(words) != 2:
        return None
    first, second = words
    if second in things:
        first, second = second, first
    return Goal(first, second) if first in things and second in _STATES else None


@functools.cache
def split_templates(withheld: float) -> Mapping[str, tuple[Template, ...]]:
    """Return the templates of each split: indices of a greeting, a core and an ending.

    >>> {split: len(templates) for split, templates in split_templates(0.25).items()}
    {'train': 72, 'test': 24}
    """
    greetings, cores, endings = _NUM_PARTS
    everything: list[Template] = list(
        itertools.product(range(greetings), range(cores), range(endings))
    )
    number = len(everything)
    num_withheld = round(withheld * number) if math.isfinite(withheld) else 0
    if not 1 <= num_withheld <= number - _NUM_ALWAYS_SEEN:
        raise ValueError(
            f"withheld must be above 0 and at most {1 - _NUM_ALWAYS_SEEN / number}, got {withheld}."
        )
    # Far apart in order: what any share leaves has each part about equally often.
    shuffled = [everything[n * _STRIDE % number] for n in range(number)]
    test = frozenset(shuffled[:num_withheld])
    return {
        "train": tuple(t for t in everything if t not in test),
        "test": tuple(t for t in everything if t in test),
    }


def score(train: Sequence[float], test: Sequence[float]) -> float:
    """Return the diagnostic's score in [0, 1]: test / train, clipped, its mean over the sweep.

    Where training success is below one half nothing was learnt that could generalise (chance is
    chance on both splits); such a setting counts 0.

    Args:
        train: the share of training episodes with success, for each entry of `SWEEP`.
        test: the same of test episodes.

    >>> score([1.0, 1.0, 1.0, 0.8, 0.8, 0.1], [1.0, 1.0, 0.5, 0.4, 0.0, 0.1])
    0.5
    """
    for shares in (train, test):
        if len(shares) != len(SWEEP) or not all(0 <= s <= 1 for s in shares):
            raise ValueError(f"Expected {len(SWEEP)} shares in [0, 1], got {shares}.")
    ratios = [min(1.0, b / a) if a >= _LEARNT else 0.0 for a, b in zip(train, test)]
    return sum(ratios) / len(SWEEP)


def _phrase(data: Mapping[str, Any], template: Template, goal: Goal) -> str:
    greeting, core, ending = template
    said = data["cores"][core][goal.state].format(thing=goal.thing)
    text: str = data["greetings"][greeting] + said + data["endings"][ending]
    return text


make_vector = vector_entry_point(Paraphrase)
