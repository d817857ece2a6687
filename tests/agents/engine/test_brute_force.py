"""Log-probs, entropies, values and their gradients against loops in float64.

The oracle builds the whole computation again from the module's plain forward, row by row without
padding, and takes the gradient of the same loss through it.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.engine.language_model import Evaluation, TokenBatch
from agents.engine.likelihood import entropy_of
from agents.engine.local import LocalLM
from tests.agents.engine.toy import (
    VOCAB,
    batch_of,
    noise,
    random_contexts,
    toy_lm,
    toy_model,
)


def critic_lm(family: str = "llama-grouped", **options: int) -> LocalLM:
    """A toy whose value head says something."""
    lm = toy_lm(family, has_value_head=True, **options)
    with torch.no_grad():
        lm.network.value_head.weight.normal_(generator=noise(9))
        lm.network.value_head.bias.fill_(0.4)
    return lm


def any_batch(seed: int, lengths: list[int], vocab: int = VOCAB) -> TokenBatch:
    rng = np.random.default_rng(seed)
    dialogues = [rng.integers(0, vocab, size=n) for n in lengths]
    masks = [rng.random(n) < 0.5 for n in lengths]
    for mask in masks:
        mask[0] = False
    return batch_of(dialogues, masks)


def brute_force(
    lm: LocalLM, batch: TokenBatch, temperature: float
) -> tuple[Evaluation, LocalLM]:
    """Return the evaluation in float64, and the model that its gradients belong to."""
    twin = copy.deepcopy(lm.network).double()
    shape = batch.input_ids.shape
    log_probs, entropy, values = (
        torch.zeros(shape, dtype=torch.float64) for _ in "lev"
    )
    for row, length in enumerate(batch.lengths.tolist()):
        ids = batch.input_ids[row, :length]
        output = twin.language_model(ids[None], output_hidden_states=True)
        allowed = (~twin.forbidden_V).nonzero()[:, 0]
        hidden = output.hidden_states[-1][0]
        weight, bias = twin.value_head.weight, twin.value_head.bias
        values[row, :length] = hidden @ weight + bias
        for place in range(length):
            if batch.action_mask[row, place]:
                # Over the allowed ids alone: nothing is masked, so nothing can be NaN.
                at = output.logits[0, place - 1, allowed] / temperature
                logs = at - at.exp().sum().log()
                log_probs[row, place] = logs[allowed == ids[place]].sum()
                entropy[row, place] = -(logs.exp() * logs).sum()
    return Evaluation(log_probs, entropy, values), twin


def loss_of(evaluation: Evaluation, seed: int = 5) -> torch.Tensor:
    """A random linear function of all that an evaluation says."""
    generator = noise(seed)
    parts = (evaluation.log_probs, evaluation.entropy, evaluation.values)
    weights = [
        torch.randn(part.shape, dtype=torch.float64, generator=generator)
        for part in parts
    ]
    return sum((w * p.double()).sum() for w, p in zip(weights, parts, strict=True))


@pytest.mark.parametrize("vocab", [VOCAB, 40, 2])
@pytest.mark.parametrize("family", ["llama-grouped", "gpt2", "opt", "gpt-neox"])
def test_everything_and_every_gradient_is_the_brute_forces(
    family: str, vocab: int
) -> None:
    lm = critic_lm(family, vocab_size=vocab)
    lm.forbid([] if vocab == 2 else [3, 17])
    batch = any_batch(1, [9, 4, 1, 7], vocab)
    batch.input_ids[(batch.input_ids == 3) | (batch.input_ids == 17)] = 1
    got = lm.evaluate(batch, temperature=0.8)
    expected, twin = brute_force(lm, batch, 0.8)
    for name in ("log_probs", "entropy", "values"):
        assert getattr(got, name).dtype == torch.float32
        torch.testing.assert_close(
            getattr(got, name).double(), getattr(expected, name), atol=2e-5, rtol=1e-5
        )
    loss_of(got).backward()
    loss_of(expected).backward()
    pairs = zip(lm.network.parameters(), twin.parameters(), strict=True)
    for parameter, exact in pairs:
        assert parameter.grad.isfinite().all()
        # The bias of a key changes nothing: its gradient is rounding alone.
        scale = exact.grad.abs().max().item() + 0.5
        torch.testing.assert_close(
            parameter.grad.double(), exact.grad, atol=2e-5 * scale, rtol=1e-4
        )


def test_ids_that_cannot_be_said_get_no_gradient_as_outputs() -> None:
    model = toy_model("llama-grouped", tie_word_embeddings=False)
    lm = LocalLM(model, name="untied", vocab_size=40)
    lm.forbid([5])
    batch = any_batch(2, [9, 6], 40)
    batch.input_ids[batch.input_ids == 5] = 6
    out = lm.evaluate(batch)
    (out.log_probs.sum() + out.entropy.sum()).backward()
    gradient = model.get_output_embeddings().weight.grad.abs().sum(-1)
    assert (gradient[40:] == 0).all() and gradient[5] == 0
    assert (gradient[[i for i in range(40) if i != 5]] > 0).all()


@settings(max_examples=15)
@given(
    lengths=st.lists(st.integers(1, 14), min_size=1, max_size=6),
    cuts=st.sets(st.integers(1, 5)),
    extra=st.integers(0, 5),
    fill=st.integers(0, VOCAB - 1),
    order=st.randoms(use_true_random=False),
)
def test_rows_do_not_know_of_each_other(
    lengths: list[int], cuts: set[int], extra: int, fill: int, order
) -> None:
    """Padding, its id, the order of rows, and the split into micro-batches are invisible."""
    lm = critic_lm()
    batch = any_batch(3, lengths)
    whole = lm.evaluate(batch)
    loss_of(whole).backward()
    gradient = torch.cat([p.grad.flatten() for p in lm.network.parameters()])
    lm.network.zero_grad()

    rows = list(range(len(lengths)))
    order.shuffle(rows)
    width = batch.input_ids.shape[1]
    ends = sorted(cut for cut in cuts if cut < len(rows)) + [len(rows)]
    pieces: dict[str, torch.Tensor] = {
        name: torch.zeros(batch.input_ids.shape)
        for name in ("log_probs", "entropy", "values")
    }
    for start, end in zip([0, *ends], ends):
        some = rows[start:end]
        ids = torch.full((len(some), width + extra), fill)
        mask = torch.zeros(ids.shape, dtype=torch.bool)
        for place, row in enumerate(some):
            ids[place, : lengths[row]] = batch.input_ids[row, : lengths[row]]
            mask[place, :width] = batch.action_mask[row]
        part = lm.evaluate(TokenBatch(ids, batch.lengths[some], mask))
        for name, piece in pieces.items():
            assert not getattr(part, name)[:, width:].any()
            pieces[name] = piece.index_put(
                (torch.tensor(some),), getattr(part, name)[:, :width]
            )
    for name, piece in pieces.items():
        torch.testing.assert_close(piece, getattr(whole, name), atol=1e-5, rtol=1e-5)
    loss_of(Evaluation(**pieces)).backward()
    again = torch.cat([p.grad.flatten() for p in lm.network.parameters()])
    scale = gradient.abs().max().item() + 1e-3
    torch.testing.assert_close(again, gradient, atol=1e-5 * scale, rtol=1e-4)


def test_value_of_a_state_stands_one_place_before_the_token_chosen_in_it() -> None:
    """The critic sees what the actor saw and not what it then said."""
    lm = critic_lm()
    dialogue = random_contexts([8])[0]
    mask = np.array([False] * 5 + [True] * 3)
    values = lm.evaluate(batch_of([dialogue], [mask])).values[0].detach()
    for said in range(5, 8):
        other = dialogue.copy()
        other[said] = (other[said] + 1) % VOCAB
        changed = lm.evaluate(batch_of([other], [mask])).values[0].detach()
        assert torch.equal(changed[:said], values[:said])
        assert (changed[said:] != values[said:]).all()
    context = batch_of([dialogue[:5]], [mask[:5]])
    torch.testing.assert_close(lm.evaluate(context).values[0, 4], values[4])


def test_the_same_prompt_gives_the_same_values_whatever_the_mask() -> None:
    lm = critic_lm()
    dialogues = random_contexts([8, 5])
    nothing = [np.zeros(len(ids), dtype=bool) for ids in dialogues]
    everything = [np.arange(len(ids)) > 0 for ids in dialogues]
    first = lm.evaluate(batch_of(dialogues, nothing))
    second = lm.evaluate(batch_of(dialogues, everything))
    assert torch.equal(first.values, second.values)
    assert not first.log_probs.any() and not first.entropy.any()


@given(
    logits=st.lists(
        st.one_of(st.floats(-30, 30, width=32), st.just(-np.inf)),
        min_size=1,
        max_size=12,
    ).filter(lambda row: max(row) > -np.inf)
)
def test_entropy_lies_between_certainty_and_the_uniform(logits: list[float]) -> None:
    row = torch.tensor([logits], requires_grad=True)
    entropy = entropy_of(row, row.logsumexp(-1))
    possible = sum(value > -np.inf for value in logits)
    assert -1e-5 <= entropy.item() <= np.log(possible) + 1e-5
    entropy.sum().backward()
    assert row.grad.isfinite().all()
    # dH/dl_v = -p_v (log p_v + H), and shifting all logits changes nothing.
    probs = row.detach().double().softmax(-1)
    exact = -probs * (probs.clamp(min=1e-300).log() + entropy.item())
    torch.testing.assert_close(row.grad.double(), exact, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("wanted", ["log_probs", "entropy", "values"])
def test_each_output_alone_has_a_gradient_and_none_without_grad(wanted: str) -> None:
    lm = critic_lm()
    batch = any_batch(4, [6, 3])
    getattr(lm.evaluate(batch), wanted).sum().backward()
    moved = {n for n, p in lm.network.named_parameters() if p.grad is not None}
    assert {"value_head.weight", "value_head.bias"} <= moved or wanted != "values"
    touched = [p.grad for p in lm.module.parameters() if p.grad is not None]
    assert touched and max(g.abs().max() for g in touched) > 0
    with torch.no_grad():
        assert not getattr(lm.evaluate(batch), wanted).requires_grad


def test_the_hook_leaves_other_callers_alone() -> None:
    """`module(ids)` between our calls, and after one of them failed, has all its logits."""
    lm = critic_lm()
    batch = any_batch(5, [6, 3])
    plain = lm.module(batch.input_ids).logits
    lm.evaluate(batch)
    assert torch.equal(lm.module(batch.input_ids).logits, plain)
    state = torch.tensor([10**6])  # a place that is not there
    with pytest.raises(IndexError):
        lm.network(batch.input_ids, state)
    assert torch.equal(lm.module(batch.input_ids).logits, plain)
    assert lm.network._hidden_BSW is None  # no graph is kept alive


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"input_ids": torch.full((2, 6), VOCAB)}, rf"from {VOCAB} to {VOCAB}.*0 to"),
        ({"input_ids": torch.full((2, 6), -1)}, "from -1 to -1"),
        ({"input_ids": torch.zeros(12, dtype=torch.long)}, r"must both be \(B, S\)"),
        ({"lengths": torch.tensor([6, 7])}, r"\[1, 6\], got \[6, 7\]"),
        ({"lengths": torch.tensor([6, 0])}, r"\[1, 6\], got \[6, 0\]"),
        ({"lengths": torch.tensor([6])}, r"lengths is \(1,\), expected \(2,\)"),
        ({"action_mask": torch.zeros(2, 6, dtype=torch.long)}, "bool.*int64"),
    ],
)
def test_batches_that_would_be_misread_are_refused(changes: dict, match: str) -> None:
    lm = toy_lm()
    lm.freeze_reference()
    good = any_batch(6, [6, 3])
    bad = TokenBatch(**{**vars(good), **changes})
    for call in (lm.evaluate, lm.reference_log_probs):
        call(good)
        with pytest.raises(ValueError, match=match):
            call(bad)
