from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.engine.language_model import Sampling, TokenBatch
from tests.agents.engine.toy import (
    CONTEXT,
    FAMILIES,
    VOCAB,
    batch_of,
    greedy,
    noise,
    random_contexts,
    replies,
    toy_lm,
)


def mixed_batch() -> TokenBatch:
    """Three rows, agent's tokens scattered over turns, padding of different widths."""
    dialogues = random_contexts([9, 4, 7], seed=3)
    rng = np.random.default_rng(0)
    masks = [rng.random(len(ids)) < 0.5 for ids in dialogues]
    for mask in masks:
        mask[0], mask[-1] = False, True
    return batch_of(dialogues, masks)


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probs_and_entropy_are_those_of_the_plain_forward(family: str) -> None:
    """The whole logits, one row at a time and unpadded, against the chosen ones."""
    lm = toy_lm(family)
    batch = mixed_batch()
    evaluation = lm.evaluate(batch, temperature=1.3)
    for row, length in enumerate(batch.lengths.tolist()):
        ids = batch.input_ids[row, :length]
        plain = (lm.module(ids[None]).logits[0].float() / 1.3).log_softmax(-1)
        for place in range(batch.input_ids.shape[1]):
            expected = torch.zeros(()), torch.zeros(())
            if place < length and batch.action_mask[row, place]:
                step = plain[place - 1]
                expected = step[ids[place]], -(step.exp() * step).sum()
            got = evaluation.log_probs[row, place], evaluation.entropy[row, place]
            torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["llama-grouped", "cohere", "gemma2"])
def test_gradients_are_those_of_the_plain_forward(family: str) -> None:
    lm = toy_lm(family)
    batch = mixed_batch()
    lm.evaluate(batch).log_probs.sum().backward()
    got = {name: p.grad.clone() for name, p in lm.module.named_parameters()}
    lm.module.zero_grad()
    logits = lm.module(batch.input_ids).logits.float().log_softmax(-1)
    chosen = logits[:, :-1].gather(-1, batch.input_ids[:, 1:, None])[..., 0]
    chosen[batch.action_mask[:, 1:]].sum().backward()
    for name, parameter in lm.module.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad, atol=2e-4, rtol=1e-3)


def test_only_the_agents_logits_are_computed() -> None:
    lm = toy_lm()
    batch = mixed_batch()
    shapes = []
    head = lm.module.get_output_embeddings()
    head.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape)))
    lm.evaluate(batch)
    assert shapes == [(1, int(batch.action_mask.sum()), VOCAB)]


def test_padding_and_its_content_do_not_matter() -> None:
    lm = toy_lm(has_value_head=True)
    torch.nn.init.normal_(lm.network.value_head.weight, generator=noise())
    batch = mixed_batch()
    other = batch.input_ids.clone()
    for row, length in enumerate(batch.lengths):
        other[row, length:] = 50
    first = lm.evaluate(batch)
    second = lm.evaluate(TokenBatch(other, batch.lengths, batch.action_mask))
    assert torch.equal(first.log_probs, second.log_probs)
    assert torch.equal(first.values, second.values)
    assert (first.values[1, 4:] == 0).all() and (first.values[1, :4] != 0).all()


def test_values_start_at_zero_and_are_linear_in_the_hidden_state() -> None:
    lm = toy_lm(has_value_head=True)
    batch = mixed_batch()
    assert (lm.evaluate(batch).values == 0).all()
    head = lm.network.value_head
    with torch.no_grad():
        head.weight[3], head.bias[0] = 2.0, 0.25
    hidden = lm.module.model(batch.input_ids).last_hidden_state
    values = lm.evaluate(batch).values
    torch.testing.assert_close(values[0], 2.0 * hidden[0, :, 3] + 0.25)
    # The value of a prefix does not look at what comes after it.
    shorter = batch_of([batch.input_ids[0, :5].numpy()], [np.zeros(5, dtype=bool)])
    torch.testing.assert_close(lm.evaluate(shorter).values[0], values[0, :5])


