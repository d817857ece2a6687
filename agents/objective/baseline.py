"""What a return is compared with, and in what unit the difference is measured.

Shape legend: B episodes, T turns, K action tokens of an episode.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

__all__ = ["Baseline", "Credit", "Scale", "divide_by_group_std", "subtract_baseline"]

Baseline = Literal["none", "batch_mean", "group_mean", "leave_one_out", "greedy"]
Credit = Literal["episode", "turn", "token"]
Scale = Literal["none", "group_std", "batch", "return_batch"]


def subtract_baseline(
    returns_BT: torch.Tensor,
    known_BT: torch.Tensor,
    group_B: torch.Tensor,
    *,
    baseline: Baseline,
    greedy_returns_BT: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (B, T) advantages and (B, T) bool, whether each of them is known.

    Each column is treated by itself: episodes are compared at the same turn, and one that is over
    by then earns 0 there. Means are float64: where all earn the same, their error must be 0.

    - `none`: REINFORCE as it is (Williams 1992).
    - `batch_mean`: minus the mean over the batch, the episode itself included.
    - `group_mean`: minus the mean over its group, the episode itself included (GRPO, Shao et al.
      2024, arXiv:2402.03300): (n - 1) / n of `leave_one_out` in a group of n.
    - `leave_one_out`: minus the mean of the *other* episodes of its group, unbiased
      (Kool et al. 2019; RLOO, Ahmadian et al. 2024, arXiv:2402.14740).
    - `greedy`: minus the greedy reply's return (ReMax, Li et al. 2023, arXiv:2310.10505).

    Args:
        returns_BT: return of each turn.
        known_BT: bool, whether it is known; unknown ones enter no baseline.
        group_B: int64, the group of each episode.
        baseline: which one.
        greedy_returns_BT: for `greedy`: the greedy episode's return; NaN where unknown.

    Raises:
        ValueError: on an unknown baseline, or `greedy` without its returns.

    >>> returns, group = torch.tensor([[1.0], [3.0], [8.0]]), torch.zeros(3, dtype=torch.int64)
    >>> subtract_baseline(returns, returns > 0, group, baseline="leave_one_out")[0].tolist()
    [[-4.5], [-1.5], [6.0]]
    """
    zeros_BT = torch.zeros_like(returns_BT)
    clean_BT = torch.where(known_BT, returns_BT, zeros_BT)
    if baseline == "none":
        return clean_BT, known_BT
    exact_BT = clean_BT.double()
    if baseline == "batch_mean":
        mean_1T = exact_BT.sum(0, keepdim=True) / known_BT.sum(0).clamp(min=1)
        ahead_BT = (exact_BT - mean_1T).to(returns_BT.dtype)
        return torch.where(known_BT, ahead_BT, zeros_BT), known_BT
    if baseline in ("leave_one_out", "group_mean"):
        is_own_counted = baseline == "group_mean"
        mean_BT, has_BT = _group_means(exact_BT, known_BT, group_B, is_own_counted)
        ahead_BT = (exact_BT - mean_BT).to(returns_BT.dtype)
        return torch.where(has_BT, ahead_BT, zeros_BT), has_BT
    if baseline == "greedy":
        if greedy_returns_BT is None:
            raise ValueError(
                "baseline='greedy' needs greedy_returns_BT: play each group's seed greedily too."
            )
        has_BT = known_BT & ~greedy_returns_BT.isnan()
        return torch.where(has_BT, returns_BT - greedy_returns_BT, zeros_BT), has_BT
    raise ValueError(
        f"Unknown baseline {baseline!r}; choose one of {', '.join(get_args(Baseline))}."
    )


def _group_means(
    clean_BT: torch.Tensor,
    known_BT: torch.Tensor,
    group_B: torch.Tensor,
    is_own_counted: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (B, T) means over the known returns of a group, and where there is one to compare."""
    known = known_BT.to(clean_BT.dtype)
    same_BB = (group_B[:, None] == group_B[None, :]).to(clean_BT.dtype)
    others_BB = same_BB.clone().fill_diagonal_(0.0)
    chosen_BB = same_BB if is_own_counted else others_BB
    mean_BT = (chosen_BB @ clean_BT) / (chosen_BB @ known).clamp(min=1)
    # Alone in its group: there is nothing to compare with.
    return mean_BT, known_BT & (others_BB @ known > 0)


def divide_by_group_std(
    advantages_BT: torch.Tensor,
    returns_BT: torch.Tensor,
    known_BT: torch.Tensor,
    group_B: torch.Tensor,
    *,
    epsilon: float = 1e-6,
) -> torch.Tensor:
    """Return (B, T) advantages in standard deviations of their group's returns.

    GRPO (Shao et al. 2024, arXiv:2402.03300, section 4.1.2). The deviation is the sample's
    (divided by n - 1), turn by turn. Where all of a group earn the same its advantages are 0.

    Args:
        advantages_BT: from `subtract_baseline`.
        returns_BT: return of each turn.
        known_BT: bool, whether it is known; unknown ones enter no deviation.
        group_B: int64, the group of each episode.
        epsilon: added to the deviation.

    >>> returns, known = torch.tensor([[1.0], [3.0]]), torch.tensor([[True], [True]])
    >>> group = torch.zeros(2, dtype=torch.int64)
    >>> scaled = divide_by_group_std(returns - 2.0, returns, known, group)
    >>> [round(value, 4) for value in scaled.flatten().tolist()]
    [-0.7071, 0.7071]
    """
    known = known_BT.double()
    same_BB = (group_B[:, None] == group_B[None, :]).double()
    clean_BT = torch.where(known_BT, returns_BT, torch.zeros_like(returns_BT)).double()
    count_BT = same_BB @ known
    mean_BT = same_BB @ clean_BT / count_BT.clamp(min=1)
    # Deviations before squares: E[x^2] - E[x]^2 would leave noise where all are equal.
    squares_BT = same_BB @ ((clean_BT - mean_BT).square() * known)
    std_BT = (squares_BT / (count_BT - 1).clamp(min=1)).sqrt()
    return (advantages_BT.double() / (std_BT + epsilon)).to(advantages_BT.dtype)
