"""Decoding steps captured once as CUDA graphs and replayed: no Python and no launch a kernel.

There is one graph for each bucket of rows and columns. It reads the last ids where the lanes keep
them, goes through the network and ends with the ids drawn, their log-probs and who has stopped, in
the same buffers; noise is read from a buffer that each call refills. Rows between the running ones
and the bucket are idle lanes, which write where nobody reads.

Unmeasured: the bookkeeping is tested on a CPU by a capture that replays eagerly; nobody has yet run
`StepCapture` on a CUDA device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from agents.engine.step_loop import StepLoop

__all__ = [
    "GraphRunner",
    "StepCapture",
    "bucket_of_columns",
    "bucket_of_rows",
]

_COLUMNS = 128  # columns of a bucket are a multiple of this
_NUM_WARM_UPS = (
    2  # steps before a capture: libraries allocate their workspaces in the first
)

Step = Callable[[], None]


class GraphRunner:
    """Runs the steps of a `StepLoop` by replaying captured ones.

    A graph reads parameters, caches and lanes at the addresses that they had when it was captured.
    These are compared before each run: in-place updates of weights (ZeRO 0 to 2) keep the graphs,
    anything that moves drops them all.

    Attributes:
        num_captures: graphs captured so far.

    Args:
        loop: whose steps are captured.
        capture: takes a step and returns what repeats it; it may run the step any number of times.
    """

    steps_per_look = 8

    def __init__(
        self, loop: StepLoop, capture: Callable[[Step], Step] | None = None
    ) -> None:
        self.num_captures = 0
        self._loop = loop
        self._capture = StepCapture() if capture is None else capture
        self._graphs: dict[tuple[object, ...], Step] = {}
        self._captured_at: tuple[int, ...] = ()

    def run(self, num_lanes: int, reach: int, num_steps: int) -> None:
        """Take `num_steps` steps with the first lanes; see `StepLoop.run`."""
        cache, lanes = self._loop.cache, self._loop.lanes
        last_reach = reach + num_steps - 1
        num_rows = min(cache.num_rows, lanes.facts_FN.shape[1])
        rows = bucket_of_rows(num_lanes, num_rows)
        columns = bucket_of_columns(last_reach)
        # One column more than any row uses, in which idle lanes write.
        idle_column = max(cache.high_water, last_reach)
        cache.reserve(max(columns, idle_column + 1))
        lanes.park(num_lanes, rows, idle_column)
        step = self._step(rows, columns)
        for _ in range(num_steps):
            step()
        cache.high_water = idle_column

    def _step(self, rows: int, columns: int) -> Step:
        """Return the graph of a bucket, captured now if there is none."""
        addresses = self._addresses()
        if addresses != self._captured_at:
            self._graphs.clear()
            self._captured_at = addresses
        sampling = self._loop.lanes.sampling
        drawing = (sampling.temperature, sampling.top_k, sampling.top_p)
        key = (rows, columns, sampling.is_greedy, *drawing)
        if key not in self._graphs:
            facts_FN = self._loop.lanes.facts_FN
            before_FN = facts_FN.clone()
            self._graphs[key] = self._capture(lambda: self._loop.step(rows, columns))
            # Capturing warms up by real steps. What else they wrote, the next step writes again.
            facts_FN.copy_(before_FN)
            self.num_captures += 1
        return self._graphs[key]

    def _addresses(self) -> tuple[int, ...]:
        """Return something that changes whenever what a graph reads has moved."""
        loop = self._loop
        weights = (parameter.data_ptr() for parameter in loop.network.parameters())
        return (loop.cache.num_growths, loop.lanes.num_growths, *weights)


def bucket_of_rows(num_rows: int, most: int) -> int:
    """Return the power of two at or above `num_rows`, at most `most`.

    >>> [bucket_of_rows(n, 24) for n in (1, 3, 8, 17)]
    [1, 4, 8, 24]
    """
    return min(1 << (num_rows - 1).bit_length(), most)


def bucket_of_columns(num_columns: int) -> int:
    """Return a multiple of 128 at or above `num_columns`, an eighth more than needed at most.

    Long dialogues get coarser buckets, so that their graphs stay few.

    >>> [bucket_of_columns(n) for n in (1, 128, 129, 3000)]
    [128, 128, 256, 3072]
    """
    grain = max(_COLUMNS, 1 << max(num_columns.bit_length() - 4, 0))
    return math.ceil(num_columns / grain) * grain


class StepCapture:
    """Captures steps on the current CUDA device (unmeasured).

    All graphs share one pool of memory: they are replayed one after the other, and what a step
    leaves in the pool is never read after it.
    """

    def __init__(self) -> None:
        self._pool: Any = None  # an opaque handle

    def __call__(self, step: Step) -> Step:
        """Return a replay of `step`; what outlives the step must be allocated before."""
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_NUM_WARM_UPS):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            step()
        replay: Step = graph.replay
        return replay
