"""The price of a reply that nearly fills its limit.

Shape legend: any shape.
"""

from __future__ import annotations

import torch

__all__ = ["overlong_penalty"]


def overlong_penalty(
    lengths: torch.Tensor, *, limit: int, margin: float
) -> torch.Tensor:
    """Return float32 penalties in [-1, 0], one a reply (DAPO, Yu et al. 2025, equation 13).

    0 up to limit - margin tokens, then falling linearly to -1 at the limit, -1 beyond it
    (arXiv:2503.14476, "soft overlong punishment"; their L_max and L_cache).

    Args:
        lengths: tokens of each reply.
        limit: longest reply.
        margin: the last tokens below the limit, in which the price rises; above 0.

    Raises:
        ValueError: unless 0 < margin <= limit.

    >>> overlong_penalty(torch.tensor([12, 16, 18, 20, 21]), limit=20, margin=4).tolist()
    [0.0, 0.0, -0.5, -1.0, -1.0]
    """
    if not 0 < margin <= limit:
        raise ValueError(f"margin must lie in (0, limit={limit}], got {margin}.")
    room = limit - margin - lengths.to(torch.float32)
    return (room / margin).clamp(min=-1.0, max=0.0)
