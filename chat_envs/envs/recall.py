"""`Recall`: the user tells a fact at first and asks for it at the end.

Between the two the user talks of other things. The memory length task of bsuite (Osband et al.
2020, arXiv:1908.03568) in language: what counts is how many turns a fact is kept.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Mapping, Sequence

import numpy as np

from chat_envs.context import as_count
from chat_envs.core import ChatEnv, Turn
from chat_envs.data_file import load_json
from chat_envs.envs._diagnostic import share_solved, told_turns
from chat_envs.message import Message, Role, system, user
from chat_envs.simulators.choice import ChoiceReader
from chat_envs.simulators.combination import draw_combination, draw_parts
from chat_envs.simulators.permutation import draw_permutation
from chat_envs.simulators.stream import Stream, split_streams
from chat_envs.vector import vector_entry_point

__all__ = ["MemoryTier", "Recall", "SWEEP", "make_vector", "score"]

_data = functools.partial(load_json, "recall.json")

SWEEP = tuple({"max_turns": turns} for turns in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32))
"""Keywords of `Recall`, from easy to hard: the turn in which the fact is asked for."""

_WORD = re.compile(r"\w+")
_LURE_RATE = 0.5
# Ids that a message may have on any tokenizer, to size the context so that no reply truncates.
_OPENING_IDS, _FACT_IDS, _REMARK_IDS = 64, 16, 32


@dataclass(frozen=True, kw_only=True)
class MemoryTier:
    """What a tier of `Recall` or `RecallMany` changes.

    Attributes:
        max_turns: the turn in which the question is asked.
        facts: how many things the user tells of at first.
        has_lures: whether the user tells of other things in between.
    """

    max_turns: int
    facts: int = 1
    has_lures: bool = False


class Recall(ChatEnv):
    """Keep a fact for some turns: "The cup is red.", and at the end "What colour is the cup?".

    Tiers: "easy" asks in turn 2, "default" in turn 6, "hard" in turn 12, and half of what is said
    between are lures, other things with colours of their own. Only the last reply counts: the
    reward is 1 for the right colour alone and 0 else, and so is success. Held out are
    combinations of a thing and a colour, and of the phrasings of fact and question; all things,
    colours and phrasings are seen in training.

    After the memory length task of bsuite (Osband et al. 2020, arXiv:1908.03568).

    Args:
        tier: "easy", "default" or "hard".
        max_turns: the turn in which the fact is asked for; with 1, at once. None for the tier's.
        facts: how many facts are told, one of which is asked for; from 1 to 12, None for the
            tier's.
        has_lures: whether lures are told between; None for the tier's.
        **kwargs: those of `ChatEnv`.

    Raises:
        ValueError: if the tier is unknown or there are more facts than things.
    """

    tiers: ClassVar[Mapping[str, MemoryTier]] = {
        "easy": MemoryTier(max_turns=2),
        "default": MemoryTier(max_turns=6),
        "hard": MemoryTier(max_turns=12, has_lures=True),
    }

    def __init__(
        self,
        tier: str = "default",
        *,
        max_turns: int | None = None,
        facts: int | None = None,
        has_lures: bool | None = None,
        **kwargs: Any,
    ) -> None:
        if tier not in self.tiers:
            raise ValueError(f"tier must be one of {sorted(self.tiers)}, got {tier!r}.")
        settings = self.tiers[tier]
        self._data = _data()
        self._things: list[str] = self._data["things"]
        self._colours: list[str] = self._data["colours"]
        self.facts = as_count("facts", settings.facts if facts is None else facts)
        if self.facts > len(self._things):
            raise ValueError(
                f"facts must be from 1 to {len(self._things)}, got {self.facts}."
            )
        self.has_lures = settings.has_lures if has_lures is None else has_lures
        limit = settings.max_turns if max_turns is None else max_turns
        num_replies = as_count("max_turns", limit)
        room = as_count("reply_length", kwargs.get("reply_length", 24)) + _REMARK_IDS
        needed = _OPENING_IDS + self.facts * _FACT_IDS + num_replies * room
        kwargs.setdefault("context_length", max(384, needed))
        super().__init__(max_turns=limit, **kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal, behaviour, phrasing = split_streams(rng, 3)
        sizes = (len(self._things), len(self._colours))
        asked, colour = draw_combination(
            (goal.random(), goal.random()), sizes, self.split
        )
        self._colour = self._colours[colour]
        self._reader = _reader(asked)
        others = [i for i in draw_permutation(goal, len(self._things)) if i != asked]
        place = int(goal.random() * self.facts)
        told = self._seen(goal, others[: self.facts - 1])
        told.insert(place, (asked, colour))
        forms = self._data["facts"], self._data["questions"]
        self._fact_form, question = draw_parts(forms, phrasing, self.split)
        self._question = question.format(thing=self._things[asked])
        lures = self._seen(goal, others[self.facts - 1 :]) if self.has_lures else []
        self._remarks = self._draw_remarks(behaviour, lures)
        rules = self._data["rules"].format(turns=told_turns(self.max_turns))
        said = " ".join(map(self._tell, told))
        if self.max_turns == 1:
            said = f"{said} {self._question}"
        return [system(rules), user(said)]

    def _respond(self, reply: str) -> Turn:
        if not self.is_last_turn:
            is_next = self.turn == self.max_turns - 1
            text = self._question if is_next else self._remarks[self.turn - 1]
            return Turn(messages=[user(text)], reward=0.0)
        colour = self._reader.read(reply)
        is_right = colour == self._colour
        why = "right" if is_right else "wrong" if colour else "unread"
        text = self._data[why].format(colour=self._colour)
        return Turn(
            messages=[user(text)],
            reward=float(is_right),
            ended=True,
            success=is_right,
            why=why,
        )

    def expert_reply(self) -> str:
        """Return the colour that the user gave the thing, or "ok" while nothing is asked."""
        if self.turn < self.max_turns - 1:
            return "ok"
        said = [m.content for m in self.conversation if m.role is Role.USER]
        asked = next(w for w in reversed(_WORD.findall(said[-1])) if w in self._things)
        facts: list[list[str]] = [
            _WORD.findall(f) for text in said for f in text.split(".")
        ]
        fact = next(words for words in facts if asked in words)
        return next(word for word in fact if word in self._colours)

    def blind_reply(self) -> str:
        """Return one colour in the last turn: unheard, all are equally likely."""
        return "ok" if self.turn < self.max_turns - 1 else self._colours[0]

    def candidate_replies(self) -> list[str]:
        """Return the colours."""
        return list(self._colours)

    def _seen(self, rng: Stream, things: list[int]) -> list[tuple[int, int]]:
        """Return a fact about each of `things`: a combination of training, in both splits."""
        sizes = (len(self._things), len(self._colours))
        return [
            (
                thing,
                draw_combination(
                    ((thing + 0.5) / sizes[0], rng.random()), sizes, "train"
                )[1],
            )
            for thing in things
        ]

    def _tell(self, fact: tuple[int, int]) -> str:
        thing, colour = fact
        return self._fact_form.format(
            thing=self._things[thing], colour=self._colours[colour]
        )

    def _draw_remarks(self, rng: Stream, lures: list[tuple[int, int]]) -> list[str]:
        """Return what is said between fact and question."""
        remarks = self._data["remarks"]
        pending = iter(lures)
        said = []
        for _ in range(self.max_turns - 2):
            draw = rng.random()
            lure = next(pending, None) if rng.random() < _LURE_RATE else None
            said.append(
                remarks[int(draw * len(remarks))] if lure is None else self._tell(lure)
            )
        return said


def score(shares: Sequence[float]) -> float:
    """Return the share of `SWEEP` that is solved, in [0, 1].

    Args:
        shares: for each entry of `SWEEP`, the share of successes of a trained agent; one of at
            least 0.75 is solved.

    >>> score([1.0] * 5 + [0.125] * 5)
    0.5
    """
    return share_solved(shares, len(SWEEP))


@functools.cache
def _reader(asked: int) -> ChoiceReader:
    """Return the reader of an answer, which may name the thing that was asked and no other."""
    data = _data()
    frames = [*data["frames"], data["things"][asked]]
    return ChoiceReader(data["colours"], frames, data["aliases"])


make_vector = vector_entry_point(Recall)
