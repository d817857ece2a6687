from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.engine.decoder import CachedDecoder
from agents.engine.language_model import Sampling, TrainingConfig
from agents.engine.local import LocalLM
from tests.agents.engine.toy import (
    CONTEXT,
    FAMILIES,
    VOCAB,
    batch_after,
    greedy,
    noise,
    packed_log_probs,
    random_contexts,
    replies,
    toy_lm,
    toy_model,
)


def generate_alone(lm: LocalLM, context: np.ndarray, tokens: int) -> list[int]:
    """transformers' own greedy reply, one row at a time: no padding, no batch."""
    output = lm.module.generate(
        torch.from_numpy(context)[None],
        max_new_tokens=tokens,
        do_sample=False,
        attention_mask=torch.ones((1, len(context)), dtype=torch.long),
    )
    return output[0, len(context) :].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_equals_generate_over_turns_with_kept_caches(family: str) -> None:
    lm = toy_lm(family)
    contexts = random_contexts([3, 11, 1, 7])
    slots = [2, 0, 3, 1]
    lm.module.eval()
    with lm.decoder(4) as decoder:
        for turn in range(3):
            generation = decoder.generate(contexts, slots, greedy(6))
            expected = [generate_alone(lm, context, 6) for context in contexts]
            assert replies(generation) == expected
            said = random_contexts([2, 1, 4, 3], seed=turn + 1)
            contexts = [
                np.concatenate([context, reply, more])
                for context, reply, more in zip(contexts, expected, said, strict=True)
            ]


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probs_equal_the_trainers_over_turns(family: str) -> None:
    lm = toy_lm(family)
    contexts = random_contexts([5, 2, 9])
    sampling = Sampling(max_new_tokens=8, stop_ids=frozenset(range(8)), temperature=0.7)
    generator = noise()
    with lm.decoder(3) as decoder:
        for _ in range(3):
            generation = decoder.generate(contexts, [0, 1, 2], sampling, generator)
            batch = batch_after(contexts, generation)
            evaluation = lm.evaluate(batch, temperature=0.7)
            trained = evaluation.log_probs[batch.action_mask].detach().numpy()
            ratio = np.exp(trained - packed_log_probs(generation))
            assert np.abs(ratio - 1).max() <= 1e-5
            contexts = [
                np.concatenate([context, generation.reply(row), [row + 1]])
                for row, context in enumerate(contexts)
            ]


def test_log_probs_are_not_those_of_another_model() -> None:
    lm, other = toy_lm(seed=0), toy_lm(seed=1)
    contexts = random_contexts([5, 2])
    with lm.decoder(2) as decoder:
        generation = decoder.generate(contexts, [0, 1], greedy(4))
    batch = batch_after(contexts, generation)
    trained = other.evaluate(batch).log_probs[batch.action_mask].detach().numpy()
    assert np.abs(trained - packed_log_probs(generation)).max() > 1e-2


def test_only_new_ids_are_prefilled() -> None:
    lm = toy_lm()
    context = random_contexts([20])[0]
    with lm.decoder(1) as decoder:
        generation = decoder.generate([context], [0], greedy(5))
        assert decoder.num_prefilled == 20
        longer = np.concatenate([context, generation.reply(0), [1, 2, 3]])
        decoder.generate([longer], [0], greedy(5))
        # The reply's last id was sampled, never fed: it and the three new ones.
        assert decoder.num_prefilled == 20 + 4
        decoder.generate([longer], [0], greedy(5))
        assert decoder.num_prefilled == 24 + 1  # the last id's logits are computed anew
        changed = longer.copy()
        changed[10] += 1
        decoder.generate([changed], [0], greedy(5))
        assert decoder.num_prefilled == 25 + len(longer) - 10


def test_cache_is_dropped_after_a_step() -> None:
    lm = toy_lm()
    lm.configure_training(TrainingConfig(learning_rate=0.05))
    contexts = random_contexts([12, 6])
    with lm.decoder(2) as decoder:
        before = decoder.generate(contexts, [0, 1], greedy(6))
        batch = batch_after(contexts, before)
        lm.backward(-lm.evaluate(batch).log_probs.sum())
        lm.step()
        after = decoder.generate(contexts, [0, 1], greedy(6))
        assert decoder.num_prefilled == 2 * (12 + 6)
    with lm.decoder(2) as decoder:
        fresh = decoder.generate(contexts, [0, 1], greedy(6))
    np.testing.assert_array_equal(after.log_probs, fresh.log_probs)
    assert np.abs(after.log_probs - before.log_probs).max() > 1e-3


