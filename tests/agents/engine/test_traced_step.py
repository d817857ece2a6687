"""Traced steps: what they record, what they refuse, and that they are the steps as they are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from agents.engine.decoder import CachedDecoder
from agents.engine.language_model import Generation, Sampling, TrainingConfig
from agents.engine.local import LocalLM
from agents.engine.traced_step import StepTraces, TracedRunner
from tests.agents.engine.toy import (
    FAMILIES,
    batch_after,
    greedy,
    noise,
    random_contexts,
    toy_lm,
    toy_model,
)

LENGTHS = [9, 30, 1, 17, 4]
DRAWN = Sampling(max_new_tokens=12, stop_ids=frozenset(range(20)))
FILTERED = Sampling(
    max_new_tokens=12, stop_ids=frozenset(), temperature=0.7, top_k=9, top_p=0.8
)


@contextmanager
def plain_decoder(lm: LocalLM, num_slots: int) -> Iterator[CachedDecoder]:
    """A decoder whose steps are not traced."""
    lm.network.eval()
    decoder = CachedDecoder(
        lm.network,
        num_slots,
        context_length=lm.context_length,
        version=lm._weights_version,
    )
    yield decoder
    lm.network.train()


def two_turns(
    decoder: CachedDecoder, sampling: Sampling, seed: int = 0
) -> list[Generation]:
    contexts = random_contexts(LENGTHS, seed)
    slots = range(len(contexts))
    first = decoder.generate(contexts, slots, sampling, noise(seed))
    contexts = [
        np.concatenate([ids, first.reply(row)]) for row, ids in enumerate(contexts)
    ]
    return [first, decoder.generate(contexts, slots, sampling, noise(seed + 1))]


def assert_same(first: list[Generation], second: list[Generation]) -> None:
    for one, other in zip(first, second, strict=True):
        assert (one.ids == other.ids).all() and (one.lengths == other.lengths).all()
        assert (one.finished == other.finished).all()
        assert (one.log_probs == other.log_probs).all()


def update(lm: LocalLM) -> None:
    contexts = random_contexts([6, 4], seed=9)
    with lm.decoder(2) as decoder:
        generation = decoder.generate(contexts, [0, 1], greedy(5))
    lm.backward(lm.evaluate(batch_after(contexts, generation)).log_probs.sum())
    lm.step()


@pytest.mark.parametrize("sampling", [DRAWN, FILTERED, greedy(12)])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_traced_and_nothing_changes(
    family: str, sampling: Sampling
) -> None:
    """Bit for bit: rows finish at different times, so numbers of lanes and columns vary."""
    lm = toy_lm(family)
    with plain_decoder(lm, len(LENGTHS)) as decoder:
        plain = two_turns(decoder, sampling)
    with lm.decoder(len(LENGTHS)) as decoder:
        assert isinstance(decoder._runner, TracedRunner)
        assert_same(two_turns(decoder, sampling), plain)
    assert lm._traces.refusal is None and lm._traces._steps


def test_an_embedding_with_a_padding_id_is_traced_too() -> None:
    """Its layer compares that id with the number of rows, which is a size."""
    lm = LocalLM(toy_model("llama-grouped", pad_token_id=5), name="toy")
    assert lm.module.get_input_embeddings().padding_idx == 5
    with lm.decoder(2) as decoder:
        decoder.generate(random_contexts([3, 2]), [0, 1], DRAWN, noise())
    assert lm._traces.refusal is None and lm._traces._steps


def test_a_trace_outlives_decoders_updates_and_growing_storage() -> None:
    lm = toy_lm()
    lm.configure_training(TrainingConfig(learning_rate=0.05))
    with lm.decoder(2) as decoder:
        decoder.generate(random_contexts([3, 2]), [0, 1], DRAWN, noise())
    (step,) = lm._traces._steps.values()
    for seed in (1, 2):
        with plain_decoder(lm, len(LENGTHS)) as decoder:
            plain = two_turns(decoder, DRAWN, seed)
        with lm.decoder(len(LENGTHS)) as decoder:
            assert_same(two_turns(decoder, DRAWN, seed), plain)
        before = plain
        update(lm)
    with plain_decoder(lm, len(LENGTHS)) as decoder:
        after = two_turns(decoder, DRAWN, 2)
    assert (after[0].log_probs[:, 0] != before[0].log_probs[:, 0]).all()
    assert list(lm._traces._steps.values())[0] is step


def test_a_step_reads_the_weights_where_they_are() -> None:
    lm = toy_lm()
    context = random_contexts([5])
    with lm.decoder(1) as decoder:
        first = decoder.generate(context, [0], greedy(3))
        with torch.no_grad():
            next(lm.module.parameters()).mul_(-1.5)
        second = decoder.generate(context, [0], greedy(3))
    assert (first.log_probs != second.log_probs).any()
    assert len(lm._traces._steps) == 1


def test_an_id_forbidden_later_is_not_said() -> None:
    lm = toy_lm()
    context = random_contexts([5])
    with lm.decoder(1) as decoder:
        said = decoder.generate(context, [0], greedy(6))
        lm.forbid([int(said.ids[0, 3])])
        decoder.reset()
        again = decoder.generate(context, [0], greedy(6))
    assert said.ids[0, 3] not in again.ids


def test_one_lane_alone_does_not_fix_their_number() -> None:
    lm = toy_lm()
    with lm.decoder(1) as decoder:
        decoder.generate(random_contexts([5]), [0], DRAWN, noise())
    with plain_decoder(lm, len(LENGTHS)) as decoder:
        plain = two_turns(decoder, DRAWN)
    with lm.decoder(len(LENGTHS)) as decoder:
        assert_same(two_turns(decoder, DRAWN), plain)
    # The trace of several lanes serves one alone too, so there will be no third.
    assert len(lm._traces._steps) == 2


def test_ways_of_drawing_have_traces_of_their_own() -> None:
    lm = toy_lm()
    for sampling, count in ((DRAWN, 1), (greedy(3), 2), (FILTERED, 3), (DRAWN, 3)):
        with lm.decoder(2) as decoder:
            decoder.generate(random_contexts([3, 2]), [0, 1], sampling, noise())
        assert len(lm._traces._steps) == count


def test_nothing_of_the_tracing_is_kept_in_the_model() -> None:
    lm = toy_lm()
    before = {name: id(p) for name, p in lm.network.named_parameters()}
    buffers = {name: id(b) for name, b in lm.network.named_buffers()}
    with lm.decoder(2) as decoder:
        decoder.generate(random_contexts([3, 2]), [0, 1], DRAWN, noise())
    assert before == {name: id(p) for name, p in lm.network.named_parameters()}
    assert buffers == {name: id(b) for name, b in lm.network.named_buffers()}
    assert all(p.requires_grad for p in lm.module.parameters())


class LooksAtValues(torch.nn.Module):
    """Doubles its input once a position is past 12: as rotary scales that follow the length do."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden: torch.Tensor, *args: object, **kwargs: object):
        if hidden.abs().sum() > 40:
            hidden = hidden * 2
        return self.inner(hidden, *args, **kwargs)


