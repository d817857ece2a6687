"""Shapes have the sizes that they are named for; a countdown model counts down."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.shape import (
    SHAPES,
    Shape,
    build_model,
    count_parameters,
    countdown_id,
    countdown_model,
    key_value_bytes,
    make_config,
    matmul_parameters,
    output_parameters,
)
from tests.benchmarks.micro import FIELDS, MICRO

CPU, META = torch.device("cpu"), torch.device("meta")
# Of the last four, what their authors publish.
SIZES = {
    "1m": 1_049_728,
    "5m": 4_852_992,
    "smollm2-135m": 134_515_008,
    "qwen2.5-0.5b": 494_032_768,
    "smollm2-1.7b": 1_711_376_384,
    "opt-1.3b": 1_315_758_080,
}


def test_every_shape_has_its_size_here() -> None:
    assert SIZES.keys() == SHAPES.keys()


@pytest.mark.parametrize("name", sorted(SIZES))
def test_a_shape_has_the_parameters_of_its_model(name: str) -> None:
    model = build_model(SHAPES[name], seed=0, device=META, dtype=torch.bfloat16)
    assert count_parameters(model) == SIZES[name]
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_the_sizes_of_a_model_by_hand() -> None:
    model = build_model(MICRO, seed=0, device=CPU, dtype=torch.float32)
    width, inner, layers, ids = 32, 64, 2, 200
    head_width, heads, key_heads = 8, 4, 2
    attention = width * head_width * (2 * heads + 2 * key_heads)
    matrices = layers * (attention + 3 * width * inner)
    norms = (2 * layers + 1) * width
    assert output_parameters(model) == ids * width
    assert matmul_parameters(model) == matrices + ids * width
    assert count_parameters(model) == matrices + norms + ids * width  # tied
    cached = 2 * layers * key_heads * head_width
    assert key_value_bytes(model.config, torch.float32) == 4 * cached
    assert key_value_bytes(model.config, torch.bfloat16) == 2 * cached


def test_the_same_seed_gives_the_same_weights_and_no_other_state_moves() -> None:
    before = torch.get_rng_state()
    one, same, other = (
        build_model(MICRO, seed=seed, device=CPU, dtype=torch.float32)
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(one.parameters(), same.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in pairs)


OPT = replace(
    SHAPES["opt-1.3b"],
    fields={
        **SHAPES["opt-1.3b"].fields,
        "vocab_size": 200,
        "hidden_size": 64,
        "word_embed_proj_dim": 64,
        "ffn_dim": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    },
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [SHAPES["1m"], SHAPES["5m"], OPT])
def test_a_countdown_model_counts_down_from_the_last_id(
    shape: Shape, dtype: torch.dtype
) -> None:
    model = countdown_model(shape, seed=0, device=CPU, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    ids_BS = torch.randint(130, 200, (20, 12), generator=generator)
    ids_BS[:, -1] = torch.arange(1, 21)
    for _ in range(20):
        with torch.no_grad():
            log_probs_BV = model(ids_BS).logits[:, -1].float().log_softmax(-1)
        said_B = log_probs_BV.argmax(-1)
        running = ids_BS[:, -1] != countdown_id(0)
        assert torch.equal(said_B[running], ids_BS[running, -1] - 1)
        # Sampling leaves the path once in ten thousand tokens at most.
        assert log_probs_BV.max(-1).values[running].min() > -1e-4
        ids_BS = torch.cat([ids_BS, said_B[:, None]], dim=1)


def test_a_plain_model_does_not_count_down() -> None:
    model = build_model(SHAPES["1m"], seed=0, device=CPU, dtype=torch.float32)
    ids_B1 = torch.arange(1, 21)[:, None]
    assert not torch.equal(model(ids_B1).logits[:, -1].argmax(-1), ids_B1[:, 0] - 1)


def test_a_countdown_costs_no_layer() -> None:
    plain = build_model(MICRO, seed=0, device=CPU, dtype=torch.float32)
    counting = countdown_model(MICRO, seed=0, device=CPU, dtype=torch.float32)
    assert matmul_parameters(counting) == matmul_parameters(plain)


def test_rows_that_do_not_fill_their_groups_are_refused() -> None:
    assert MICRO.with_rows(2).group_size == 2
    assert MICRO.with_rows(12).group_size == 4
    with pytest.raises(ValueError, match="num_rows=6 must be a multiple of group_size"):
        MICRO.with_rows(6)


def test_real_weights_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="no real weights for the shape 'micro'"):
        build_model(
            MICRO, seed=0, device=CPU, dtype=torch.float32, has_real_weights=True
        )


def test_a_config_has_the_fields_of_its_shape() -> None:
    config = make_config(MICRO, tie_word_embeddings=False)
    assert config.hidden_size == FIELDS["hidden_size"]
    assert not config.tie_word_embeddings
