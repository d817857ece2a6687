"""`TwentyQuestions`: find out what the user thinks of by yes/no questions.

Every turn costs 1 but the winning one, so the return is minus the number of questions and wrong
guesses. What is not one listed question is answered "I can't answer that." and costs a turn, and
so does a list of guesses: `chat_envs.envs._question_game` has the rules.

The expert asks the question with the largest expected information and sees the conversation alone.
Over the whole table `cost_bounds` puts it between two proofs: no policy can do better than `lower`.
"""

from __future__ import annotations

import functools
from typing import Mapping

from chat_envs.data_file import load_json
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

__all__ = ["CostBounds", "TwentyQuestions", "cost_bounds", "make_vector"]

_LARGEST_SEARCH = 20
_TIERS: Mapping[str, Tier] = {
    "easy": Tier(max_turns=6, context_length=384, num_listed=12),
    "default": Tier(max_turns=20, context_length=1024),
    "hard": Tier(max_turns=20, context_length=1024, has_categories=False),
}


class TwentyQuestions(QuestionGame):
    """Twenty questions over a table of everyday things.

    Tiers: "easy" lists 12 of 16 things in the opening and has 6 turns; "default" has the whole
    table and 20 turns; "hard" is the same, and questions about the thing's kind ("is it an
    animal?") go unanswered.

    Held-out goals: in "easy" combinations of a list and a thing in it, every word of which is seen
    in training; else one thing in four of every category, which training asks about but never
    has as the goal. Held-out phrasings are combinations of parts that are seen in training.

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
    facts, language = load_json("objects.json"), load_json("twenty_questions.json")
    return make_game(
        settings,
        facts,
        language,
        listed=facts["easy"]["objects"],
        asked=facts["easy"]["questions"],
        phrases=make_phrases(language, tier),
        largest_search=_LARGEST_SEARCH,
    )


@functools.cache
def cost_bounds(tier: str = "default") -> CostBounds:
    """Return what finding a thing of `tier` costs at best and by the expert.

    In "easy" all 16 things are possible; an episode lists 12 of them.

    >>> bounds = cost_bounds("easy")
    >>> bounds.lower, bounds.optimal, bounds.greedy
    (3.5, 3.5, 3.5)
    """
    return _game(tier).bounds()


make_vector = vector_entry_point(TwentyQuestions)