class Fails(LooksAtValues):
    """Works, but not while it is traced."""

    def forward(self, hidden: torch.Tensor, *args: object, **kwargs: object):
        if torch.jit.is_tracing():
            raise RuntimeError("no tracing here")
        return self.inner(hidden, *args, **kwargs)


@pytest.mark.parametrize(
    ("wrapper", "reason"),
    [(LooksAtValues, "test_traced_step.py:"), (Fails, "no tracing here")],
)
def test_a_network_that_cannot_be_traced_is_run_as_it_is(
    wrapper: type[LooksAtValues], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    lm = toy_lm()
    layers = lm.module.model.layers
    layers[1].mlp = wrapper(layers[1].mlp)
    with plain_decoder(lm, len(LENGTHS)) as decoder:
        plain = two_turns(decoder, DRAWN)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with lm.decoder(len(LENGTHS)) as decoder:
                assert_same(two_turns(decoder, DRAWN), plain)
    assert not lm._traces._steps
    assert reason in (lm._traces.refusal or "")
    assert [reason in message for message in caplog.messages] == [True]  # said once


def test_traces_of_other_modules_are_not_taken() -> None:
    lm = toy_lm()
    with lm.decoder(2) as decoder:
        first = decoder.generate(random_contexts([3, 2]), [0, 1], greedy(4))
    mlp = lm.module.model.layers[0].mlp
    mlp.act_fn = torch.nn.Tanh()
    with lm.decoder(2) as decoder:
        second = decoder.generate(random_contexts([3, 2]), [0, 1], greedy(4))
    assert (first.log_probs != second.log_probs).any()
    assert isinstance(lm._traces, StepTraces) and len(lm._traces._steps) == 2
