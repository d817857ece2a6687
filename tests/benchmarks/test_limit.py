"""Bounds: worked out by hand for a model that is small enough."""

from __future__ import annotations

import pytest
import torch

from benchmarks.limit import (
    DeviceRate,
    decode_bound,
    measure_rate,
    step_bytes,
    training_flops,
)
from benchmarks.shape import build_model
from tests.benchmarks.micro import MICRO

WIDTH, INNER, LAYERS, IDS = 32, 64, 2, 200
BODY = LAYERS * (WIDTH * 8 * (2 * 4 + 2 * 2) + 3 * WIDTH * INNER)
HEAD = IDS * WIDTH


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_decode_step_reads_weights_once_and_every_rows_cache(
    dtype: torch.dtype,
) -> None:
    model = build_model(MICRO, seed=0, device=torch.device("cpu"), dtype=dtype)
    length = 6 + 5 // 2
    cached = 8 * length * 2 * LAYERS * 2 * 8
    expected = (BODY + HEAD + cached) * dtype.itemsize
    assert step_bytes(model, MICRO) == expected
    rate = DeviceRate(bytes_per_second=10.0 * expected, flops_per_second=1.0)
    assert decode_bound(model, MICRO, rate) == pytest.approx(80)


def test_the_operations_of_an_update() -> None:
    cpu = torch.device("cpu")
    model = build_model(MICRO, seed=0, device=cpu, dtype=torch.float32)
    rows, length, replied = 8, 6 + 5, 8 * 5
    forward = 2 * (rows * length * BODY + replied * HEAD)
    # Scores and sums with the values, over half of all pairs.
    forward += LAYERS * 2 * (2 * rows * length * length // 2 * WIDTH)
    assert training_flops(model, MICRO) == 3 * forward


def test_the_rates_of_this_machine_have_the_right_unit() -> None:
    rate = measure_rate(torch.device("cpu"), torch.float32)
    assert 1e8 < rate.bytes_per_second < 1e13
    assert 1e8 < rate.flops_per_second < 1e15
