"""Which token is paid how much: the advantages of algorithms that have no critic.

Rewards arrive once a turn. `credit` says which of them a token is paid: those of the whole episode,
those from its own turn on, or those from its own turn on less the price of drift from its own
*token* on. What is left after a baseline may be scaled. A price by token is subtracted after that,
so it is in the unit of the scaled advantages, except that `batch` scales both.

There is no critic, so what a truncated episode would still have earned is nobody's guess: it counts
as nothing.

Shape legend: N episodes of a rollout, K action tokens, T turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from agents.experience.rollout import ActionTokens, Rollout
from agents.objective.advantage import (
    discounted_returns,
    generalized_advantages,
    known_returns,
    whiten,
)
from agents.objective.baseline import (
    Baseline,
    Credit,
    Scale,
    divide_by_group_std,
    subtract_baseline,
)

__all__ = ["CreditRule", "returns_of"]


def returns_of(
    rewards_NT: torch.Tensor, valid_NT: torch.Tensor, *, credit: Credit, discount: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (N, T) returns that each turn is paid, and (N, T) bool, whether each is known.

    They are float64, so that the same rewards in another order sum to the same return.
    """
    returns_NT = discounted_returns(rewards_NT.double(), discount)
    known_NT = known_returns(valid_NT)
    if credit == "episode":  # every turn is paid what the first is
        return (
            returns_NT[:, :1].expand_as(returns_NT),
            known_NT[:, :1].expand_as(known_NT),
        )
    return returns_NT, known_NT


@dataclass(frozen=True, kw_only=True)
class CreditRule:
    """How returns become advantages.

    Attributes:
        credit: what a token is paid: the return of its episode, or of what follows.
        baseline: what a return is compared with.
        scale: unit of the advantages. `group_std`: their group's standard deviation. `batch`:
            shifted and scaled over the batch's tokens (REINFORCE++, Hu et al. 2025,
            arXiv:2501.03262). `return_batch`: likewise over the batch's turns, of which
            each counts once whatever its length ("return batch normalisation", Liu et al. 2025,
            arXiv:2510.01051).
        discount: a turn.
    """

    credit: Credit
    baseline: Baseline
    scale: Scale
    discount: float

    def advantages(
        self,
        rollout: Rollout,
        actions: ActionTokens,
        rewards_NT: torch.Tensor,
        price_NK: torch.Tensor | None = None,
        greedy_returns_NT: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (N, K) advantages and (N, K) bool, the tokens that have one.

        Args:
            rollout: the episodes.
            actions: their action axis.
            rewards_NT: what is paid.
            price_NK: what each token costs, subtracted from the rewards; None costs nothing.
            greedy_returns_NT: for baseline="greedy".
        """
        device = rewards_NT.device
        is_by_token = price_NK is not None and self.credit == "token"
        if price_NK is not None and not is_by_token:
            rewards_NT = rewards_NT - actions.sum_turns(price_NK, rewards_NT.shape[1])
        returns_NT, known_NT = returns_of(
            rewards_NT,
            rollout.reward_valid(device),
            credit=self.credit,
            discount=self.discount,
        )
        groups_N = torch.from_numpy(rollout.groups).to(device)
        advantages_NT, has_NT = subtract_baseline(
            returns_NT,
            known_NT,
            groups_N,
            baseline=self.baseline,
            greedy_returns_BT=greedy_returns_NT,
        )
        if self.scale == "group_std":
            advantages_NT = divide_by_group_std(
                advantages_NT, returns_NT, known_NT, groups_N
            )
        if self.scale == "return_batch":
            num_turns_N1 = torch.from_numpy(rollout.num_turns).to(device)[:, None]
            is_played_NT = torch.arange(has_NT.shape[1], device=device) < num_turns_N1
            advantages_NT = whiten(advantages_NT, has_NT & is_played_NT)
        mask_NK = actions.mask & actions.from_turns(has_NT)
        advantages_NK = actions.from_turns(advantages_NT.to(rewards_NT.dtype))
        if is_by_token:
            assert price_NK is not None
            advantages_NK = advantages_NK - self._price_to_go(price_NK, actions)
        if self.scale == "batch":
            advantages_NK = whiten(advantages_NK, mask_NK)
        return advantages_NK, mask_NK

    def _price_to_go(
        self, price_NK: torch.Tensor, actions: ActionTokens
    ) -> torch.Tensor:
        """Return (N, K): what a token and those after it cost, discounted turn by turn."""
        return generalized_advantages(
            price_NK,
            torch.zeros_like(price_NK),
            actions.mask,
            actions.is_turn_end,
            actions.lengths,
            price_NK.new_zeros(len(price_NK)),
            discount=self.discount,
            trace=1.0,
        )
