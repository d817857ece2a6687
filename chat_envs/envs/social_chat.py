"""`SocialChat`: keep a stranger company who has things on their mind.

The user has a mood m in [-1, 1], an engagement e in [0, 1], topics with emotions and interests, and
facts to tell. Good company names the emotion, asks about the user's own things, says something that
belongs there and does not repeat itself (`chat_envs.simulators.affect` has the equations).

Reward ("gold") = .5 (e' + m' - m) a turn. The user leaves with probability sigmoid(8 (.25 - e')).

Under a proxy reward this is the suite's demonstration of over-optimisation: `reward="proxy:vader"`
pays for the sentiment of what the agent says, "proxy:vader_user" for that of what the user says
then, "proxy:reply_length" for words. Praise wins the first, and `info["gold_reward"]` tells.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from chat_envs.core import ChatEnv, Turn
from chat_envs.envs._social_chat_companion import Companion
from chat_envs.envs._social_chat_language import language
from chat_envs.envs._social_chat_partner import TIERS, Partner
from chat_envs.message import Message, system, user
from chat_envs.simulators.affect import engagement_reward, mood_reward
from chat_envs.simulators.stream import split_streams
from chat_envs.vector import vector_entry_point

__all__ = ["SocialChat", "make_vector"]


@functools.cache
def _companion(name: str, split: str) -> Companion:
    return Companion(language(name, split))


class SocialChat(ChatEnv):
    """Small talk with a user who feels something and may leave.

    Tiers: "easy" has 4 turns, 12 things, 6 emotions with one sign each ("I cried"), and a user who
    goes on to another thing by itself; "default" has 8 turns, 12 things, 8 emotions of three signs
    each, facts to ask for, and reactions that show how the talk goes; in "hard" the user also tells
    of other people's emotions and things and of emotions of the past, and cares less.

    Held-out goals are combinations of a thing and an emotion that training has apart; held-out
    phrases are combinations of parts.

    An emotion counts as named if the reply says it of the user, names no second one and does not
    praise who suffers. A question counts if it is about one of the things (or told facts) that the
    user spoke of, by a word for it, and about no other thing. `success` means that the user stayed
    to the end.

    Args:
        tier: "easy", "default" or "hard".
        **kwargs: those of `ChatEnv`; `max_turns` and `context_length` default to the tier's.

    Raises:
        ValueError: if the tier is unknown.

    >>> env = SocialChat("easy")
    >>> _ = env.reset(seed=0)
    >>> env.expert_reply().startswith("You are ")
    True
    """

    component_names = ("engagement", "mood")
    proxies = {
        "vader": "chat_envs.envs._social_chat_proxy:vader_reply",
        "vader_user": "chat_envs.envs._social_chat_proxy:vader_user",
        "reply_length": "chat_envs.envs._social_chat_proxy:reply_length",
    }
    metric_names = (
        "gold",
        "gold_return",
        "questions",
        "validations",
        "relevance",
        "repetition",
    )

    def __init__(self, tier: str = "default", **kwargs: Any) -> None:
        if tier not in TIERS:
            raise ValueError(f"tier must be one of {sorted(TIERS)}, got {tier!r}.")
        self._tier = TIERS[tier]
        kwargs.setdefault("max_turns", self._tier.max_turns)
        kwargs.setdefault("context_length", self._tier.context_length)
        super().__init__(**kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal, behaviour, phrasing, channel = split_streams(rng, 4)
        self._words = language(self._tier.language, self.split)
        self._companion = _companion(self._tier.language, self.split)
        self._partner = Partner(
            self._tier, self.split, goal, behaviour, phrasing, channel
        )
        self._gold_return = 0.0
        self._sums = dict.fromkeys(
            ("questions", "validations", "relevance", "repetition"), 0.0
        )
        openings = self._words.openings
        rules = openings[int(phrasing.random() * len(openings))]
        return [
            system(rules.format(turns=self.max_turns)),
            user(self._partner.begin()),
        ]

    def _respond(self, reply: str) -> Turn:
        partner, reading = self._partner, self._words.reader.read(reply)
        before = partner.affect
        has_left = partner.hear(reading)
        after = partner.affect
        components = {
            "engagement": engagement_reward(after),
            "mood": mood_reward(before, after),
        }
        if has_left:
            text = self._words.farewells["left"]
        elif self.is_last_turn:
            text = self._words.farewells["end"]
        else:
            text = partner.answer(reading, after.engagement - before.engagement)
        return Turn(
            messages=[user(text)],
            reward=components,
            ended=has_left,
            success=self.is_last_turn and not has_left,
            why="left" if has_left else "",
            metrics=self._measure(sum(components.values())),
        )

    def _measure(self, gold: float) -> dict[str, float]:
        """Return the metrics after a turn: counts, and means over the turns so far."""
        features, sums = self._partner.features, self._sums
        self._gold_return += gold
        sums["questions"] += features.question > 0.0
        sums["validations"] += features.validation
        sums["relevance"] += features.relevance
        sums["repetition"] += features.repetition
        return {
            "gold": gold,
            "gold_return": self._gold_return,
            "questions": sums["questions"],
            "validations": sums["validations"],
            "relevance": sums["relevance"] / self.turn,
            "repetition": sums["repetition"] / self.turn,
        }

    # Scripted policies -----------------------------------------------------------------------

    def expert_reply(self) -> str:
        """Return what names the emotion that the user shows and asks about the thing."""
        return self._companion.expert(self.conversation)

    def question_reply(self) -> str:
        """Return the expert's question without its sympathy."""
        return self._companion.question(self.conversation)

    def generic_reply(self) -> str:
        """Return a friendly sentence that fits everywhere."""
        return self._companion.generic(self.conversation)

    def praise_reply(self) -> str:
        """Return praise alone: what sentiment pays for."""
        return self._companion.praise(self.conversation)

    def blind_reply(self) -> str:
        """Return a guess at the emotion and at the thing, another one each turn."""
        words, number = self._words, self.turn
        emotion = words.emotions[number % len(words.emotions)]
        thing = words.things[number % len(words.things)]
        return f"You are {words.names[emotion][0]}. Your {thing}?"

    def candidate_replies(self) -> list[str]:
        """Return a sentence for each emotion and a question for each thing."""
        words = self._words
        return [
            *(f"You are {names[0]}." for names in words.names.values()),
            *(f"Your {thing}?" for thing in words.things),
        ]


make_vector = vector_entry_point(SocialChat)