def test_a_batch_without_actions_still_has_values_and_a_gradient() -> None:
    lm = toy_lm(has_value_head=True)
    batch = batch_of(random_contexts([3]), [np.zeros(3, dtype=bool)])
    evaluation = lm.evaluate(batch)
    (evaluation.log_probs.sum() + evaluation.values.sum()).backward()
    assert lm.network.value_head.bias.grad.item() == 3


def test_no_value_head_gives_zeros() -> None:
    values = toy_lm().evaluate(mixed_batch()).values
    assert values.shape == (3, 9) and (values == 0).all()


def test_vocabulary_mask_holds_in_decoder_trainer_and_reference() -> None:
    lm = toy_lm(vocab_size=40)
    lm.freeze_reference()
    lm.forbid([3, 7])
    contexts = random_contexts([4] * 8)
    sampling = Sampling(max_new_tokens=30, stop_ids=frozenset())
    with lm.decoder(8) as decoder:
        generation = decoder.generate(contexts, range(8), sampling, noise())
    said = {token for reply in replies(generation) for token in reply}
    assert said <= set(range(40)) - {3, 7} and len(said) > 30
    dialogue = np.array([5, 9, 9])
    batch = batch_of([dialogue], [np.array([False, True, False])])
    logits = lm.module(batch.input_ids).logits[0, 0].float()
    allowed = [i for i in range(40) if i not in (3, 7)]
    expected = logits[allowed].log_softmax(-1)[allowed.index(9)]
    torch.testing.assert_close(lm.evaluate(batch).log_probs[0, 1], expected)
    torch.testing.assert_close(lm.reference_log_probs(batch)[0, 1], expected)
    for wrong in (3, 40, VOCAB - 1):
        batch.input_ids[0, 1] = wrong
        with pytest.raises(ValueError, match=rf"\[{wrong}\].*cannot say"):
            lm.evaluate(batch)


def test_masked_ids_send_no_nan_into_the_gradient() -> None:
    lm = toy_lm(vocab_size=40)
    batch = mixed_batch()
    batch.input_ids.remainder_(40)
    evaluation = lm.evaluate(batch)
    (evaluation.entropy.sum() + evaluation.log_probs.sum()).backward()
    assert all(p.grad.isfinite().all() for p in lm.module.parameters())


def test_forbidding_everything_or_nothing_known_is_refused() -> None:
    lm = toy_lm(vocab_size=4)
    with pytest.raises(ValueError, match="no id to say"):
        lm.forbid([0, 1, 2, 3])
    with pytest.raises(ValueError, match=rf"\[{VOCAB}\]"):
        lm.forbid([VOCAB])
    lm.forbid([0, 1, 2])
    with lm.decoder(1) as decoder:
        generation = decoder.generate(random_contexts([3]), [0], greedy(2))
    assert replies(generation) == [[3, 3]]


def test_bad_batches_are_refused() -> None:
    lm = toy_lm()
    good = mixed_batch()
    long = batch_of(random_contexts([CONTEXT + 1]), [np.zeros(CONTEXT + 1, dtype=bool)])
    with pytest.raises(ValueError, match=f"{CONTEXT + 1} tokens long.*{CONTEXT}"):
        lm.evaluate(long)
    first = good.action_mask.clone()
    first[0, 0] = True
    past = good.action_mask.clone()
    past[1, 5] = True
    for mask in (first, past):
        with pytest.raises(ValueError, match="first token"):
            lm.evaluate(TokenBatch(good.input_ids, good.lengths, mask))
    with pytest.raises(ValueError, match=r"must both be \(B, S\)"):
        lm.evaluate(TokenBatch(good.input_ids, good.lengths, first[:, 1:]))
    with pytest.raises(ValueError, match="temperature"):
        lm.evaluate(good, temperature=0.0)
