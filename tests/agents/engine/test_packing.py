"""Packing changes what is computed how often, and no number."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from agents.engine import packed_attention
from agents.engine.language_model import Evaluation, TokenBatch
from agents.engine.local import LocalLM
from agents.engine.packed_attention import PackedMask
from agents.engine.packing import PackedTokens, pack_tokens
from tests.agents.engine.toy import FAMILIES, VOCAB, batch_of, toy_lm

# (group, prompt length, own length): two groups of different prompts and one dialogue alone.
SHAPES = [(0, 9, 5), (1, 4, 12), (0, 9, 1), (2, 7, 7), (1, 4, 3), (0, 9, 8)]


def grouped_batch(
    seed: int = 0, shapes: list[tuple[int, int, int]] = SHAPES
) -> TokenBatch:
    """Dialogues that begin with their group's prompt; after it, tokens by turns the agent's."""
    rng = np.random.default_rng(seed)
    prompts = {g: rng.integers(0, VOCAB, size=length) for g, length, _ in shapes}
    dialogues, masks = [], []
    for group, length, own in shapes:
        dialogues.append(np.concatenate([prompts[group], rng.integers(0, VOCAB, own)]))
        mask = np.zeros(length + own, dtype=np.bool_)
        mask[length:] = rng.random(own) < 0.6
        mask[length : length + 1] = True
        masks.append(mask)
    return batch_of(dialogues, masks)


def evaluate_alone(lm: LocalLM, batch: TokenBatch) -> Evaluation:
    """The same, one dialogue at a time: nothing is shared, nothing padded."""
    shape = batch.input_ids.shape
    rows = []
    for row, length in enumerate(batch.lengths.tolist()):
        one = TokenBatch(
            batch.input_ids[row : row + 1, :length],
            batch.lengths[row : row + 1],
            batch.action_mask[row : row + 1, :length],
        )
        rows.append(lm.evaluate(one, temperature=0.8))
    columns = []
    for field in dataclasses.fields(Evaluation):
        column = torch.zeros(shape)
        for row, evaluation in enumerate(rows):
            values = getattr(evaluation, field.name)
            column[row, : values.shape[1]] = values[0]
        columns.append(column)
    return Evaluation(*columns)


def gradients(lm: LocalLM, evaluation: Evaluation) -> dict[str, torch.Tensor]:
    """Gradients of a sum in which each log-prob, entropy and value has a weight of its own."""
    total = torch.zeros(())
    for k, field in enumerate(dataclasses.fields(evaluation)):
        values = getattr(evaluation, field.name)
        weights = torch.linspace(-1, 2 + k, values.numel()).view_as(values)
        total = total + (values * weights).sum()
    lm.network.zero_grad()
    total.backward()  # type: ignore[no-untyped-call]
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in lm.network.named_parameters()
    }


def assert_same(lm: LocalLM, batch: TokenBatch) -> None:
    got = lm.evaluate(batch, temperature=0.8)
    alone = evaluate_alone(lm, batch)
    for field in dataclasses.fields(Evaluation):
        one, other = getattr(got, field.name), getattr(alone, field.name)
        torch.testing.assert_close(one, other, atol=3e-5, rtol=1e-4, msg=field.name)
    expected = gradients(lm, alone)
    # Some gradients are 0 but for rounding: that of a key's bias, say.
    atol = 1e-5 * max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in gradients(lm, got).items():
        torch.testing.assert_close(
            gradient, expected[name], atol=atol, rtol=1e-3, msg=name
        )


def with_values(family: str) -> LocalLM:
    lm = toy_lm(family, has_value_head=True)
    head = lm.network.value_head
    assert head is not None
    with torch.no_grad():
        head.weight.copy_(torch.linspace(-1, 1, len(head.weight)))
    return lm


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_prompts_change_no_value_and_no_gradient(family: str) -> None:
    assert_same(with_values(family), grouped_batch())


def test_the_attention_of_the_module_is_restored() -> None:
    lm = toy_lm()
    before = lm.module.config._attn_implementation
    lm.evaluate(grouped_batch())
    assert lm.module.config._attn_implementation == before
    plain = lm.module(torch.arange(6)[None]).logits
    assert torch.isfinite(plain).all()


def test_a_prompt_is_laid_down_once_for_its_group() -> None:
    tokens = pack_tokens(grouped_batch())
    assert len(tokens) == (9 + 5 + 1 + 8) + (4 + 12 + 3) + (7 + 7)
    assert len(pack_tokens(grouped_batch(), is_sharing=False)) == sum(
        length + own for _, length, own in SHAPES
    )


@pytest.mark.parametrize("family", ["llama-grouped", "gemma2", "cohere"])
def test_chunks_of_logits_change_no_value_and_no_gradient(family: str) -> None:
    """Scaled (Cohere) and capped (Gemma 2) logits too: the family's own forward makes them."""
    lm, batch = with_values(family), grouped_batch()
    whole = lm.evaluate(batch, temperature=0.8)
    expected = gradients(lm, whole)
    lm.network.max_logits = 5 * VOCAB
    parts = lm.evaluate(batch, temperature=0.8)
    for field in dataclasses.fields(Evaluation):
        one, other = getattr(parts, field.name), getattr(whole, field.name)
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    for name, gradient in gradients(lm, parts).items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-4, rtol=1e-4)


def test_no_more_logits_than_asked_for_exist_at_once() -> None:
    lm = toy_lm()
    lm.network.max_logits = 4 * VOCAB
    seen: list[int] = []
    head = lm.module.get_output_embeddings()
    head.register_forward_hook(lambda _, __, out: seen.append(out.shape[-2]))
    batch = grouped_batch()
    lm.evaluate(batch).log_probs.sum().backward()
    assert max(seen) == 4
    num_said = int(batch.action_mask.sum())
    # Each chunk twice: in the forward, and anew in the backward; one place for the states.
    assert sum(seen) == 1 + 2 * num_said


