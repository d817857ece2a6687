"""Which dialogues a process computes, and in which cuts.

Every process has the whole rollout (`agents.experience.exchange`) and cuts it the same way, so all
of them know what each has to do without asking. Where their numbers of micro-batches differ, those
with fewer repeat a dialogue with nothing of it counted: sharded weights are gathered by all
processes at a time, so all must compute equally often.

Shape legend: B dialogues of a micro-batch, K action tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from agents.engine import process_group
from agents.experience.rollout import ActionTokens, Rollout

__all__ = ["MicroBatch", "micro_batches", "share_out"]

_PIECES = 4  # of each process's share: the finer, the more even, the more prompts are read twice

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MicroBatch:
    """Dialogues that are computed together.

    Attributes:
        rows: (B,) which of the rollout.
        actions: their action axis, (B, K); its mask is False throughout where nothing counts.
    """

    rows: Rows
    actions: ActionTokens

    def of(self, values_NK: torch.Tensor) -> torch.Tensor:
        """Return (B, K): the part of a tensor of the whole rollout that belongs to these rows."""
        index = torch.as_tensor(self.rows, device=values_NK.device)
        return values_NK[index, : self.actions.mask.shape[1]]

    def put(self, values_NK: torch.Tensor, values_BK: torch.Tensor) -> None:
        """Write the values of these rows' action tokens into a tensor of the whole rollout."""
        row, column = self.actions.mask.nonzero(as_tuple=True)
        index = torch.as_tensor(self.rows, device=values_NK.device)
        values_NK[index[row], column] = values_BK[row, column]

    def put_rows(self, values_N: torch.Tensor, values_B: torch.Tensor) -> None:
        """Write one value a dialogue into a tensor of the whole rollout, unless nothing counts."""
        counts_B = self.actions.mask.any(1)
        index = torch.as_tensor(self.rows, device=values_N.device)
        values_N[index[counts_B]] = values_B[counts_B]


def micro_batches(
    rollout: Rollout, actions: ActionTokens, rows: Rows, token_budget: int
) -> list[MicroBatch]:
    """Return this process's share of some dialogues, at most `token_budget` tokens at a time.

    Args:
        rollout: all dialogues.
        actions: the action axis of all of them.
        rows: those to be computed by all processes together; at least one.
        token_budget: as for `Rollout.pack`.
    """
    rank, size = process_group.place()
    shares = share_out(rollout, rows, size)
    cuts = [rollout.pack(share, token_budget) for share in shares]
    own = [MicroBatch(rows, actions.rows(rows)) for rows in cuts[rank]]
    num_missing = max(map(len, cuts)) - len(own)
    if num_missing:
        shortest = rows[[int(rollout.lengths[rows].argmin())]]
        some = actions.rows(shortest)
        some = replace(some, mask=torch.zeros_like(some.mask))
        own += [MicroBatch(shortest, some)] * num_missing
    return own


def share_out(rollout: Rollout, rows: Rows, num_shares: int) -> list[Rows]:
    """Return `rows` in so many shares of about equally many tokens; some may be empty.

    Largest piece first to whoever has least (Graham 1969); dialogues of one prompt stay together
    as far as the balance allows.
    """
    if num_shares == 1:
        return [rows]
    num_tokens = int(rollout.lengths[rows].sum())
    pieces = rollout.pack(rows, max(num_tokens // (_PIECES * num_shares), 1))
    pieces.sort(key=lambda piece: -int(rollout.lengths[piece].sum()))
    shares: list[list[int]] = [[] for _ in range(num_shares)]
    loads = [0] * num_shares
    for piece in pieces:
        least = loads.index(min(loads))
        shares[least] += piece.tolist()
        loads[least] += int(rollout.lengths[piece].sum())
    return [np.array(sorted(share), dtype=np.int64) for share in shares]
