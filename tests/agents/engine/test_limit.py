"""The ends: the last position, the window's edge, one id to say, the longest and shortest reply."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.engine.language_model import Generation, Sampling
from agents.engine.local import LocalLM
from tests.agents.engine.oracle import check_generation, plain_logits
from tests.agents.engine.toy import (
    CONTEXT,
    FAMILIES,
    VOCAB,
    batch_after,
    batch_of,
    greedy,
    noise,
    packed_log_probs,
    random_contexts,
    replies,
    toy_lm,
    toy_model,
)

SLIDING = ["mistral", "gemma2", "gemma3"]


def agreement(
    lm: LocalLM, contexts: list[np.ndarray], generation: Generation, temperature: float
) -> float:
    """Return the largest gap between the sampler's log-probs and the trainer's."""
    batch = batch_after(contexts, generation)
    trained = lm.evaluate(batch, temperature=temperature).log_probs[batch.action_mask]
    gaps = trained.detach().numpy() - packed_log_probs(generation)
    return float(np.abs(gaps).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_dialogues_reach_the_last_position_and_stay_right(family: str) -> None:
    """Turn after turn until no token fits; the trainer then reads the whole dialogue."""
    lm = toy_lm(family)
    contexts = random_contexts([CONTEXT - 20, 3, CONTEXT - 1])
    sampling = Sampling(max_new_tokens=9, stop_ids=frozenset(range(9)))
    with lm.decoder(3) as decoder:
        first = decoder.generate(contexts, [0, 1, 2], sampling, noise())
        check_generation(lm, contexts, first, sampling, 0)
        assert first.lengths[2] == 1  # one position was left
        assert agreement(lm, contexts, first, 1.0) <= 1e-5
        dialogue = np.concatenate([contexts[0], first.reply(0), [5, 6]])
        while len(dialogue) < CONTEXT:
            generation = decoder.generate([dialogue], [0], sampling, noise(7))
            check_generation(lm, [dialogue], generation, sampling, 7)
            assert agreement(lm, [dialogue], generation, 1.0) <= 1e-5
            dialogue = np.concatenate([dialogue, generation.reply(0), [7]])


def test_a_full_context_is_refused_and_the_fullest_answered() -> None:
    lm = toy_lm()
    with lm.decoder(1) as decoder:
        with pytest.raises(ValueError, match=f"{CONTEXT} tokens.*1 to {CONTEXT - 1}"):
            decoder.generate(random_contexts([CONTEXT]), [0], greedy(1))
        context = random_contexts([CONTEXT - 1])
        generation = decoder.generate(context, [0], greedy(50))
    assert generation.lengths.tolist() == [1] and generation.ids.shape == (1, 1)
    full = batch_after(context, generation)
    assert full.input_ids.shape == (1, CONTEXT)
    assert torch.isfinite(lm.evaluate(full).log_probs).all()


def test_a_reply_cut_at_the_last_position_may_still_have_stopped() -> None:
    lm = toy_lm()
    context = random_contexts([CONTEXT - 3])
    with lm.decoder(1) as decoder:

        def draw(tokens: int, stop_ids: frozenset[int]) -> Generation:
            sampling = Sampling(max_new_tokens=tokens, stop_ids=stop_ids)
            return decoder.generate(context, [0], sampling, noise())

        free = draw(9, frozenset())
        assert free.lengths[0] == 3 and not free.finished[0]
        stop = frozenset({int(free.ids[0, 2])} - set(free.ids[0, :2].tolist()))
        assert stop
        cut, exact = draw(9, stop), draw(3, stop)
    assert cut.finished[0] and exact.finished[0]
    assert replies(cut) == replies(exact) == replies(free)


@pytest.mark.parametrize("family", SLIDING)
def test_a_window_hides_what_lies_before_it(family: str) -> None:
    """Far past the window of 6: one layer's sight is 6, two layers' 11."""
    lm = toy_lm(family)
    contexts = random_contexts([40, 7, 23])
    sampling = Sampling(max_new_tokens=12, stop_ids=frozenset())
    with lm.decoder(3) as decoder:
        generation = decoder.generate(contexts, [1, 2, 0], sampling, noise(2))
        check_generation(lm, contexts, generation, sampling, 2)
        other = contexts[0].copy()
        other[:20] = (other[:20] + 1) % VOCAB
        decoder.reset()
        moved = decoder.generate([other], [0], greedy(1)).log_probs[0, 0]
        plain = decoder.generate([contexts[0]], [1], greedy(1)).log_probs[0, 0]
    # Both layers slide, so ids 20 places back are out of sight; one of gemma2's two does not.
    assert (abs(moved - plain) < 1e-6) == (family != "gemma2")


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("family", ["llama-grouped", "gpt2", "opt"])
def test_tied_and_untied_embeddings(family: str, is_tied: bool) -> None:
    lm = LocalLM(toy_model(family, tie_word_embeddings=is_tied), name=family)
    inputs = lm.module.get_input_embeddings().weight
    outputs = lm.module.get_output_embeddings().weight
    assert (inputs.data_ptr() == outputs.data_ptr()) == is_tied
    contexts = random_contexts([9, 3])
    sampling = Sampling(max_new_tokens=5, stop_ids=frozenset())
    with lm.decoder(2) as decoder:
        generation = decoder.generate(contexts, [0, 1], sampling, noise())
    check_generation(lm, contexts, generation, sampling, 0)
    lm.evaluate(batch_after(contexts, generation)).log_probs.sum().backward()
    # Tied, the one gradient has both roles: ids that were only read move too.
    unsaid = set(range(VOCAB)) - set(generation.ids.ravel().tolist())
    assert inputs.grad[sorted(unsaid & set(contexts[0].tolist()))].abs().max() > 0
    assert outputs.grad[sorted(unsaid - set(contexts[0].tolist()))].abs().max() > 0


@pytest.mark.parametrize("only", [0, 41, VOCAB - 1])
def test_one_id_left_is_said_with_certainty(only: int) -> None:
    lm = toy_lm(has_value_head=True)
    lm.forbid([i for i in range(VOCAB) if i != only])
    sampling = Sampling(max_new_tokens=4, stop_ids=frozenset(), temperature=0.3)
    contexts = random_contexts([5, 2])
    with lm.decoder(2) as decoder:
        for mode in (greedy(4), sampling, Sampling(max_new_tokens=4, stop_ids={only})):
            generation = decoder.generate(contexts, [0, 1], mode, noise())
            assert set(generation.ids.ravel().tolist()) == {only}
            assert (generation.log_probs == 0).all()
    batch = batch_after(contexts, generation)
    out = lm.evaluate(batch)
    assert (out.log_probs == 0).all() and (out.entropy == 0).all()
    (out.log_probs.sum() + out.entropy.sum() + out.values.sum()).backward()
    for parameter in lm.module.parameters():  # nothing to learn, and no NaN
        assert parameter.grad is None or (parameter.grad.abs() < 1e-6).all()


def test_forbidding_nothing_is_allowed_and_twice_is_once() -> None:
    lm = toy_lm()
    lm.forbid([])
    assert not lm.network.forbidden_V.any()
    lm.forbid([3, 3])
    lm.forbid([3])
    assert lm.network.forbidden_V.nonzero().tolist() == [[3]]


def test_ids_can_be_forbidden_between_two_turns() -> None:
    lm = toy_lm()
    context = random_contexts([6])
    with lm.decoder(1) as decoder:
        favourite = replies(decoder.generate(context, [0], greedy(1)))[0]
        lm.forbid(favourite)
        generation = decoder.generate(context, [0], greedy(6))
    assert favourite[0] not in replies(generation)[0]
    check_generation(lm, context, generation, greedy(6))


@pytest.mark.parametrize("temperature", [1e-6, 0.05, 1.0, 30.0, 1e6])
def test_temperatures_from_argmax_to_uniform(temperature: float) -> None:
    lm = toy_lm(vocab_size=50)
    contexts = random_contexts([8, 3, 5])
    sampling = Sampling(max_new_tokens=6, stop_ids=frozenset(), temperature=temperature)
    with lm.decoder(3) as decoder:
        generation = decoder.generate(contexts, [0, 1, 2], sampling, noise())
        best = decoder.generate(contexts, [0, 1, 2], greedy(6))
    assert generation.ids.max() < 50 and np.isfinite(generation.log_probs).all()
    gap = agreement(lm, contexts, generation, temperature)
    # Rounding of the logits is divided by the temperature too.
    assert gap <= 1e-5 / min(1.0, temperature) and gap < 1
    if temperature == 1e-6:
        assert replies(generation) == replies(best)
    if temperature == 1e6:
        np.testing.assert_allclose(generation.log_probs, -np.log(50), atol=1e-4)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_temperatures_that_mean_nothing_are_refused(temperature: float) -> None:
    match = "temperature must be finite and above 0"
    with pytest.raises(ValueError, match=match):
        Sampling(max_new_tokens=1, stop_ids=frozenset(), temperature=temperature)
    batch = batch_of(random_contexts([3]), [np.array([False, True, True])])
    with pytest.raises(ValueError, match=match):
        toy_lm().evaluate(batch, temperature=temperature)


def test_a_temperature_that_overflows_is_an_error_and_not_a_reply() -> None:
    sampling = Sampling(max_new_tokens=2, stop_ids=frozenset(), temperature=1e-40)
    with toy_lm().decoder(1) as decoder:
        with pytest.raises(FloatingPointError, match="temperature 1e-40"):
            decoder.generate(random_contexts([4]), [0], sampling, noise())


@settings(max_examples=12)
@given(
    top_k=st.sampled_from([0, 1, 2, VOCAB - 1, VOCAB, 10 * VOCAB]),
    top_p=st.sampled_from([1e-12, 0.3, 0.999, 1.0]),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    seed=st.integers(0, 10**6),
)
def test_filters_in_whole_replies(
    top_k: int, top_p: float, temperature: float, seed: int
) -> None:
    lm = toy_lm()
    sampling = Sampling(
        max_new_tokens=4,
        stop_ids=frozenset(range(5)),
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
    )
    contexts = random_contexts([5, 2], seed=seed)
    with lm.decoder(2) as decoder:
        generation = decoder.generate(contexts, [1, 0], sampling, noise(seed))
        check_generation(lm, contexts, generation, sampling, seed)
        if top_k == 1 or top_p == 1e-12:
            best = decoder.generate(contexts, [1, 0], greedy(4, sampling.stop_ids))
            assert replies(best) == replies(generation)
            assert (generation.log_probs == 0).all()


def test_greedy_ties_go_to_the_lowest_id_in_every_row() -> None:
    """Two output rows made equal and the largest: their logits tie exactly."""
    lm = toy_lm()
    head = lm.module.get_output_embeddings().weight
    context = random_contexts([6])[0]
    with lm.decoder(4) as decoder:
        best = replies(decoder.generate([context], [0], greedy(1)))[0][0]
        twins = sorted({best, 90, 95})
        with torch.no_grad():
            head[twins] = head[best].clone()
        logits = plain_logits(lm, context)[-1]
        assert len({logits[i] for i in twins}) == 1
        for slots in ([0], [1, 2, 3]):
            generation = decoder.generate([context] * len(slots), slots, greedy(1))
            assert generation.ids.ravel().tolist() == [twins[0]] * len(slots)


def test_the_same_generator_continues_and_another_seed_differs() -> None:
    lm = toy_lm()
    context = random_contexts([6])
    sampling = Sampling(max_new_tokens=8, stop_ids=frozenset())
    with lm.decoder(1) as decoder:

        def draw(generator: torch.Generator) -> list[list[int]]:
            return replies(decoder.generate(context, [0], sampling, generator))

        generator = noise(1)
        first, second = draw(generator), draw(generator)
        assert first != second
        generator.manual_seed(1)
        assert [draw(generator), draw(generator)] == [first, second]
        assert draw(noise(2)) != first
        state = generator.get_state()
        decoder.generate(context, [0], greedy(3), generator)
        assert torch.equal(generator.get_state(), state)  # greedy draws nothing


def test_a_stop_in_one_row_does_not_shift_the_noise_of_another() -> None:
    """Row 1's draws are the same whether row 0 stops at once or goes on."""
    lm = toy_lm()
    contexts = random_contexts([6, 9])
    with lm.decoder(2) as decoder:
        free = Sampling(max_new_tokens=7, stop_ids=frozenset())
        whole = decoder.generate(contexts, [0, 1], free, noise(5))
        first = int(whole.ids[0, 0])
        assert first not in whole.ids[1]
        stopping = Sampling(max_new_tokens=7, stop_ids=frozenset({first}))
        decoder.reset()
        stopped = decoder.generate(contexts, [0, 1], stopping, noise(5))
    assert stopped.lengths.tolist() == [1, 7]
    assert replies(stopped)[1] == replies(whole)[1]