def test_a_dialogue_without_the_agent_is_a_prompt() -> None:
    lm = with_values("llama-grouped")
    batch = grouped_batch(shapes=[(0, 6, 0), (0, 6, 0), (1, 5, 4)])
    batch.action_mask[:2] = False
    assert len(pack_tokens(batch)) == 6 + 5 + 4
    assert_same(lm, batch)


def brute_force(batch: TokenBatch, tokens: PackedTokens) -> None:
    """Every real token has a place with its own id and position; lanes lead to all places."""
    place, lengths = tokens.place.numpy(), batch.lengths.numpy()
    for row, length in enumerate(lengths):
        ids = tokens.ids[0, place[row, :length]]
        assert torch.equal(ids, batch.input_ids[row, :length])
        assert tokens.positions[0, place[row, :length]].tolist() == list(range(length))
    real = [set(place[row, :length]) for row, length in enumerate(lengths)]
    assert set().union(*real) == set(range(len(tokens)))
    lanes = torch.cat([tokens.own.flatten(), tokens.shared.flatten()])
    assert lanes[tokens.source].tolist() == list(range(len(tokens)))
    assert (tokens.own_positions < batch.lengths[:, None]).all()


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(0, 6)),
        min_size=1,
        max_size=8,
    ),
    st.booleans(),
)
def test_any_batch_is_laid_down_whole(
    drawn: list[tuple[int, int, int]], is_sharing: bool
) -> None:
    length_of = {group: length for group, length, _ in drawn}
    shapes = [(group, length_of[group], own) for group, _, own in drawn]
    batch = grouped_batch(shapes=shapes)
    tokens = pack_tokens(batch, is_sharing=is_sharing)
    brute_force(batch, tokens)
    if not is_sharing:
        assert len(tokens) == int(batch.lengths.sum())


@pytest.mark.parametrize("family", ["llama-grouped", "gemma2"])
def test_dialogues_of_one_token_of_their_own_have_gradients_too(family: str) -> None:
    """One query a row is what the decoder's own product is for; here it is trained through."""
    assert_same(
        with_values(family), grouped_batch(shapes=[(0, 7, 1), (0, 7, 1), (1, 3, 1)])
    )


def attend_to_sequences(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_ends: torch.Tensor,
    key_ends: torch.Tensor,
    longest_query: int,
    longest_key: int,
    *,
    scale: float | None,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """What `torch.nn.attention.varlen.varlen_attn` documents, one sequence at a time."""
    assert query_ends.dtype is key_ends.dtype is torch.int32
    assert window_size == (-1, 0)
    assert enable_gqa == (query.shape[1] != key.shape[1])
    outputs = []
    bounds = zip(
        query_ends[:-1], query_ends[1:], key_ends[:-1], key_ends[1:], strict=True
    )
    for first_query, last_query, first_key, last_key in bounds:
        q = query[first_query:last_query].transpose(0, 1)
        k, v = (x[first_key:last_key].transpose(0, 1) for x in (key, value))
        assert q.shape[1] <= longest_query and k.shape[1] <= longest_key
        offset = k.shape[1] - q.shape[1]
        mask = torch.ones(q.shape[1], k.shape[1]).tril(offset).bool()
        output = scaled_dot_product_attention(
            q, k, v, mask, scale=scale, enable_gqa=enable_gqa
        )
        outputs.append(output.transpose(0, 1))
    return torch.cat(outputs)


@pytest.mark.parametrize("family", ["llama", "llama-grouped", "phi", "gpt2"])
def test_sequences_without_padding_give_the_same(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout that CUDA's kernel gets, with a slow stand-in for the kernel."""
    calls: list[bool] = []

    def has_kernel(query: torch.Tensor, mask: PackedMask, options: object) -> bool:
        calls.append(mask.is_causal)
        return True

    monkeypatch.setattr(packed_attention, "_has_kernel", has_kernel)
    monkeypatch.setattr(packed_attention, "varlen_attn", attend_to_sequences)
    lm, batch = with_values(family), grouped_batch()
    got = lm.evaluate(batch, temperature=0.8)
    got_gradients = gradients(lm, got)
    assert calls and all(calls)
    monkeypatch.undo()
    expected = lm.evaluate(batch, temperature=0.8)
    for field in dataclasses.fields(Evaluation):
        one, other = getattr(got, field.name), getattr(expected, field.name)
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    for name, gradient in gradients(lm, expected).items():
        torch.testing.assert_close(got_gradients[name], gradient, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("family", "is_causal"), [("llama", True), ("mistral", False), ("gemma3", False)]
)
def test_a_rule_beyond_causality_is_left_to_the_masks(
    family: str, is_causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules: list[bool] = []

    def has_kernel(query: torch.Tensor, mask: PackedMask, options: object) -> bool:
        rules.append(mask.is_causal)
        return False

    monkeypatch.setattr(packed_attention, "_has_kernel", has_kernel)
    toy_lm(family).evaluate(grouped_batch())
    assert rules and all(rules) == is_causal


def test_a_cpu_has_no_kernel_for_sequences() -> None:
    mask = PackedMask(
        pack_tokens(grouped_batch()), torch.ones(1), torch.ones(1), is_causal=True
    )
    query = torch.zeros(1, dtype=torch.bfloat16)
    assert not packed_attention._has_kernel(query, mask, {})
