"""DeepSpeed's own engines as peers: the plain engine and the hybrid engine as it comes.

Beside `agents.engine.hybrid` the only file that imports deepspeed: what is measured here is what
DeepSpeed does by itself, without anything of ours in between.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import deepspeed
import torch
from torch.distributed import HashStore  # type: ignore[attr-defined]
from transformers import PreTrainedModel

from benchmarks.decoding import Speak, generate_speaker
from benchmarks.workload import Plan

__all__ = ["engine_speaker", "hybrid_speaker"]


def engine_speaker(model: PreTrainedModel, plan: Plan) -> Speak:
    """Return `generate` of the module inside a plain `DeepSpeedEngine`."""
    engine = _initialize(model, is_hybrid=False)
    engine.eval()
    return generate_speaker(engine.module, plan)


def hybrid_speaker(model: PreTrainedModel, plan: Plan) -> Speak:
    """Return `DeepSpeedHybridEngine.generate`, kernels injected.

    Raises:
        Exception: whatever DeepSpeed raises for a family or device that it does not know.
    """
    engine = _initialize(model, is_hybrid=True, max_tokens=plan.longest)
    engine.eval()
    return generate_speaker(engine.module, plan, engine=engine)


def _initialize(
    model: PreTrainedModel, *, is_hybrid: bool, max_tokens: int = 1
) -> deepspeed.DeepSpeedEngine:
    config = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {"stage": 0},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": None,
        "hybrid_engine": {"enabled": is_hybrid, "max_out_tokens": max_tokens},
    }
    with _alone():
        engine, *_ = deepspeed.initialize(
            model=model,
            optimizer=torch.optim.AdamW(model.parameters(), lr=0.0),
            config=config,
            dist_init_required=False,
        )
    return engine


@contextmanager
def _alone() -> Iterator[None]:
    """Be a process group of one; DeepSpeed asserts LOCAL_RANK though there is no launcher."""
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group(
            backend, store=HashStore(), rank=0, world_size=1
        )
    before = os.environ.get("LOCAL_RANK")
    os.environ.setdefault("LOCAL_RANK", "0")
    try:
        yield
    finally:
        if before is None:
            del os.environ["LOCAL_RANK"]
