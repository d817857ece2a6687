"""`TwentyQuestions`: find out what the user thinks of by yes/no questions.

Every turn costs 1 but the winning one, so the return is minus the number of questions and wrong
guesses. A question is read by a grammar of listed phrases (`chat_envs.simulators.oracle`); what it
cannot read is answered "I can't answer that." and costs a turn, and so does a list of guesses.

The expert asks the question with the largest expected information and sees the conversation alone.
Over the whole table `cost_bounds` puts it between two proofs: no policy can do better than `lower`.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any, Mapping

import numpy as np

from chat_envs.core import ChatEnv, Turn
from chat_envs.message import Conversation, Message, Role, system, user
from chat_envs.simulators.belief import (
    GUESS,
    greedy_choice,
    greedy_total,
    ideal_total,
    optimal_total,
)
from chat_envs.simulators.oracle import AttributeTable, Oracle, make_oracle
from chat_envs.vector import vector_entry_point

__all__ = ["CostBounds", "TwentyQuestions", "cost_bounds", "make_vector"]

_NUM_LISTED = 12
_HELD_OUT = 4  # one goal in so many is of the test split


@dataclass(frozen=True, kw_only=True)
class _Tier:
    """What a tier changes; `context_length` holds the longest replies in every turn.

    A context that were too short would truncate an episode of long replies, which then costs
    fewer turns than an honest one.
    """

    max_turns: int
    context_length: int
    is_listed: bool = False
    has_categories: bool = True


_TIERS: Mapping[str, _Tier] = {
    "easy": _Tier(max_turns=6, context_length=384, is_listed=True),
    "default": _Tier(max_turns=20, context_length=1024),
    "hard": _Tier(max_turns=20, context_length=1024, has_categories=False),
}


@dataclass(frozen=True, kw_only=True)
class CostBounds:
    """Mean cost (minus the return) over all things of a tier, each equally likely.

    Attributes:
        lower: no policy costs less, whatever yes/no questions it asks.
        optimal: the exact minimum over the grammar's questions, None where the search is too large.
        greedy: what the expert costs, exactly.
    """

    lower: float
    optimal: float | None
    greedy: float


class TwentyQuestions(ChatEnv):
    """Twenty questions over a table of everyday things.

    Tiers: "easy" lists 12 of 16 things in the opening and has 6 turns; "default" has the whole
    table and 20 turns; "hard" is the same, and questions about the thing's kind ("is it an
    animal?") go unanswered.

    Held-out goals: in "easy" combinations of a list and a thing in it, every word of which is seen
    in training; else one thing in four of every category, which training asks about but never
    has as the goal.

    Args:
        tier: "easy", "default" or "hard".
        max_turns: questions and guesses; None for the tier's.
        **kwargs: those of `ChatEnv`.
    """

    metric_names = ("candidates",)

    def __init__(
        self, tier: str = "default", *, max_turns: int | None = None, **kwargs: Any
    ) -> None:
        if tier not in _TIERS:
            raise ValueError(f"tier must be one of {sorted(_TIERS)}, got {tier!r}.")
        settings = _TIERS[tier]
        self.tier = tier
        self.oracle = _oracle(tier)
        self._phrases = _phrases(tier)
        self._masks = [predicate.mask for predicate in self.oracle.predicates]
        self._is_listed = settings.is_listed
        kwargs.setdefault("context_length", settings.context_length)
        limit = settings.max_turns if max_turns is None else max_turns
        super().__init__(max_turns=limit, **kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        # The goal comes first from the generator, so phrasing never changes it.
        if self._is_listed:
            self._candidates, self._goal = _draw_listed(
                rng, len(self.oracle.names), self.split
            )
        else:
            pool = _goals(self.tier)[self.split]
            self._goal = pool[int(rng.random() * len(pool))]
            self._candidates = self.oracle.everything
        draws: list[float] = rng.random(self.max_turns + 1).tolist()
        openings = self._phrases.openings[self.split]
        rules, question = openings[int(draws.pop() * len(openings))]
        self._draws = draws
        return [
            system(rules.format(turns=self.max_turns)),
            user(
                question.format(objects=self._list()) if self._is_listed else question
            ),
        ]

    def _respond(self, reply: str) -> Turn:
        query = self.oracle.read(reply)
        is_won = query is not None and query.guess == self._goal
        if query is None:
            text = self._phrases.unread
        else:
            is_true = bool(query.mask >> self._goal & 1)
            mask = query.mask if is_true else ~query.mask
            self._candidates &= mask
            answers = self._phrases.answers[is_true][self.split]
            text = answers[int(self._draws[self.turn - 1] * len(answers))]
        if self.is_last_turn and not is_won:
            thing = self.oracle.guesses[self._goal].removeprefix("Is it ").rstrip("?")
            text += self._phrases.lost.format(object=thing)
        return Turn(
            messages=[user(text)],
            reward=0.0 if is_won else -1.0,
            ended=is_won,
            success=is_won,
            why="found" if is_won else "",
            metrics={"candidates": float(self._candidates.bit_count())},
        )

    def expert_reply(self) -> str:
        """Return the question that tells most, or a guess where none tells more."""
        belief = self.belief(self.conversation)
        choice = greedy_choice(self._masks, belief)
        if choice == GUESS:
            return self.oracle.guesses[(belief & -belief).bit_length() - 1]
        return self.oracle.predicates[choice].question

    def blind_reply(self) -> str:
        """Return a guess, another one each turn: without answers nothing does better."""
        return self.oracle.guesses[self.turn % len(self.oracle.guesses)]

    def candidate_replies(self) -> list[str]:
        """Return the things."""
        return list(self.oracle.names)

    def belief(self, conversation: Conversation) -> int:
        """Return what is still possible after `conversation`, a bit a thing.

        It knows nothing but what was said. The split is not said: things held out from training
        count as possible in both splits.
        """
        opening, *talk = (m for m in conversation if m.role is not Role.SYSTEM)
        belief = self._listed(opening.content)
        for reply, answer in zip(talk[::2], talk[1::2], strict=True):
            asked = self.oracle.read(reply.content)
            is_true = self._phrases.is_yes.get(answer.content)
            if asked is not None and is_true is not None:
                belief &= asked.mask if is_true else ~asked.mask
        return belief

    def _list(self) -> str:
        names = self.oracle.names
        return " ".join(n for i, n in enumerate(names) if self._candidates >> i & 1)

    def _listed(self, text: str) -> int:
        """Return the things that an opening leaves possible."""
        if not self._is_listed:
            return self.oracle.everything
        words = set(text.rstrip(".").split())
        return sum(1 << i for i, n in enumerate(self.oracle.names) if n in words)


@dataclass(frozen=True, kw_only=True)
class _Phrases:
    """What the user says, by split."""

    openings: Mapping[str, list[list[str]]]
    answers: Mapping[bool, Mapping[str, list[str]]]
    is_yes: Mapping[str, bool]
    unread: str
    lost: str


@functools.cache
def _data(name: str) -> Mapping[str, Any]:
    path = resources.files("chat_envs").joinpath("data", name)
    data: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


@functools.cache
def _phrases(tier: str) -> _Phrases:
    data = _data("twenty_questions.json")
    spoken = data["answers"][tier]
    answers = {True: spoken["yes"], False: spoken["no"]}
    return _Phrases(
        openings=data["openings"][tier],
        answers=answers,
        is_yes={
            text: is_true
            for is_true, by_split in answers.items()
            for texts in by_split.values()
            for text in texts
        },
        unread=data["unread"],
        lost=data["lost"],
    )


@functools.cache
def _oracle(tier: str) -> Oracle:
    facts = _data("objects.json")
    easy = facts["easy"] if _TIERS[tier].is_listed else None
    return make_oracle(
        AttributeTable(facts, None if easy is None else easy["objects"]),
        facts,
        _data("twenty_questions.json"),
        has_categories=_TIERS[tier].has_categories,
        asked=None if easy is None else easy["questions"],
    )


@functools.cache
def _goals(tier: str) -> Mapping[str, tuple[int, ...]]:
    """Return the goals of each split: every fourth thing of a category is held out."""
    names = _oracle(tier).names
    categories = AttributeTable(_data("objects.json")).categories
    held_out = {
        name
        for things in categories.values()
        for name in things[_HELD_OUT - 1 :: _HELD_OUT]
    }
    return {
        "train": tuple(i for i, n in enumerate(names) if n not in held_out),
        "test": tuple(i for i, n in enumerate(names) if n in held_out),
    }


def _draw_listed(
    rng: np.random.Generator, num_things: int, split: str
) -> tuple[int, int]:
    """Return the listed things, as a belief, and the goal among them, both of `split`."""
    while True:
        listed: list[int] = rng.permutation(num_things)[:_NUM_LISTED].tolist()
        goal = listed[0]
        is_held_out = (sum(listed) + goal) % _HELD_OUT == 0
        if is_held_out == (split == "test"):
            return sum(1 << i for i in listed), goal


@functools.cache
def cost_bounds(tier: str = "default") -> CostBounds:
    """Return what finding a thing of `tier` costs at best and by the expert.

    In "easy" all 16 things are possible; an episode lists 12 of them.

    >>> bounds = cost_bounds("easy")
    >>> bounds.lower, bounds.optimal, bounds.greedy
    (3.5, 3.5, 3.5)
    """
    oracle = _oracle(tier)
    num_things, num_turns = len(oracle.names), _TIERS[tier].max_turns
    masks = [predicate.mask for predicate in oracle.predicates]
    optimal = None
    if num_things <= 20:
        total = optimal_total(oracle.questions(), oracle.everything, num_turns)
        optimal = total / num_things
    return CostBounds(
        lower=ideal_total(num_things, num_turns) / num_things,
        optimal=optimal,
        greedy=greedy_total(masks, oracle.everything, num_turns) / num_things,
    )


make_vector = vector_entry_point(TwentyQuestions)
