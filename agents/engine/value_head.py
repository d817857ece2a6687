"""The critic: one linear map from the last hidden state to a number."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["ValueHead"]


class ValueHead(nn.Module):
    """Scalar value of each prefix; starts at exactly 0 everywhere.

    Zero weights make the first advantages those of no critic at all, instead of noise, and take
    no random numbers.

    Args:
        width: width of the hidden states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(1))  # DeepSpeed broadcasts no 0-d tensors

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return (...,) float32 values of (..., width) hidden states of any dtype."""
        weight = self.weight.float()
        values: torch.Tensor = (hidden.float() * weight).sum(dim=-1)
        return values + self.bias[0].float()
