"""Who else decodes: a name, and how to start it. What cannot start here says why in its row."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from benchmarks.decoding import Speak, batch_speaker, generate_speaker, peer_side
from benchmarks.training import twin
from benchmarks.workload import Plan

__all__ = ["DECODE_PEERS", "Measure", "start_peers"]

Measure = Callable[[], float]


def _static(model: PreTrainedModel, plan: Plan) -> Speak:
    return generate_speaker(model, plan, cache_implementation="static")


def _deepspeed(function: str) -> Callable[[PreTrainedModel, Plan], Speak]:
    def start(model: PreTrainedModel, plan: Plan) -> Speak:
        # By name: DeepSpeed is optional. A model of its own: its engines rebuild what they get.
        module: Any = importlib.import_module("benchmarks.deepspeed_peer")
        speak: Speak = getattr(module, function)(twin(model), plan)
        return speak

    return start


DECODE_PEERS: Mapping[str, Callable[[PreTrainedModel, Plan], Speak]] = {
    "generate": generate_speaker,
    "generate-static": _static,
    "generate-batch": batch_speaker,
    "deepspeed": _deepspeed("engine_speaker"),
    "deepspeed-hybrid": _deepspeed("hybrid_speaker"),
}


def start_peers(
    names: list[str],
    model: PreTrainedModel,
    plan: Plan,
    device: torch.device,
    patience: float,
) -> tuple[dict[str, Measure], dict[str, str]]:
    """Start decode peers and let each play the plan once.

    Args:
        names: keys of `DECODE_PEERS`.
        model: is generated from.
        plan: what they generate.
        device: of the model.
        patience: seconds that a second call may take, where the first took longer.

    Returns:
        Those that play, by name, and for the others why not. A peer that fails, however it
        fails, is no failure of the measurement: its row says what it raised.
    """
    sides: dict[str, Measure] = {}
    reasons: dict[str, str] = {}
    for name in names:
        try:
            side = peer_side(name, DECODE_PEERS[name](model, plan), plan, device)
            seconds = side() * plan.num_tokens
            if seconds > patience:  # the first call may have compiled something
                seconds = side() * plan.num_tokens
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            reasons[name] = f"does not run: {type(error).__name__}: {lines[0]}"
            continue
        if seconds > patience:
            rate = plan.num_tokens / seconds
            reasons[name] = (
                f"too slow to be paired: one call took {seconds:.0f} s "
                f"({rate:.0f} tokens/s)"
            )
            continue
        sides[name] = side
    return sides, reasons
