"""The user's DeepSpeed configuration and ours, as one; contradictions are named."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["build_config", "merge_config", "zero_stage"]

# Sections for which this project has settings of its own; DeepSpeed would ignore them silently.
_OURS = {
    "optimizer": "TrainingConfig has the optimizer's settings (AdamW)",
    "scheduler": "the trainer sets the learning rate of each update",
    "fp16": "train in float32, or in bfloat16 by dtype=torch.bfloat16",
}
_MOST_IN_A_BUCKET = 500_000_000  # DeepSpeed's own default


def build_config(
    options: Mapping[str, Any],
    *,
    max_grad_norm: float,
    dtype: torch.dtype,
    num_parameters: int,
) -> dict[str, Any]:
    """Return what `deepspeed.initialize` gets.

    Args:
        options: the user's, from a DeepSpeed JSON file perhaps.
        max_grad_norm: global norm of the gradient after clipping.
        dtype: of the weights.
        num_parameters: of the network; no bucket of gradients is larger, unless `options` say so.

    Raises:
        ValueError: `options` contradict ours, or the dtype; names the key and both values.
    """
    for section, lesson in _OURS.items():
        if section in options:
            raise ValueError(
                f"The DeepSpeed configuration has a section {section!r}, which this engine does "
                f"not read: {lesson}; leave it out."
            )
    stage = zero_stage(options, dtype)
    ours: dict[str, Any] = {
        # DeepSpeed wants a batch size; with unmanaged accumulation it means nothing: each
        # step() applies whatever backward() has gathered.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": max_grad_norm,
        "zero_optimization": {"stage": stage},
        "hybrid_engine": {"enabled": True},
        "steps_per_print": None,
        "zero_allow_untested_optimizer": True,
        # Ours is torch's AdamW wherever its state lies, so that the arithmetic is the same.
        "zero_force_ds_cpu_optimizer": False,
    }
    if stage > 0 and dtype is torch.bfloat16:
        # With masters in float32. A gradient that is not finite skips the update, as it does in
        # float32.
        ours["bf16"] = {"enabled": True, "check_grad_overflow": True}
    elif options.get("bf16", {}).get("enabled"):
        raise ValueError(
            f"The DeepSpeed configuration enables bf16, but the weights are {dtype} at ZeRO stage "
            f"{stage}: load the model with dtype=torch.bfloat16 and take a stage from 1 to 3, "
            "which keep float32 masters."
        )
    merged = merge_config(ours, options)
    # Left alone, ZeRO sets 2 GB aside for a model of any size.
    bucket = min(num_parameters, _MOST_IN_A_BUCKET)
    merged["zero_optimization"].setdefault("reduce_bucket_size", bucket)
    return merged


def zero_stage(options: Mapping[str, Any], dtype: torch.dtype) -> int:
    """Return the ZeRO stage asked for; without one 0, or 1 for bfloat16, which needs masters.

    Raises:
        ValueError: it is none of 0, 1, 2, 3.
    """
    zero = options.get("zero_optimization", {})
    default = 1 if dtype is torch.bfloat16 else 0
    stage = zero.get("stage", default) if isinstance(zero, Mapping) else zero
    if type(stage) is not int or not 0 <= stage <= 3:
        raise ValueError(
            f"zero_optimization.stage must be 0, 1, 2 or 3, got {stage!r} (0 shards nothing, 1 the "
            "optimizer's state, 2 the gradients too, 3 the weights too)."
        )
    return stage


def merge_config(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return both configurations as one.

    Raises:
        ValueError: they contradict each other; names the key, their value and ours.

    >>> merge_config({"zero": {"stage": 0}}, {"zero": {"reduce_scatter": True}})
    {'zero': {'stage': 0, 'reduce_scatter': True}}
    """
    merged = copy.deepcopy(dict(ours))
    for key, value in theirs.items():
        if key not in merged:
            merged[key] = copy.deepcopy(value)
        elif isinstance(merged[key], Mapping) and isinstance(value, Mapping):
            try:
                merged[key] = merge_config(merged[key], value)
            except ValueError as error:
                raise ValueError(f"In {key!r}: {error}") from None
        elif merged[key] != value:
            raise ValueError(
                f"The DeepSpeed configuration sets {key!r} to {value!r}, this engine needs "
                f"{merged[key]!r}; leave the key out (TrainingConfig has the optimizer's settings)."
            )
    return merged
