"""A decoding step as a flat list of operations: on a CPU Python costs more than the arithmetic.

`torch.jit.trace` records what one step does to tensors; replayed, it skips the family's Python, for
any number of lanes and columns. Everything the step reads (weights, caches, lanes) is an argument,
so nothing is copied and nothing goes stale. `torch.compile` would need a compiler and a minute.

A family whose forward looks at a tensor's value (routing, rotary scales that depend on the length)
would be recorded with that one outcome. The tracer warns of each such look; those outside this
package and torch's own layers, which look at sizes, are taken as a refusal, and that network is
run as it is.

Shape legend: N lanes, K columns.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from agents.engine.step_loop import StepLoop

__all__ = ["StepTraces", "TracedRunner"]

_LOGGER = logging.getLogger(__name__)
_TRUSTED = {Path(__file__).parent, Path(nn.__file__).parent}
_TracerWarning = torch.jit.TracerWarning  # type: ignore[attr-defined]
_LEAST_LANES = (
    2  # of an example: of a single lane it would be recorded that there is one
)

Traced = Callable[..., torch.Tensor]
# A tensor of a network, and where its modules keep it: tied weights are in several places.
_Kept = tuple[torch.Tensor, list[tuple[dict[str, Any], str]]]


class StepTraces:
    """The traced steps of one network, one for each way of drawing; decoders come and go.

    Attributes:
        refusal: why the network cannot be traced; None as long as nothing spoke against it.
    """

    def __init__(self) -> None:
        self.refusal: str | None = None
        self._steps: dict[tuple[object, ...], Traced] = {}

    def step_of(self, loop: StepLoop, num_lanes: int, reach: int) -> Traced | None:
        """Return the traced step that `loop` would take, recorded now if there is none yet.

        Nothing of the loop has changed afterwards that the step itself does not write again.
        """
        sampling = loop.lanes.sampling
        drawing = (sampling.temperature, sampling.top_k, sampling.top_p)
        modules = tuple(map(id, loop.network.modules()))
        key = (sampling.is_greedy, *drawing, modules)
        is_single = num_lanes < _LEAST_LANES
        if step := self._steps.get((*key, False)):
            return step
        if self.refusal is None and (*key, is_single) not in self._steps:
            self._record((*key, is_single), loop, num_lanes, reach)
        return self._steps.get((*key, is_single))

    def _record(
        self, key: tuple[object, ...], loop: StepLoop, num_lanes: int, reach: int
    ) -> None:
        example = _arguments(loop, num_lanes, reach)
        facts, *others = example[2]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                trace: Callable[..., Traced] = torch.jit.trace
                self._steps[key] = trace(
                    _function(loop),
                    (*example[:2], [facts.clone(), *others], *example[3:]),
                    check_trace=False,
                )
            except (RuntimeError, TypeError, ValueError, AttributeError) as error:
                self._refuse(loop, f"{type(error).__name__}: {error}")
        looks = [
            f"{warning.filename}:{warning.lineno}"
            for warning in caught
            if issubclass(warning.category, _TracerWarning)
            and _TRUSTED.isdisjoint(Path(warning.filename).parents)
        ]
        if looks:
            self._steps.pop(key, None)
            self._refuse(loop, f"it looks at values in {', '.join(sorted(set(looks)))}")

    def _refuse(self, loop: StepLoop, reason: str) -> None:
        self.refusal = reason
        family = type(loop.network.language_model).__name__
        _LOGGER.warning(
            "%s is decoded without tracing, more slowly: %s", family, reason
        )


class TracedRunner:
    """Runs the steps of a `StepLoop` traced where that is possible, and else as they are.

    Args:
        loop: whose steps are run.
        traces: those of the same network, kept from decoder to decoder.
    """

    steps_per_look = 1

    def __init__(self, loop: StepLoop, traces: StepTraces) -> None:
        self._loop = loop
        self._traces = traces
        self._column_K = torch.arange(0)
        self._step: Traced | None = None
        self._rest: tuple[Any, ...] = ()
        self._key: tuple[object, ...] | None = None

    def run(self, num_lanes: int, reach: int, num_steps: int) -> None:
        """Take several steps; see `StepLoop.run`."""
        self._loop.cache.make_room(reach + num_steps - 1)
        for step in range(num_steps):
            self._run(num_lanes, reach + step)

    def _run(self, num_lanes: int, reach: int) -> None:
        cache, lanes = self._loop.cache, self._loop.lanes
        # Weights and storage stay where they are during a call, if the storage has not grown.
        is_single = num_lanes < _LEAST_LANES
        key = (lanes.num_calls, lanes.num_growths, cache.num_growths, is_single)
        if key != self._key:
            self._key = key
            self._step = self._traces.step_of(self._loop, num_lanes, reach)
            self._rest = _arguments(self._loop, num_lanes, reach)[2:]
            self._column_K = torch.arange(cache.capacity)
        if self._step is None:
            self._loop.step(num_lanes, reach)
            return
        with torch.inference_mode():  # a third of a small operation is autograd's bookkeeping
            self._step(lanes.lane_N[:num_lanes], self._column_K[:reach], *self._rest)


def _arguments(loop: StepLoop, num_lanes: int, reach: int) -> tuple[Any, ...]:
    """Return what `_function` takes; the weights as aliases without gradients."""
    weights = [tensor.detach() for tensor, _ in _kept_tensors(loop.network)]
    return (
        loop.lanes.lane_N[:num_lanes],
        torch.arange(reach),
        loop.lanes.tensors(),
        loop.cache.tensors(),
        weights,
    )


def _function(loop: StepLoop) -> Callable[..., torch.Tensor]:
    """Return the step of `loop` as a function of all tensors that it reads and writes."""
    network, context_length = loop.network, loop.context_length

    def step(
        lane_N: torch.Tensor,
        column_K: torch.Tensor,
        state: list[torch.Tensor],
        stored: list[torch.Tensor],
        weights: list[torch.Tensor],
    ) -> torch.Tensor:
        with _weights_of(network, weights):
            lanes = loop.lanes.over(state)
            cache = loop.cache.over(stored)
            # Sizes of arguments stay sizes in the trace; numbers would be constants.
            StepLoop(network, cache, lanes, context_length).step(
                lane_N.shape[0], column_K.shape[0]
            )
        return lanes.facts_FN

    return step


@contextmanager
def _weights_of(network: nn.Module, weights: Sequence[torch.Tensor]) -> Iterator[None]:
    """Let the modules of `network` use other tensors inside the block.

    `torch.func.functional_call` does the same, but refuses to be traced.
    """
    kept = _kept_tensors(network)
    for (_, places), weight in zip(kept, weights, strict=True):
        for owner, name in places:
            owner[name] = weight
    try:
        yield
    finally:
        for tensor, places in kept:
            for owner, name in places:
                owner[name] = tensor


def _kept_tensors(network: nn.Module) -> list[_Kept]:
    """Return parameters and buffers, each once."""
    kept: dict[int, _Kept] = {}
    for module in network.modules():
        for owner in (module._parameters, module._buffers):
            for name, tensor in owner.items():
                if tensor is not None:
                    kept.setdefault(id(tensor), (tensor, []))[1].append((owner, name))
    return list(kept.values())
