"""`GuessPlace`: find out which country the user thinks of by yes/no questions.

`TwentyQuestions` over the member states of the United Nations: region, borders, languages, people,
currency, capital, coast. Every turn costs 1 but the winning one, so the return is minus the number
of questions and wrong guesses. A question is read by a grammar of listed phrases
(`chat_envs.simulators.oracle`); what it cannot read is answered "I can't answer that." and costs a
turn, and so does a list of guesses.

The expert asks the question with the largest expected information and sees the conversation alone.
`cost_bounds` puts it between two proofs: no policy can do better than `lower`.
"""

from __future__ import annotations

import functools
import itertools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any, Mapping, Sequence

import numpy as np

from chat_envs.core import SPLITS, ChatEnv, Turn
from chat_envs.envs._guess_place_facts import make_facts, read_countries
from chat_envs.message import Conversation, Message, Role, system, user
from chat_envs.simulators.belief import (
    GUESS,
    greedy_choice,
    greedy_total,
    ideal_total,
    optimal_total,
)
from chat_envs.simulators.oracle import AttributeTable, Oracle, make_oracle
from chat_envs.simulators.stream import Uniform, split_streams
from chat_envs.vector import vector_entry_point

__all__ = ["CostBounds", "GuessPlace", "cost_bounds", "make_vector"]

_NUM_LISTED = 6
_HELD_OUT = 4  # one goal in so many is of the test split
_PHRASES_HELD_OUT = 3  # and one combination of phrases in so many
_LARGEST_SEARCH = 12  # the optimum is exponential in the number of countries


@dataclass(frozen=True, kw_only=True)
class _Tier:
    """What a tier changes; `context_length` holds the longest replies in every turn.

    A context that were too short would truncate an episode of long replies, which then costs
    fewer turns than an honest one.
    """

    max_turns: int
    context_length: int
    is_listed: bool = False
    has_regions: bool = True


_TIERS: Mapping[str, _Tier] = {
    "easy": _Tier(max_turns=5, context_length=384, is_listed=True),
    "default": _Tier(max_turns=20, context_length=1024),
    "hard": _Tier(max_turns=20, context_length=1024, has_regions=False),
}


@dataclass(frozen=True, kw_only=True)
class CostBounds:
    """Mean cost (minus the return) over countries, each equally likely.

    Attributes:
        lower: no policy costs less, whatever yes/no questions it asks.
        optimal: the exact minimum over the grammar's questions, None where the search is too large.
        greedy: what the expert costs, exactly.
    """

    lower: float
    optimal: float | None
    greedy: float


class GuessPlace(ChatEnv):
    """Twenty questions over the 193 member states of the United Nations.

    Tiers: "easy" lists 6 of 12 countries in the opening and has 5 turns; "default" has all of
    them and 20 turns; "hard" is the same, and questions about the country's region ("is it in
    Africa?") go unanswered.

    Reward: -1 a turn, 0 for the turn that names the country, alone. Success: it was named.

    Held-out goals: in "easy" combinations of a list and a country in it, every word of which is
    seen in training; else one country in four of every region, which training asks about but never
    has as the goal. Held-out phrasings are combinations of parts that are seen in training.

    The facts are those of `data/countries.json`: a language is an official or a working
    one; people are counted in millions about 2024. The questions are those of
    information theory's game of twenty (Shannon 1948): the expert halves what is still possible.

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
        self._asked, self._masks = _worth_asking(tier)
        self._is_listed = settings.is_listed
        kwargs.setdefault("context_length", settings.context_length)
        limit = settings.max_turns if max_turns is None else max_turns
        super().__init__(max_turns=limit, **kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal_draws, self._phrase_draws = split_streams(rng, 2)
        if self._is_listed:
            self._candidates, self._goal = _draw_listed(
                goal_draws, len(self.oracle.names), self.split
            )
        else:
            pool = _goals(self.tier)[self.split]
            self._goal = pool[int(goal_draws.random() * len(pool))]
            self._candidates = self.oracle.everything
        rules = self._say(self._phrases.rules[self.split])
        question = self._say(self._phrases.questions[self.split])
        return [
            system(rules.format(turns=self.max_turns)),
            user(question.format(countries=self._list())),
        ]

    def _respond(self, reply: str) -> Turn:
        query = self.oracle.read(reply)
        is_won = query is not None and query.guess == self._goal
        if query is None:
            text = self._phrases.unread
        else:
            is_true = bool(query.mask >> self._goal & 1)
            self._candidates &= query.mask if is_true else ~query.mask
            text = self._say(self._phrases.answers[is_true][self.split])
        if self.is_last_turn and not is_won:
            country = self.oracle.guesses[self._goal].removeprefix("Is it ").rstrip("?")
            text += self._phrases.lost.format(country=country)
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
        """Return the countries."""
        return list(self.oracle.names)

    def belief(self, conversation: Conversation) -> int:
        """Return what is still possible after `conversation`, a bit a country.

        It knows nothing but what was said. The split is not said: countries held out from
        training count as possible in both splits.
        """
        opening, *talk = (m for m in conversation if m.role is not Role.SYSTEM)
        belief = self._listed(opening.content)
        for reply, answer in zip(talk[::2], talk[1::2], strict=True):
            asked = self.oracle.read(reply.content)
            is_true = self._phrases.is_yes.get(answer.content)
            if asked is not None and is_true is not None:
                belief &= asked.mask if is_true else ~asked.mask
        return belief

    def _say(self, texts: Sequence[str]) -> str:
        return texts[int(self._phrase_draws.random() * len(texts))]

    def _list(self) -> str:
        """Return the countries of the opening in the table's order; only listed ones are named."""
        if not self._is_listed:
            return ""
        names = self.oracle.names
        return " ".join(n for i, n in enumerate(names) if self._candidates >> i & 1)

    def _listed(self, text: str) -> int:
        """Return the countries that an opening leaves possible."""
        if not self._is_listed:
            return self.oracle.everything
        words = set(text.rstrip(".!").split())
        return sum(1 << i for i, n in enumerate(self.oracle.names) if n in words)


