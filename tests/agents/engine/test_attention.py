"""One query a row by two batched products, against the same attention written out."""

from __future__ import annotations

import math

import pytest
import torch

from agents.engine.attention import additive_mask, ragged_attention, ragged_mask
from agents.engine.kv_cache import KeyValueCache

ROWS, COLUMNS, WIDTH = 5, 9, 8


def tensors(heads: int, groups: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Query, and keys and values as the cache hands them over: the first columns of more."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    query = draw(ROWS, heads, 1, WIDTH)
    key, value = (draw(ROWS + 2, groups, COLUMNS + 7, WIDTH) for _ in range(2))
    return [query, key[:ROWS, :, :COLUMNS], value[:ROWS, :, :COLUMNS]]


def written_out(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    scaling: float | None,
    softcap: float | None,
) -> torch.Tensor:
    """(N, 1, H, D) in float64, one head and one row at a time."""
    output = torch.zeros(ROWS, 1, query.shape[1], WIDTH, dtype=torch.float64)
    share = query.shape[1] // key.shape[1]
    for row in range(ROWS):
        seen = mask[row, 0, 0]
        for head in range(query.shape[1]):
            keys = key[row, head // share, seen].double()
            scores = keys @ query[row, head, 0].double()
            scores *= 1 / math.sqrt(WIDTH) if scaling is None else scaling
            if softcap is not None:
                scores = torch.tanh(scores / softcap) * softcap
            values = value[row, head // share, seen].double()
            output[row, 0, head] = scores.softmax(0) @ values
    return output


@pytest.mark.parametrize("softcap", [None, 0.5])
@pytest.mark.parametrize("scaling", [None, 0.7])
@pytest.mark.parametrize("window", [COLUMNS, 3])
@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (6, 2), (3, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_query_a_row(
    heads: int,
    groups: int,
    window: int,
    scaling: float | None,
    softcap: float | None,
    dtype: torch.dtype,
) -> None:
    query, key, value = tensors(heads, groups, dtype)
    mask = ragged_mask(
        ROWS,
        1,
        COLUMNS,
        q_offset=torch.tensor([0, 8, 3, 5, 1]),
        mask_function=lambda row, head, q, k: (k <= q) & (k > q - window),
    )
    # What the mask hides may be anything finite.
    key[1, :, :4], value[0, :, 1:] = 1e4, -1e4
    module = torch.nn.Identity()
    output, _ = ragged_attention(
        module, query, key, value, mask, scaling=scaling, softcap=softcap
    )
    expected = written_out(query, key, value, mask, scaling, softcap)
    torch.testing.assert_close(output.double(), expected, atol=2e-6, rtol=2e-5)


def test_the_mask_is_made_additive_once_and_a_changed_mask_anew() -> None:
    mask = torch.tensor([[True, False], [True, True]])[:, None, None]
    first = additive_mask(mask, 2, 3)
    assert first.shape == (4, 3, 2)
    assert first[:, 0].tolist() == [[0, -math.inf]] * 2 + [[0, 0]] * 2
    assert additive_mask(mask, 2, 3) is first
    assert additive_mask(mask, 1, 3) is not first
    changed = mask.clone()
    changed[0, 0, 0, 1] = True
    assert not additive_mask(changed, 2, 3).any()


@pytest.mark.parametrize("starts", [[3, 3, 3], [0, 5, 2]])
@pytest.mark.parametrize("heads", [1, 3])
def test_rows_written_together_and_apart(starts: list[int], heads: int) -> None:
    """Equal starts are one slice, others lines of memory: the columns are the same."""
    generator = torch.Generator().manual_seed(0)
    cache, expected = KeyValueCache(4, 1), torch.zeros(4, heads, 8, 2)
    new = torch.randn(3, heads, 2, 2, generator=generator)
    cache.begin(slice(1, 4), starts, 2)
    cache.update(new, -new, 0)
    for row, start in enumerate(starts):
        expected[row + 1, :, start : start + 2] = new[row]
    keys, values = cache._layers[0]
    torch.testing.assert_close(keys[:, :, :8], expected)
    torch.testing.assert_close(values[:, :, :8], -expected)
