"""The running rows of one call as tensors that stay where they are.

Row n of the cache that runs is lane n. What is known of a lane is one column of one int64 tensor,
so that moving a lane is one copy, looking at all of them one transfer, and a captured step finds
everything where it was when it was captured.

Shape legend: F facts of a lane, N lanes, B replies of a call, R tokens of a reply, V vocabulary.
"""

from __future__ import annotations

import copy
import enum
import math
from collections.abc import Sequence

import numpy as np
import torch

from agents.engine.language_model import Generation, Sampling

__all__ = ["Fact", "Lanes"]

_BUCKET = 64  # tokens of a reply are allocated in multiples of this

_TENSORS = ("facts_FN", "lane_N", "is_stop_V", "ids_BR", "log_probs_BR", "noise_BR")


class Fact(enum.IntEnum):
    """Rows of `Lanes.facts_FN`."""

    TOKEN = 0  # the last id drawn
    POSITION = 1  # where it stands in the dialogue
    COUNT = 2  # tokens drawn so far
    LIMIT = 3  # tokens that the reply may have
    REPLY = 4  # row of the call's replies
    IS_DONE = 5  # 1 when the reply is complete: nothing of the lane changes any more
    HAS_STOPPED = 6  # 1 when it ended by a stop id
    IS_BAD = 7  # 1 when a log-prob was not finite


class Lanes:
    """State of `num_lanes` lanes, and the replies and noise of up to `num_replies` contexts.

    Attributes:
        sampling: of the present call.
        facts_FN: int64, one row a `Fact`.
        ids_BR: int64; what stands past a reply's length means nothing. There is one row and
            one column more than replies and tokens, for what idle lanes write.
        log_probs_BR: float32, of the same places.
        noise_BR: float64, uniform, of the same places.
        is_stop_V: bool, ids that end a reply.
        lane_N: int64, 0, 1, ...
        num_growths: how often the storage has moved; what remembers addresses must start over.
        num_calls: how often `begin` was called.

    Args:
        num_lanes: most rows that run at once.
        num_replies: most contexts of a call.
        num_ids: ids that can be drawn.
        device: where everything is.
    """

    def __init__(
        self, num_lanes: int, num_replies: int, num_ids: int, device: torch.device
    ) -> None:
        self.num_growths = 0
        self.num_calls = 0
        self.facts_FN = torch.zeros(
            (len(Fact), num_lanes), dtype=torch.long, device=device
        )
        self.lane_N = torch.arange(num_lanes, device=device)
        self.is_stop_V = torch.zeros(num_ids, dtype=torch.bool, device=device)
        self.sampling = Sampling(max_new_tokens=1, stop_ids=frozenset(), is_greedy=True)
        self._num_replies = num_replies
        self._allocate(0)

    def begin(self, sampling: Sampling, noise_BR: torch.Tensor | None) -> None:
        """Take what is the same for a whole call.

        Args:
            sampling: how replies are drawn; stop ids that the model does not know never occur.
            noise_BR: float64, uniform in [0, 1); None when nothing is drawn.
        """
        self.sampling = sampling
        self.num_calls += 1
        if sampling.max_new_tokens >= self.ids_BR.shape[1]:
            self.num_growths += 1
            columns = sampling.max_new_tokens + 1
            self._allocate(math.ceil(columns / _BUCKET) * _BUCKET)
        self.is_stop_V.zero_()
        known = [i for i in sampling.stop_ids if 0 <= i < len(self.is_stop_V)]
        self.is_stop_V[known] = True
        if noise_BR is not None:
            rows, columns = noise_BR.shape
            self.noise_BR[:rows, :columns] = noise_BR

    def seat(
        self,
        first: int,
        positions: Sequence[int],
        limits: Sequence[int],
        replies: Sequence[int],
    ) -> None:
        """Start lanes `first`, `first` + 1, ...

        Args:
            first: the first of them.
            positions: of the last id of each context.
            limits: most tokens of each reply.
            replies: row of each reply.
        """
        facts = np.zeros((len(Fact), len(positions)), dtype=np.int64)
        facts[Fact.POSITION], facts[Fact.LIMIT] = positions, limits
        facts[Fact.REPLY] = replies
        lanes = slice(first, first + len(positions))
        self.facts_FN[:, lanes] = torch.from_numpy(facts).to(self.facts_FN.device)

    def park(self, first: int, last: int, column: int) -> None:
        """Let lanes `first` to `last` - 1 run without effect.

        Args:
            first: the first of them.
            last: the one after the last.
            column: of the cache, in which none of these rows has anything.
        """
        self.facts_FN[:, first:last] = 0
        self.facts_FN[Fact.POSITION, first:last] = column
        self.facts_FN[Fact.REPLY, first:last] = self._num_replies
        self.facts_FN[Fact.IS_DONE, first:last] = 1

    def move(self, lanes: Sequence[int], sources: Sequence[int]) -> None:
        """Let each of `lanes` go on where the same place of `sources` was."""
        if lanes:
            to, source = torch.tensor([lanes, sources], device=self.facts_FN.device)
            self.facts_FN[:, to] = self.facts_FN[:, source]

    def look(self, num_lanes: int) -> np.ndarray:
        """Return the (F, N) facts of the first lanes; the host waits for the device."""
        return self.facts_FN[:, :num_lanes].cpu().numpy().copy()

    def generation(self, lengths_B: np.ndarray, finished_B: np.ndarray) -> Generation:
        """Return the replies of the call, copied: the buffers belong to the next one.

        Args:
            lengths_B: int64, tokens of each reply.
            finished_B: bool, whether it ended by a stop id.
        """
        num_tokens = int(lengths_B.max())
        is_past_BR = np.arange(num_tokens) >= lengths_B[:, None]
        places = (slice(len(lengths_B)), slice(num_tokens))
        ids_BR = self.ids_BR[places].cpu().numpy().copy()
        log_probs_BR = self.log_probs_BR[places].cpu().numpy().copy()
        ids_BR[is_past_BR], log_probs_BR[is_past_BR] = 0, 0
        return Generation(ids_BR, lengths_B, log_probs_BR, finished_B)

    def tensors(self) -> list[torch.Tensor]:
        """Return all that a step reads or writes, the facts first."""
        return [getattr(self, name) for name in _TENSORS]

    def over(self, tensors: Sequence[torch.Tensor]) -> Lanes:
        """Return the same lanes with other storage, in the order of `tensors()`."""
        other = copy.copy(self)
        vars(other).update(zip(_TENSORS, tensors, strict=True))
        return other

    def _allocate(self, columns: int) -> None:
        device = self.facts_FN.device
        shape = (self._num_replies + 1, columns)
        self.ids_BR = torch.zeros(shape, dtype=torch.long, device=device)
        self.log_probs_BR = torch.zeros(shape, device=device)
        self.noise_BR = torch.zeros(shape, dtype=torch.float64, device=device)
