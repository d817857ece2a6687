"""What `TwentyQuestions` and `GuessPlace` share: yes/no questions until one thing is named.

Every turn costs 1 but the winning one, so the return is minus the number of questions and wrong
guesses. A question is read by a grammar of listed phrases (`chat_envs.simulators.oracle`); what it
cannot read costs a turn, and so does a list of guesses.

The expert asks the question with the largest expected information and sees the conversation alone.
`Game.bounds` puts it between two proofs: no policy can do better than `lower`.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Iterable, Iterator, Mapping, Sequence

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
from chat_envs.simulators.combination import is_held_out, join_parts
from chat_envs.simulators.oracle import AttributeTable, Oracle, make_oracle
from chat_envs.simulators.stream import Uniform, split_streams

__all__ = [
    "CostBounds",
    "Game",
    "Phrases",
    "QuestionGame",
    "Tier",
    "find_tier",
    "make_game",
    "make_phrases",
]

_HELD_OUT = 4  # one goal in so many is of the test split
# One combination of phrases in three is held out, never the first of all.
_combined = functools.partial(join_parts, held_out=3, start=1)


@dataclass(frozen=True, kw_only=True)
class Tier:
    """What a tier changes.

    Attributes:
        max_turns: questions and guesses.
        context_length: it holds the longest replies in every turn. A context that were too short
            would truncate an episode of long replies, which then costs fewer turns than an honest
            one.
        num_listed: how many things the opening lists, the goal among them; 0 for no list.
        has_categories: whether questions about the kind of the thing are answered.
    """

    max_turns: int
    context_length: int
    num_listed: int = 0
    has_categories: bool = True


def find_tier(tiers: Mapping[str, Tier], name: str) -> Tier:
    """Return the tier called `name`.

    Raises:
        ValueError: if there is none.
    """
    if name not in tiers:
        raise ValueError(f"tier must be one of {sorted(tiers)}, got {name!r}.")
    return tiers[name]


@dataclass(frozen=True, kw_only=True)
class Phrases:
    """What is said, by split where it varies.

    Attributes:
        rules: split -> what the system says first, `{turns}` for the limit.
        openings: split -> what the user says first, `{things}` for those that are listed.
        answers: whether it is so -> split -> texts.
        unread: to what is not one question.
        lost: what the last answer ends with, `{thing}` for the thing.
    """

    rules: Mapping[str, Sequence[str]]
    openings: Mapping[str, Sequence[str]]
    answers: Mapping[bool, Mapping[str, Sequence[str]]]
    unread: str
    lost: str

    @functools.cached_property
    def is_yes(self) -> Mapping[str, bool]:
        """Whether it is so, by answer, of both splits."""
        return {
            text: is_true
            for is_true, by_split in self.answers.items()
            for texts in by_split.values()
            for text in texts
        }


def make_phrases(language: Mapping[str, Any], tier: str) -> Phrases:
    """Return what is said in `tier`, parts combined.

    Args:
        language: a document like `data/twenty_questions.json`.
        tier: "easy", "default" or "hard".
    """
    opening, spoken = language["openings"][tier], language["answers"][tier]
    return Phrases(
        rules=_combined(opening["system"]),
        openings=_combined(opening["user"]),
        answers={True: _combined(spoken["yes"]), False: _combined(spoken["no"])},
        unread=language["unread"],
        lost=language["lost"],
    )


@dataclass(frozen=True, kw_only=True)
class CostBounds:
    """Mean cost (minus the return) over things, each equally likely.

    Attributes:
        lower: no policy costs less, whatever yes/no questions it asks.
        optimal: the exact minimum over the grammar's questions, None where the search is too large.
        greedy: what the expert costs, exactly.
    """

    lower: float
    optimal: float | None
    greedy: float


@dataclass(frozen=True, kw_only=True)
class Game:
    """A tier with its things.

    Attributes:
        tier: its settings.
        oracle: reads questions and knows the answers.
        goals: split -> things; where things are listed, the list decides instead.
        phrases: what the user says.
        largest_search: the most things of which the exact optimum is searched, which takes time
            exponential in their number.
    """

    tier: Tier
    oracle: Oracle
    goals: Mapping[str, Sequence[int]]
    phrases: Phrases
    largest_search: int

    @functools.cached_property
    def questions(self) -> Mapping[int, str]:
        """The expert's questions by mask, without those that it would never ask.

        A question that tells one thing from the rest is no better than a guess, and the second of
        two that ask the same (or the opposite) is never preferred.
        """
        everything = self.oracle.everything
        questions: dict[int, str] = {}
        for predicate in self.oracle.predicates:
            count, rest = predicate.mask.bit_count(), everything & ~predicate.mask
            if 1 < count < len(self.oracle.names) - 1 and rest not in questions:
                questions.setdefault(predicate.mask, predicate.question)
        return questions

    def bounds(self, candidates: int | None = None) -> CostBounds:
        """Return what finding a thing costs at best and by the expert.

        Args:
            candidates: what is possible at the start, a bit a thing; None for everything.
        """
        belief = self.oracle.everything if candidates is None else candidates
        num_things, num_turns = belief.bit_count(), self.tier.max_turns
        optimal = None
        if num_things <= self.largest_search:
            total = optimal_total(self.oracle.questions(), belief, num_turns)
            optimal = total / num_things
        masks = list(self.questions)
        return CostBounds(
            lower=ideal_total(num_things, num_turns) / num_things,
            optimal=optimal,
            greedy=greedy_total(masks, belief, num_turns) / num_things,
        )


def make_game(
    tier: Tier,
    facts: Mapping[str, Any],
    language: Mapping[str, Any],
    *,
    listed: Sequence[str],
    asked: Mapping[str, str],
    phrases: Phrases,
    largest_search: int,
) -> Game:
    """Return the game over the things of `facts`.

    Args:
        tier: its settings.
        facts: a document like `data/objects.json`.
        language: a document like `data/twenty_questions.json`.
        listed: the things of a tier with a list.
        asked: tag -> how its expert asks it.
        phrases: what the user says.
        largest_search: the most things of which the exact optimum is searched.
    """
    is_listed = tier.num_listed > 0
    table = AttributeTable(facts, listed if is_listed else None)
    oracle = make_oracle(
        table,
        facts,
        language,
        has_categories=tier.has_categories,
        asked=asked if is_listed else None,
    )
    return Game(
        tier=tier,
        oracle=oracle,
        goals=_split_goals(oracle.names, table.categories.values()),
        phrases=phrases,
        largest_search=largest_search,
    )


def _split_goals(
    names: Sequence[str], categories: Iterable[Sequence[str]]
) -> Mapping[str, tuple[int, ...]]:
    """Return the goals of each split: every fourth thing of a category is held out."""
    held_out = {
        name for things in categories for name in things[_HELD_OUT - 1 :: _HELD_OUT]
    }
    return {
        "train": tuple(i for i, n in enumerate(names) if n not in held_out),
        "test": tuple(i for i, n in enumerate(names) if n in held_out),
    }


def _shuffled(draws: Uniform, size: int, count: int) -> Iterator[list[int]]:
    """Yield, without end, `count` of the numbers below `size` in a random order."""
    while True:
        order = list(range(size))
        for k in range(count):  # the first steps of a Fisher-Yates shuffle
            other = k + int(draws.random() * (size - k))
            order[k], order[other] = order[other], order[k]
        yield order[:count]


class QuestionGame(ChatEnv):
    """A turn is a question or a guess: -1, and 0 for the guess that is the goal, alone.

    A subclass writes `_load`.

    Args:
        tier: "easy", "default" or "hard".
        max_turns: questions and guesses; None for the tier's.
        **kwargs: those of `ChatEnv`.

    Raises:
        ValueError: if there is no such tier.
    """

    metric_names = ("candidates",)

    def __init__(
        self, tier: str = "default", *, max_turns: int | None = None, **kwargs: Any
    ) -> None:
        self._game = game = self._load(tier)
        self.tier = tier
        self.oracle = game.oracle
        self._masks, self._asked = list(game.questions), list(game.questions.values())
        kwargs.setdefault("context_length", game.tier.context_length)
        limit = game.tier.max_turns if max_turns is None else max_turns
        super().__init__(max_turns=limit, **kwargs)

    @staticmethod
    @abstractmethod
    def _load(tier: str) -> Game:
        """Return the game of `tier`, the same object each time."""

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal_draws, self._phrase_draws = split_streams(rng, 2)
        self._draw_goal(goal_draws)
        phrases, split = self._game.phrases, self.split
        rules, opening = self._say(phrases.rules[split]), phrases.openings[split]
        return [
            system(rules.format(turns=self.max_turns)),
            user(self._say(opening).format(things=self._list())),
        ]

    def _say(self, texts: Sequence[str]) -> str:
        return texts[int(self._phrase_draws.random() * len(texts))]

    def _draw_goal(self, draws: Uniform) -> None:
        """Draw the goal, and what is possible with it."""
        num_listed = self._game.tier.num_listed
        if not num_listed:
            pool = self._game.goals[self.split]
            self._goal = pool[int(draws.random() * len(pool))]
            self._candidates = self.oracle.everything
            return
        # The goal is the first of a list; the split takes the first list that is its own.
        is_test = self.split == "test"
        lists = _shuffled(draws, len(self.oracle.names), num_listed)
        listed = next(s for s in lists if is_held_out([*s, s[0]], _HELD_OUT) == is_test)
        self._goal = listed[0]
        self._candidates = sum(1 << thing for thing in listed)

    def _list(self) -> str:
        """Return what is possible, in the table's order; only listed things are named."""
        if not self._game.tier.num_listed:
            return ""
        names = self.oracle.names
        return " ".join(n for i, n in enumerate(names) if self._candidates >> i & 1)

    def _respond(self, reply: str) -> Turn:
        phrases = self._game.phrases
        query = self.oracle.read(reply)
        is_won = query is not None and query.guess == self._goal
        if query is None:
            text = phrases.unread
        else:
            is_true = bool(query.mask >> self._goal & 1)
            self._candidates &= query.mask if is_true else ~query.mask
            text = self._say(phrases.answers[is_true][self.split])
        if self.is_last_turn and not is_won:
            thing = self.oracle.guesses[self._goal].removeprefix("Is it ").rstrip("?")
            text += phrases.lost.format(thing=thing)
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
        return self._asked[choice]

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
            is_true = self._game.phrases.is_yes.get(answer.content)
            if asked is not None and is_true is not None:
                belief &= asked.mask if is_true else ~asked.mask
        return belief

    def _listed(self, text: str) -> int:
        """Return the things that an opening leaves possible."""
        if not self._game.tier.num_listed:
            return self.oracle.everything
        words = set(text.rstrip(".!").split())
        return sum(1 << i for i, n in enumerate(self.oracle.names) if n in words)
