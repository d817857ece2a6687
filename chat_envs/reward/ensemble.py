"""The least of several rewards: an ensemble that is only as pleased as its strictest member."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chat_envs.reward.failure import RewardError
from chat_envs.reward.request import RewardRequest
from chat_envs.reward.scorer import make_scorer

__all__ = ["Minimum"]


class Minimum:
    """The least total that one of several rewards gives a reply.

    Reward models that were trained on other pairs are wrong in other places; a policy must please
    all of them. "Worst-case optimisation" of Coste et al. 2023 (arXiv:2310.02743, section 3.2).
    The members should be on one scale, as reward models of mean 0 and standard deviation 1 are.

    Args:
        rewards: at least two of what `reward=` takes, JSON each.

    Raises:
        ValueError: if there are fewer than two.

    >>> both = Minimum([{"length_band": {"kwargs": {"low": 1, "high": 2}}}, "repetition"])
    >>> make_scorer(both).component_names
    ('minimum',)
    """

    name = "minimum"

    def __init__(self, rewards: Sequence[Any]) -> None:
        if isinstance(rewards, str) or len(rewards) < 2:
            raise ValueError(
                f"minimum takes a list of at least two rewards, got {rewards!r}; one alone needs "
                "no ensemble."
            )
        self._scorers = [make_scorer(reward) for reward in rewards]

    def score(self, batch: Sequence[RewardRequest]) -> list[float]:
        """Return one number a request.

        Raises:
            RewardError: if a member failed, whatever its own policy is: without it the least of
                the others is not the least. The ensemble's policy decides.
        """
        columns = [scorer.score(batch) for scorer in self._scorers]
        for row in zip(*columns, strict=True):
            if not all(outcome.is_valid for outcome in row):
                raise RewardError("a member of the ensemble failed and was masked")
        return [min(o.total for o in row) for row in zip(*columns, strict=True)]