def test_decoder_reads_the_very_parameters() -> None:
    lm = toy_lm()
    addresses = {p.data_ptr() for p in lm.module.parameters()}
    context = random_contexts([5])
    with lm.decoder(1) as decoder:
        before = decoder.generate(context, [0], greedy(3))
        with torch.no_grad():
            lm.module.get_output_embeddings().weight *= 1.5
        after = decoder.generate(context, [0], greedy(3))
        used = {p.data_ptr() for p in decoder._network.language_model.parameters()}
    assert used == addresses
    assert decoder._network is lm.network
    assert np.abs(after.log_probs - before.log_probs).max() > 1e-4


def test_finished_rows_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = toy_lm()
    contexts = random_contexts([4, 4, 4, 4, 4, 4])
    with lm.decoder(6) as decoder:
        free = decoder.generate(contexts, range(6), greedy(8))
        # Whatever the third row says second ends its reply and nobody else's start.
        stop_id = int(free.ids[2, 1])
        widths: list[int] = []
        inner = lm.network.forward
        monkeypatch.setattr(
            lm.network,
            "forward",
            lambda ids, *rest: widths.append(len(ids)) or inner(ids, *rest),
        )
        decoder.reset()
        cut = decoder.generate(contexts, range(6), greedy(8, frozenset({stop_id})))
    assert cut.finished[2] and cut.lengths[2] == 2
    # One prefill, then each decode forward holds exactly the rows still running.
    assert widths[1:] == [int((cut.lengths > k).sum()) for k in range(1, len(widths))]
    for row, reply in enumerate(replies(cut)):
        assert reply == free.ids[row, : len(reply)].tolist()


def test_more_slots_than_rows_changes_nothing() -> None:
    lm = toy_lm()
    contexts = random_contexts([4, 9, 2, 7, 5])
    sampling = Sampling(max_new_tokens=6, stop_ids=frozenset(range(20)))
    with lm.decoder(5) as decoder:
        wide = decoder.generate(contexts, range(5), sampling, noise())
    narrow = CachedDecoder(
        lm.network, 5, context_length=CONTEXT, version=lambda: 0, max_rows=2
    )
    lm.network.eval()
    again = narrow.generate(contexts, range(5), sampling, noise())
    assert replies(again) == replies(wide)
    np.testing.assert_allclose(again.log_probs, wide.log_probs, atol=1e-5)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    lm = toy_lm()
    contexts = random_contexts([4, 9, 2])
    sampling = Sampling(max_new_tokens=6, stop_ids=frozenset(range(20)))
    with lm.decoder(3) as decoder:
        together = decoder.generate(contexts, [0, 1, 2], sampling, noise())
        others = [contexts[0], random_contexts([30], seed=9)[0], contexts[2]]
        decoder.reset()
        apart = decoder.generate(others, [0, 1, 2], sampling, noise())
    assert replies(apart)[0] == replies(together)[0]
    assert replies(apart)[2] == replies(together)[2]
    assert replies(apart)[1] != replies(together)[1]


TURNS = st.lists(
    st.tuples(
        st.permutations(range(4)),
        st.integers(1, 4),  # how many of them speak
        st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=5),
        st.sampled_from(["go on", "go on", "go on", "reset", "rewrite", "update"]),
    ),
    min_size=1,
    max_size=6,
)
SHARED = toy_lm("llama-grouped")


