"""`GuessPlace`: find out which country the user thinks of by yes/no questions.

`TwentyQuestions` over the member states of the United Nations: region, borders, languages, people,
currency, capital, coast. Every turn costs 1 but the winning one, so the return is minus the number
of questions and wrong guesses. What is not one listed question is answered "I can't answer that."
and costs a turn, and so does a list of guesses: `chat_envs.envs._question_game` has the rules.

The expert asks the question with the largest expected information and sees the conversation alone.
`cost_bounds` puts it between two proofs: no policy can do better than `lower`.
"""

from __future__ import annotations

import functools
from typing import Mapping

from chat_envs.data_file import load_json
from chat_envs.envs._guess_place_facts import make_facts
from chat_envs.envs._question_game import (
    CostBounds,
    Game,
    QuestionGame,
    Tier,
    find_tier,
    make_game,
    make_phrases,
)
from chat_envs.vector import vector_entry_point

__all__ = ["CostBounds", "GuessPlace", "cost_bounds", "make_vector"]

_LARGEST_SEARCH = 12
_TIERS: Mapping[str, Tier] = {
    "easy": Tier(max_turns=5, context_length=384, num_listed=6),
    "default": Tier(max_turns=20, context_length=1024),
    "hard": Tier(max_turns=20, context_length=1024, has_categories=False),
}


class GuessPlace(QuestionGame):
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

    @staticmethod
    def _load(tier: str) -> Game:
        return _game(tier)


@functools.cache
def _game(tier: str) -> Game:
    settings = find_tier(_TIERS, tier)
    data, language = load_json("countries.json"), load_json("guess_place.json")
    return make_game(
        settings,
        make_facts(data, language),
        language,
        listed=data["easy"]["countries"],
        asked=data["easy"]["questions"],
        phrases=make_phrases(language, tier),
        largest_search=_LARGEST_SEARCH,
    )


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
    return _game(tier).bounds(candidates)


make_vector = vector_entry_point(GuessPlace)
