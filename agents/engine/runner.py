"""Which way of taking decoding steps is the fastest where the weights are."""

from __future__ import annotations

from agents.engine.cuda_graph import GraphRunner
from agents.engine.step_loop import StepLoop, StepRunner
from agents.engine.traced_step import StepTraces, TracedRunner

__all__ = ["run_on"]


def run_on(loop: StepLoop, traces: StepTraces | None) -> StepRunner:
    """Return what runs the steps of `loop`: captured graphs on CUDA, elsewhere traced steps.

    Args:
        loop: whose steps are run.
        traces: those of the same network; None where it cannot be traced.
    """
    if loop.network.forbidden_V.device.type == "cuda":
        return GraphRunner(loop)
    return loop if traces is None else TracedRunner(loop, traces)
