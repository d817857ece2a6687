"""How much better than expected: returns, generalised advantages, normalisation.

Two clocks run here. The discount acts once a *turn* and is 1 inside a reply; the trace parameter of
generalised advantage estimation acts once a *token*. Only the agent's own tokens are on the token
axis, so what the user said is skipped by construction.

Shape legend: B episodes, T turns, K action tokens of an episode (compacted: the agent's only).
"""

from __future__ import annotations

from typing import NamedTuple

import torch

__all__ = [
    "Moments",
    "discounted_returns",
    "generalized_advantages",
    "known_returns",
    "moments",
    "whiten",
]


def discounted_returns(rewards_BT: torch.Tensor, discount: float) -> torch.Tensor:
    """Return (B, T) returns: [b, t] = sum over u >= t of discount**(u - t) * rewards[b, u].

    Args:
        rewards_BT: reward of each turn; 0 after an episode's last turn.
        discount: a turn, in [0, 1].

    >>> discounted_returns(torch.tensor([[1.0, 0.0, 4.0]]), 0.5).tolist()
    [[2.0, 2.0, 4.0]]
    """
    returns_BT = torch.zeros_like(rewards_BT)
    following_B = torch.zeros_like(rewards_BT[:, 0])
    for t in reversed(range(rewards_BT.shape[1])):
        following_B = rewards_BT[:, t] + discount * following_B
        returns_BT[:, t] = following_B
    return returns_BT


def known_returns(valid_BT: torch.Tensor) -> torch.Tensor:
    """Return (B, T) bool: whether the return of a turn sums known rewards only.

    A reward that could not be computed is not 0, so every return that would include it is unknown.

    Args:
        valid_BT: bool, whether the reward of a turn is known; True after an episode's last turn.

    >>> known_returns(torch.tensor([[True, False, True]])).tolist()
    [[False, False, True]]
    """
    return valid_BT.flip(1).to(torch.int64).cumprod(1).flip(1).bool()


def generalized_advantages(
    rewards_BK: torch.Tensor,
    values_BK: torch.Tensor,
    valid_BK: torch.Tensor,
    is_turn_end_BK: torch.Tensor,
    lengths_B: torch.Tensor,
    bootstrap_B: torch.Tensor,
    *,
    discount: float,
    trace: float,
) -> torch.Tensor:
    """Return (B, K) advantages of the agent's tokens (GAE, Schulman et al. 2016, equation 16).

    delta_k = r_k + g_k V_{k+1} - V_k and A_k = delta_k + g_k * trace * A_{k+1}, where g_k is
    `discount` on the last token of a turn and 1 inside a reply. V_{k+1} is the value of the context
    in which the agent's next token was chosen, so the user's tokens between two replies are stepped
    over. After the last token V is `bootstrap_B` and A is 0.

    A turn whose reward is unknown is a wall: its tokens get 0, and the turn before it bootstraps
    with the value of the context in which the walled turn began.

    Args:
        rewards_BK: reward that arrives with each token (a turn's reward on its last token).
        values_BK: value of the context in which each token was chosen.
        valid_BK: bool, False on tokens of a turn without a known reward.
        is_turn_end_BK: bool, True on the last token of each turn.
        lengths_B: int64, action tokens of each episode.
        bootstrap_B: value of the final context: 0 for a terminated episode, the critic's for a
            truncated one.
        discount: a turn, in [0, 1].
        trace: lambda a token, in [0, 1].

    >>> one = torch.ones(1, 2)
    >>> generalized_advantages(
    ...     torch.tensor([[0.0, 1.0]]), 0.5 * one, one.bool(), torch.tensor([[False, True]]),
    ...     torch.tensor([2]), torch.zeros(1), discount=1.0, trace=0.5,
    ... ).tolist()
    [[0.25, 0.5]]
    """
    num_tokens = rewards_BK.shape[1]
    advantages_BK = torch.zeros_like(values_BK)
    factor_BK = torch.ones_like(values_BK).masked_fill(is_turn_end_BK, discount)
    next_value_B = bootstrap_B.to(values_BK.dtype)
    next_advantage_B = torch.zeros_like(next_value_B)
    for k in reversed(range(num_tokens)):
        is_real_B = k < lengths_B
        is_valid_B = is_real_B & valid_BK[:, k]
        factor_B = factor_BK[:, k]
        delta_B = rewards_BK[:, k] + factor_B * next_value_B - values_BK[:, k]
        advantage_B = delta_B + factor_B * trace * next_advantage_B
        advantage_B = torch.where(
            is_valid_B, advantage_B, torch.zeros_like(advantage_B)
        )
        advantages_BK[:, k] = advantage_B
        next_advantage_B = (
            advantage_B  # 0 past the end and at a wall, as the recursion wants
        )
        next_value_B = torch.where(is_real_B, values_BK[:, k], next_value_B)
    return advantages_BK


class Moments(NamedTuple):
    """Sums that add up over micro-batches and over processes.

    Attributes:
        number: of elements.
        total: their sum.
        squares: the sum of their squares.
    """

    number: torch.Tensor
    total: torch.Tensor
    squares: torch.Tensor


def moments(values: torch.Tensor, mask: torch.Tensor) -> Moments:
    """Return the float64 sums of `values` where `mask` is True (add them to make them global)."""
    chosen = torch.where(mask, values, torch.zeros_like(values)).double()
    return Moments(mask.sum().double(), chosen.sum(), chosen.square().sum())


def whiten(
    values: torch.Tensor,
    mask: torch.Tensor,
    statistics: Moments | None = None,
    *,
    epsilon: float = 1e-6,
) -> torch.Tensor:
    """Return `values` shifted and scaled to mean 0 and variance 1 over the masked elements.

    Args:
        values: any shape.
        mask: bool, same shape; elements off it become 0.
        statistics: the sums over *everything* that is optimised together; None sums this tensor,
            which is right only where it holds the whole batch.
        epsilon: added to the standard deviation, so that values that differ by less, be it by
            rounding, become about 0 (the same as for the deviation of a group).

    >>> chosen = torch.tensor([True, True, False])
    >>> whiten(torch.tensor([1.0, 3.0, 9.0]), chosen).round(decimals=4).tolist()
    [-1.0, 1.0, 0.0]
    """
    number, total, squares = (
        statistics if statistics is not None else moments(values, mask)
    )
    mean = total / number.clamp(min=1)
    deviation = (squares / number.clamp(min=1) - mean.square()).clamp(min=0).sqrt()
    whitened = (values.double() - mean) / (deviation + epsilon)
    return torch.where(mask, whitened, torch.zeros_like(whitened)).to(values.dtype)