@settings(max_examples=25)
@given(turns=TURNS)
def test_any_interleaving_equals_fresh_decoding(turns: list) -> None:
    """Slots speak in any order and company, restart, rewrite their past; weights change."""
    lm = SHARED
    sampling = Sampling(max_new_tokens=5, stop_ids=frozenset(range(30)))
    dialogues = random_contexts([3, 6, 1, 4])
    with lm.decoder(4) as kept:
        for number, (order, count, said, event) in enumerate(turns):
            slots = list(order[:count])
            for slot in slots:
                if event == "rewrite":
                    dialogues[slot] = dialogues[slot][: len(dialogues[slot]) // 2]
                dialogues[slot] = np.concatenate([dialogues[slot], said])
            if event == "reset":
                kept.reset(slots)
            if event == "update":
                with torch.no_grad():
                    lm.module.get_output_embeddings().weight.mul_(0.99)
            contexts = [dialogues[slot] for slot in slots]
            got = kept.generate(contexts, slots, sampling, noise(number))
            with lm.decoder(4) as fresh:
                expected = fresh.generate(contexts, slots, sampling, noise(number))
            assert replies(got) == replies(expected)
            np.testing.assert_allclose(got.log_probs, expected.log_probs, atol=2e-5)
            for row, slot in enumerate(slots):
                dialogues[slot] = np.concatenate([dialogues[slot], got.reply(row)])


def test_reply_stops_at_the_models_last_position() -> None:
    lm = toy_lm("gpt2")  # learned positions: one too many is an index error
    contexts = random_contexts([CONTEXT - 2, 3])
    with lm.decoder(2) as decoder:
        generation = decoder.generate(contexts, [0, 1], greedy(5))
    assert generation.lengths.tolist() == [2, 5]
    assert not generation.finished.any()
    lm.evaluate(batch_after(contexts, generation))


def test_bad_calls_are_refused_before_any_compute() -> None:
    lm = toy_lm()
    too_long = np.zeros(CONTEXT + 3, dtype=np.int64)
    with lm.decoder(2) as decoder:
        with pytest.raises(ValueError, match=f"{CONTEXT + 3} tokens.*{CONTEXT}"):
            decoder.generate([too_long], [0], greedy(1))
        with pytest.raises(ValueError, match=r"\[0\] are named twice"):
            decoder.generate(random_contexts([2, 2]), [0, 0], greedy(1))
        with pytest.raises(ValueError, match=r"\[2\] do not exist.*0 to 1"):
            decoder.generate(random_contexts([2]), [2], greedy(1))
        with pytest.raises(ValueError, match=r"\[-1\] do not exist"):
            decoder.reset([-1])
        with pytest.raises(ValueError, match="1 contexts for 2 slots"):
            decoder.generate(random_contexts([2]), [0, 1], greedy(1))
        with pytest.raises(ValueError, match="0 tokens"):
            decoder.generate([np.zeros(0, dtype=np.int64)], [0], greedy(1))
        with pytest.raises(ValueError, match="1-D array of ids"):
            decoder.generate([np.zeros((1, 2), dtype=np.int64)], [0], greedy(1))
        with pytest.raises(ValueError, match=f"model knows 0 to {VOCAB - 1}"):
            decoder.generate([np.array([VOCAB])], [0], greedy(1))
        with pytest.raises(ValueError, match="needs a torch.Generator"):
            decoder.generate(
                random_contexts([2]),
                [0],
                Sampling(max_new_tokens=1, stop_ids=frozenset()),
            )
        assert decoder.num_prefilled == 0
    with pytest.raises(RuntimeError, match="block has ended"):
        decoder.generate(random_contexts([2]), [0], greedy(1))


def test_block_restores_mode_and_attention_even_after_an_error() -> None:
    lm = toy_lm()
    before = lm.module.config._attn_implementation
    with pytest.raises(ZeroDivisionError), lm.decoder(1) as decoder:
        assert not lm.module.training
        decoder.generate(random_contexts([2]), [0], greedy(1))
        assert lm.module.config._attn_implementation == before
        raise ZeroDivisionError
    assert lm.module.training


def test_global_random_state_is_left_alone() -> None:
    lm = toy_lm()
    state = torch.get_rng_state()
    sampling = Sampling(max_new_tokens=4, stop_ids=frozenset())
    with lm.decoder(1) as decoder:
        decoder.generate(random_contexts([2]), [0], sampling, noise())
    assert torch.equal(torch.get_rng_state(), state)
    toy_model("llama", seed=5)
    assert torch.equal(torch.get_rng_state(), state)
