"""What the device could do at most: its memory bandwidth, its matmul rate, and the bounds they set.

A decode step reads every weight that multiplies and every key and value that is attended to; it
cannot be faster than the bandwidth allows. A training step cannot be faster than its
multiplications. Both rates are measured here, on the device, with the dtype of the run. Where the
weights fit into a cache, as those of small shapes do on a CPU, a share above 1 of the bandwidth
bound is no error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from benchmarks.shape import (
    Shape,
    key_value_bytes,
    matmul_parameters,
    output_parameters,
)

__all__ = [
    "DeviceRate",
    "decode_bound",
    "measure_rate",
    "step_bytes",
    "training_flops",
]

_REPEATS = 30  # of some ten milliseconds each: enough for a quiet one among them


@dataclass(frozen=True)
class DeviceRate:
    """What was measured on the device.

    Attributes:
        bytes_per_second: of a copy, bytes read and bytes written both counted.
        flops_per_second: of a square matrix product, two for each multiply-add.
    """

    bytes_per_second: float
    flops_per_second: float


def measure_rate(device: torch.device, dtype: torch.dtype) -> DeviceRate:
    """Measure both, each the best of a few: a limit is not a typical value."""
    is_cuda = device.type == "cuda"
    num_bytes, width = (2**30, 8192) if is_cuda else (2**28, 1024)
    source = torch.ones(num_bytes // 4, device=device)
    target = torch.empty_like(source)
    copying = _best(lambda: target.copy_(source), device)
    generator = torch.Generator(device=device).manual_seed(0)
    square = torch.randn((width, width), generator=generator, device=device).to(dtype)
    product = torch.empty_like(square)
    multiplying = _best(lambda: torch.mm(square, square, out=product), device)
    return DeviceRate(2 * num_bytes / copying, 2 * width**3 / multiplying)


def _best(work: Callable[[], object], device: torch.device) -> float:
    """Return the least seconds of one call, out of a few after the first."""
    seconds = []
    for _ in range(1 + _REPEATS):
        _wait(device)
        began = time.perf_counter()
        work()
        _wait(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def step_bytes(model: PreTrainedModel, shape: Shape) -> int:
    """Return the bytes that a decode step must read: weights once, keys and values of every row.

    Rows are half-way through their replies: the mean over a reply's steps.
    """
    dtype = next(model.parameters()).dtype
    length = shape.prompt_length + shape.reply_length // 2
    cached = shape.num_rows * length * key_value_bytes(model.config, dtype)
    return matmul_parameters(model) * dtype.itemsize + cached


def decode_bound(model: PreTrainedModel, shape: Shape, rate: DeviceRate) -> float:
    """Return the tokens a second that the measured bandwidth allows."""
    return shape.num_rows * rate.bytes_per_second / step_bytes(model, shape)


def training_flops(model: PreTrainedModel, shape: Shape) -> int:
    """Return the operations of one update on `shape`: forward, and twice that backward.

    Two for each multiply-add. The output layer counts at the replies' tokens alone, attention at
    half of all pairs. Nothing is taken off for a prompt that a group shares: that is the engine's
    to save.
    """
    length = shape.prompt_length + shape.reply_length
    text: Any = model.config.get_text_config()
    body = matmul_parameters(model) - output_parameters(model)
    products = shape.num_rows * length * body
    products += shape.num_tokens * output_parameters(model)
    # Scores and their sums with the values: two products of the width for each pair, halved.
    attention = shape.num_rows * length**2 * text.hidden_size * text.num_hidden_layers
    return int(3 * 2 * (products + attention))