@dataclass(frozen=True, kw_only=True)
class _Phrases:
    """What is said, by split."""

    rules: Mapping[str, list[str]]
    questions: Mapping[str, list[str]]
    answers: Mapping[bool, Mapping[str, list[str]]]
    is_yes: Mapping[str, bool]
    unread: str
    lost: str


def _combinations(parts: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """Return, by split, one text of every part after another.

    A combination is held out by the sum of its places, so that each part is heard in training.

    >>> _combinations([["Yes", "Yes yes"], [".", "!"]])
    {'train': ['Yes.', 'Yes!', 'Yes yes.'], 'test': ['Yes yes!']}
    """
    texts: dict[str, list[str]] = {split: [] for split in SPLITS}
    for places in itertools.product(*(range(len(part)) for part in parts)):
        is_held_out = sum(places) % _PHRASES_HELD_OUT == _PHRASES_HELD_OUT - 1
        text = "".join(part[place] for part, place in zip(parts, places, strict=True))
        texts["test" if is_held_out else "train"].append(text)
    return texts


@functools.cache
def _data(name: str) -> Mapping[str, Any]:
    path = resources.files("chat_envs").joinpath("data", name)
    data: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


@functools.cache
def _phrases(tier: str) -> _Phrases:
    data = _data("guess_place.json")
    answers = {
        True: _combinations(data["answers"][tier]["yes"]),
        False: _combinations(data["answers"][tier]["no"]),
    }
    return _Phrases(
        rules=_combinations(data["openings"][tier]["system"]),
        questions=_combinations(data["openings"][tier]["user"]),
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
    data, language = _data("countries.json"), _data("guess_place.json")
    facts = make_facts(data, language)
    easy = data["easy"] if _TIERS[tier].is_listed else None
    return make_oracle(
        AttributeTable(facts, None if easy is None else easy["countries"]),
        facts,
        language,
        has_categories=_TIERS[tier].has_regions,
        asked=None if easy is None else easy["questions"],
    )


@functools.cache
def _worth_asking(tier: str) -> tuple[list[str], list[int]]:
    """Return the expert's questions and their masks, without those that it would never ask.

    A question that tells one country from the rest is no better than a guess, and the second of
    two that ask the same (or the opposite) is never preferred.
    """
    oracle = _oracle(tier)
    questions: dict[int, str] = {}
    for predicate in oracle.predicates:
        count, rest = predicate.mask.bit_count(), oracle.everything & ~predicate.mask
        if 1 < count < len(oracle.names) - 1 and rest not in questions:
            questions.setdefault(predicate.mask, predicate.question)
    return list(questions.values()), list(questions)


@functools.cache
def _goals(tier: str) -> Mapping[str, tuple[int, ...]]:
    """Return the goals of each split: every fourth country of a region is held out."""
    regions: dict[str, list[str]] = {}
    for country in read_countries(_data("countries.json")):
        regions.setdefault(country.regions[0], []).append(country.name)
    held_out = {
        name for names in regions.values() for name in names[_HELD_OUT - 1 :: _HELD_OUT]
    }
    names = _oracle(tier).names
    return {
        "train": tuple(i for i, n in enumerate(names) if n not in held_out),
        "test": tuple(i for i, n in enumerate(names) if n in held_out),
    }


def _draw_listed(draws: Uniform, num_countries: int, split: str) -> tuple[int, int]:
    """Return the listed countries, as a belief, and the goal among them, both of `split`."""
    while True:
        order = list(range(num_countries))
        for k in range(_NUM_LISTED):  # the first steps of a Fisher-Yates shuffle
            other = k + int(draws.random() * (num_countries - k))
            order[k], order[other] = order[other], order[k]
        listed = order[:_NUM_LISTED]
        goal = listed[0]
        is_held_out = (sum(listed) + goal) % _HELD_OUT == 0
        if is_held_out == (split == "test"):
            return sum(1 << i for i in listed), goal


def cost_bounds(tier: str = "default", candidates: int | None = None) -> CostBounds:
    """Return what finding a country costs at best and by the expert.

    Args:
        tier: "easy", "default" or "hard".
        candidates: what is possible at the start, a bit a country, such as the list of an "easy"
            episode; None for all countries of the tier.

    >>> bounds = cost_bounds("easy", candidates=0b111111)
    >>> bounds.lower, bounds.optimal
    (2.0, 2.0)
    """
    oracle, num_turns = _oracle(tier), _TIERS[tier].max_turns
    belief = oracle.everything if candidates is None else candidates
    num_countries = belief.bit_count()
    optimal = None
    if num_countries <= _LARGEST_SEARCH:
        total = optimal_total(oracle.questions(), belief, num_turns)
        optimal = total / num_countries
    return CostBounds(
        lower=ideal_total(num_countries, num_turns) / num_countries,
        optimal=optimal,
        greedy=greedy_total(_worth_asking(tier)[1], belief, num_turns) / num_countries,
    )


make_vector = vector_entry_point(GuessPlace)
