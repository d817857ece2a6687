"""A shape so small that a whole measurement of it is a test."""

from __future__ import annotations

from typing import Any

from benchmarks.shape import SHAPES, Shape

FIELDS: dict[str, Any] = {
    **SHAPES["1m"].fields,
    "vocab_size": 200,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "max_position_embeddings": 128,
}
MICRO = Shape(
    name="micro",
    family="Llama",
    fields=FIELDS,
    num_rows=8,
    group_size=4,
    prompt_length=6,
    reply_length=5,
)
