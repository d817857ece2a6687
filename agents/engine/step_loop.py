"""The loop over decoding steps: prefill, then one token a lane and step.

A step takes the last ids of the lanes through the network, draws the next, and notes who is done,
all on the device and in place: no Python looks at a value, so the same step can be captured once
and replayed (`cuda_graph`).

Shape legend: N lanes, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from agents.engine.kv_cache import KeyValueCache
from agents.engine.lane import Fact, Lanes
from agents.engine.network import CausalNetwork, advance
from agents.engine.sampling import sample

__all__ = ["StepLoop", "StepRunner"]


class StepRunner(Protocol):
    """Runs steps: eagerly (`StepLoop`) or by replaying captured ones."""

    steps_per_look: int  # steps after which the host looks who is done

    def run(self, num_lanes: int, reach: int, num_steps: int) -> None:
        """Take `num_steps` steps with the first lanes; see `StepLoop.run`."""


class StepLoop:
    """Steps over the first lanes, which are the first rows of the cache.

    Args:
        network: in eval mode, attending raggedly while it runs.
        cache: keys and values of the rows.
        lanes: what the rows are doing.
        context_length: positions the model knows.
    """

    steps_per_look = 1

    def __init__(
        self,
        network: CausalNetwork,
        cache: KeyValueCache,
        lanes: Lanes,
        context_length: int,
    ) -> None:
        self.network = network
        self.cache = cache
        self.lanes = lanes
        self.context_length = context_length

    def prefill(
        self, rows: slice, news: Sequence[np.ndarray], starts: Sequence[int]
    ) -> torch.Tensor:
        """Feed ragged new ids to rows of the cache; return (N, V) logits after each row's last."""
        return advance(
            self.network, self.cache, self.context_length, rows, news, starts
        )

    def draw(self, lanes: slice, logits_NV: torch.Tensor) -> None:
        """Draw one id a lane and note it; lanes that are done stay as they are."""
        buffers = self.lanes
        facts_FN = buffers.facts_FN[:, lanes]
        count_N, done_N = facts_FN[Fact.COUNT], facts_FN[Fact.IS_DONE]
        place_N = facts_FN[Fact.REPLY] * buffers.ids_BR.shape[1] + count_N
        noise_N = None
        if not buffers.sampling.is_greedy:
            noise_N = buffers.noise_BR.view(-1).index_select(0, place_N)
        ids_N, log_probs_N = sample(logits_NV, buffers.sampling, noise_N)
        # A lane that is done writes past the end of its reply, which nobody reads.
        buffers.ids_BR.view(-1).index_copy_(0, place_N, ids_N)
        buffers.log_probs_BR.view(-1).index_copy_(0, place_N, log_probs_N)
        running_N = done_N == 0
        facts_FN[Fact.TOKEN] = torch.where(running_N, ids_N, facts_FN[Fact.TOKEN])
        facts_FN[Fact.POSITION] += running_N
        count_N += running_N
        stopped_N = buffers.is_stop_V.index_select(0, ids_N) & running_N
        facts_FN[Fact.HAS_STOPPED] |= stopped_N
        facts_FN[Fact.IS_BAD] |= ~log_probs_N.isfinite() & running_N
        done_N |= stopped_N | (count_N >= facts_FN[Fact.LIMIT])

    def step(self, num_lanes: int, reach: int) -> None:
        """Feed the last id of each of the first lanes and draw the next.

        Args:
            num_lanes: how many run.
            reach: columns of the cache to attend to; every position lies below it, and the cache
                has room for them.
        """
        lanes = slice(0, num_lanes)
        token_N = self.lanes.facts_FN[Fact.TOKEN, lanes]
        position_N = self.lanes.facts_FN[Fact.POSITION, lanes]
        self.cache.begin_step(lanes, position_N, reach)
        logits_NV: torch.Tensor = self.network(
            token_N[:, None],
            self.lanes.lane_N[lanes],
            # An idle lane may stand past the last position that the model knows.
            position_N.clamp(max=self.context_length - 1)[:, None],
            self.cache,
        )[0]
        self.draw(lanes, logits_NV)

    def run(self, num_lanes: int, reach: int, num_steps: int) -> None:
        """Take several steps.

        Args:
            num_lanes: how many lanes run.
            reach: columns that the first step attends to; each step needs one more.
            num_steps: how many.
        """
        self.cache.make_room(reach + num_steps - 1)
        for step in range(num_steps):
            self.step(num_lanes, reach + step)
