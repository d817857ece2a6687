"""`Negotiation`: bargain for a client over one price, or over a package of three issues.

The other side has a private reservation value and concedes by a seeded Boulware or conceder
schedule (Faratin, Sierra and Jennings 1998). It moves only for an agent that moves too: an offer
that is no step towards it, an absurd one or an insult leaves its own offer where it is, and after
two of them it leaves. A word of fairness beside a step wins one more concession, once.

The return is the share of the surplus: 0 at the client's limit, 1 at the other side's reservation
price, negative beyond the limit (at least -1), 0 without a deal. Only an offer that is accepted
pays, so what lies on the table at the turn limit is worth nothing.
"""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np

from chat_envs.core import ChatEnv, Turn
from chat_envs.envs._negotiation_agent import expert_package_reply
from chat_envs.envs._negotiation_package import (
    TURNS,
    PackageTalk,
    draw_package_goal,
)
from chat_envs.envs._negotiation_price import (
    PRICE_TIERS,
    PriceTalk,
    draw_price_goal,
    expert_price_reply,
)
from chat_envs.envs._negotiation_talk import ROLES, Line, Talk, data, phrasings, pick
from chat_envs.message import Message, system, user
from chat_envs.simulators.stream import split_streams
from chat_envs.vector import vector_entry_point

__all__ = ["Negotiation", "make_vector"]

_HARD = "hard"
_TURNS: Mapping[str, int] = {
    **{name: tier.turns for name, tier in PRICE_TIERS.items()},
    _HARD: TURNS,
}
# Long replies in every turn must not truncate.
_CONTEXT_LENGTH = {"easy": 384, "default": 512, "hard": 640}
_SUCCESS = 0.5
_BLIND_GAIN = 8


class Negotiation(ChatEnv):
    """Get a good deal for a client.

    Tiers: "easy" sells for prices of one ten (40 to 49) in 4 turns; "default" sells or buys for
    up to four digits in 6; "hard" agrees on price, days and years at once, with private weights on
    either side, in 6.

    A success is a deal that brings the client at least half of what was to be had. Held-out
    goals are combinations of item, first offer and limit (hard: role, weights and need), every
    part of which is met in training.

    Args:
        tier: "easy", "default" or "hard".
        role: "seller" or "buyer" for one role in every episode, "any" for either; None for the
            tier's: "seller" in "easy", else "any".
        max_turns: replies; None for the tier's.
        **kwargs: those of `ChatEnv`.

    Raises:
        ValueError: if the tier or the role is unknown.

    >>> env = Negotiation("easy")
    >>> _ = env.reset(seed=0)
    >>> env.expert_reply().startswith("I ask")
    True
    """

    metric_names = ("deal", "share", "pareto")

    def __init__(
        self,
        tier: str = "default",
        *,
        role: str | None = None,
        max_turns: int | None = None,
        **kwargs: Any,
    ) -> None:
        if tier not in _TURNS:
            raise ValueError(f"tier must be one of {sorted(_TURNS)}, got {tier!r}.")
        if role not in (None, "any", *ROLES):
            raise ValueError(f"role must be one of {('any', *ROLES)}, got {role!r}.")
        self.tier = tier
        if role is None and tier in PRICE_TIERS:
            role = PRICE_TIERS[tier].role
        self.role = "any" if role is None else role
        kwargs.setdefault("context_length", _CONTEXT_LENGTH[tier])
        limit = _TURNS[tier] if max_turns is None else max_turns
        super().__init__(max_turns=limit, **kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal_rng, behaviour_rng, self._phrasing_rng = split_streams(rng, 3)
        self._phrases = phrasings(self.tier, self.split)
        role = None if self.role == "any" else self.role
        self._talk: Talk
        if self.tier == _HARD:
            package = draw_package_goal(role, self.split, goal_rng, behaviour_rng)
            self._talk = PackageTalk(package, self.max_turns)
        else:
            goal = draw_price_goal(
                self.tier, role, self.max_turns, self.split, goal_rng, behaviour_rng
            )
            tier = PRICE_TIERS[self.tier]
            self._talk = PriceTalk(goal, highest=tier.highest, step=tier.step)
        rules = data()["rules"][self.tier].format(turns=self.max_turns)
        briefing, first_offer = self._talk.opening()
        return [
            system(rules),
            user(self._phrase(briefing)),
            user(self._phrase(first_offer)),
        ]

    def _respond(self, reply: str) -> Turn:
        answer = self._talk.respond(reply)
        is_deal = answer.share is not None
        share = answer.share or 0.0
        is_over = is_deal or answer.has_left
        # What is on the table at the turn limit is nobody's: it is not even named.
        is_late = self.is_last_turn and not is_over
        text = self._phrase(Line("limit") if is_late else answer.line)
        return Turn(
            messages=[user(text)],
            reward=share,
            ended=is_over,
            success=share >= _SUCCESS,
            why="deal" if is_deal else "left",
            metrics={
                "deal": float(is_deal),
                "share": share,
                "pareto": answer.pareto,
            },
        )

    def _phrase(self, line: Line) -> str:
        choices = self._phrases[line.key]
        return pick(choices, self._phrasing_rng).format_map(line.fields)

    # Scripted policies -----------------------------------------------------------------------

    def expert_reply(self) -> str:
        """Return what one says who knows the conversation and the kinds of other sides there are.

        Over one price it is optimal (`chat_envs.simulators.best_response`).
        """
        if self.tier == _HARD:
            return expert_package_reply(self.max_turns, self.conversation)
        return expert_price_reply(self.tier, self.max_turns, self.conversation)

    def blind_reply(self) -> str:
        """Return a price in the ten where none can be a loss, in "easy"; else nothing.

        A number of any other ten as likely loses as it wins, and so does every number where the
        role is not known; to say nothing is a deal for nobody.
        """
        if self.tier != "easy" or self.role == "any":
            return ""
        gain = max(0, _BLIND_GAIN - self.turn)
        bases = PRICE_TIERS[self.tier].bases[self.role]
        best = max(bases) + gain if self.role == "seller" else min(bases) - gain
        return f"{best}. Fair."

    def candidate_replies(self) -> list[str]:
        """Return offers and a yes."""
        if self.tier == _HARD:
            return [
                f"price {p}, days {d}, years {y}."
                for p, d, y in ((5, 5, 1), (3, 3, 3), (1, 1, 5), (4, 3, 2))
            ] + ["Deal."]
        return [f"{price}." for price in range(15, 100, 10)] + ["Deal."]


make_vector = vector_entry_point(Negotiation)
