"""The score of the turns just taken: all of them in one call of the reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chat_envs.reward import RewardOutcome, Scorer
from chat_envs.reward.scorer import TaskScorer

if TYPE_CHECKING:
    from chat_envs.core.chat_env import ChatEnv

__all__ = ["score_turns"]


def score_turns(scorer: Scorer, envs: Sequence[ChatEnv]) -> list[RewardOutcome]:
    """Return one outcome for each environment's last turn, in their order.

    The task's own reward is paid as it is: writing the request, of which that needs nothing, took
    a tenth of a turn's time.

    Raises:
        chat_envs.reward.RewardError: if a reward fails and its policy is to raise.
    """
    if not envs:
        return []
    if not isinstance(scorer, TaskScorer):
        return scorer.score([env.reward_request() for env in envs])
    outcomes = []
    for env in envs:
        own = env._own_components
        outcome = None if own is None else scorer.pay(env._gold_reward, own)
        if outcome is None:
            (outcome,) = scorer.score([env.reward_request()])
        outcomes.append(outcome)
    return outcomes
