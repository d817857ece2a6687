"""Dialogues that share a beginning, wait for a row or run out of memory: replies are the same."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.engine import decoder as decoder_module
from agents.engine.decoder import CachedDecoder
from agents.engine.kv_cache import KeyValueCache
from agents.engine.language_model import Sampling
from agents.engine.local import LocalLM
from agents.engine.step_loop import StepLoop
from tests.agents.engine.oracle import check_generation
from tests.agents.engine.toy import (
    VOCAB,
    greedy,
    noise,
    random_contexts,
    replies,
    toy_lm,
)

LMS = {name: toy_lm(name) for name in ("llama-grouped", "gpt2", "gemma2")}
SHORT = Sampling(max_new_tokens=7, stop_ids=frozenset(range(25)))


def decoder_of(lm: LocalLM, num_slots: int, max_rows: int) -> CachedDecoder:
    lm.network.eval()
    return CachedDecoder(
        lm.network,
        num_slots,
        context_length=lm.context_length,
        version=lambda: 0,
        max_rows=max_rows,
    )


def forwards_of(lm: LocalLM, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return a list that gets the (rows, new tokens) of every forward from now on."""
    shapes: list[tuple[int, int]] = []
    inner = lm.network.forward
    monkeypatch.setattr(
        lm.network,
        "forward",
        lambda ids, *rest: shapes.append(tuple(ids.shape)) or inner(ids, *rest),
    )
    return shapes


def test_the_prompt_of_a_group_is_computed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm = LMS["llama-grouped"]
    first, second = random_contexts([20, 15])
    decoder = decoder_of(lm, 8, 8)
    shapes = forwards_of(lm, monkeypatch)
    contexts = [first, second] * 4
    generation = decoder.generate(contexts, range(8), SHORT, noise(1))
    assert shapes[0] == (2, 20)  # and no second prefill: the logits are known too
    assert all(width == 1 for _, width in shapes[1:])
    assert decoder.num_prefilled == 4 * (20 + 15)
    assert decoder.num_copied == 3 * (20 + 15)
    monkeypatch.undo()
    check_generation(lm, contexts, generation, SHORT, 1)
    assert len({tuple(reply) for reply in replies(generation)}) > 4


def test_a_common_beginning_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = LMS["llama-grouped"]
    (instructions,) = random_contexts([40])
    contexts = [np.append(instructions, [i, i + 1]) for i in range(4)]
    contexts.append(instructions[:30])  # nothing but a beginning
    decoder = decoder_of(lm, 5, 5)
    shapes = forwards_of(lm, monkeypatch)
    generation = decoder.generate(contexts, range(5), greedy(3))
    assert shapes[:2] == [(1, 42), (4, 2)]  # of the four, the last has one new id
    assert decoder.num_copied == 3 * 40 + 29
    monkeypatch.undo()
    check_generation(lm, contexts, generation, greedy(3))


def test_nothing_is_copied_where_the_own_cache_is_enough() -> None:
    lm = LMS["llama-grouped"]
    (prompt,) = random_contexts([40])
    decoder = decoder_of(lm, 3, 3)
    first = decoder.generate([prompt] * 3, range(3), SHORT, noise(2))
    copied = decoder.num_copied
    longer = [np.concatenate([prompt, first.reply(row), [row]]) for row in range(3)]
    second = decoder.generate(longer, range(3), SHORT, noise(3))
    check_generation(lm, longer, second, SHORT, 3)
    assert decoder.num_copied == copied == 2 * 40
    # One of them starts over and finds its prompt in its neighbour's row.
    decoder.reset([1])
    third = decoder.generate([longer[0], prompt], [0, 1], SHORT, noise(4))
    check_generation(lm, [longer[0], prompt], third, SHORT, 4)
    assert decoder.num_copied == copied + 39  # its last id is computed: the logits


PART = st.lists(st.integers(0, 3), min_size=0, max_size=12)


@settings(max_examples=60)
@given(
    family=st.sampled_from(sorted(LMS)),
    turns=st.lists(
        st.lists(
            st.tuples(st.integers(0, 2), PART, st.booleans()), min_size=2, max_size=9
        ),
        min_size=1,
        max_size=3,
    ),
    max_rows=st.integers(1, 9),
    num_stored=st.integers(1, 9),
    least_saving=st.sampled_from([1, 8]),
)
def test_any_contexts_in_any_rows_equal_a_plain_forward(
    family: str, turns: list, max_rows: int, num_stored: int, least_saving: int
) -> None:
    """Groups, beginnings of others, waiting, caches kept, restarted, or pushed out."""
    lm = LMS[family]
    stems = [np.arange(n) % VOCAB for n in (1, 9, 14)]
    decoder = decoder_of(lm, 9, max_rows)
    decoder._num_stored = max(num_stored, max_rows)
    decoder._start_over()
    dialogues: dict[int, np.ndarray] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder_module, "_LEAST_SAVING", least_saving)
        for number, rows in enumerate(turns):
            for slot, (stem, part, goes_on) in enumerate(rows):
                kept = dialogues.get(slot, stems[stem])
                start = kept[:60] if goes_on else stems[stem]
                dialogues[slot] = np.concatenate([start, part]).astype(np.int64)
            slots = list(range(len(rows)))
            contexts = [dialogues[slot] for slot in slots]
            generation = decoder.generate(contexts, slots, SHORT, noise(number))
            check_generation(lm, contexts, generation, SHORT, number)
            for row, slot in enumerate(slots):
                said = generation.reply(row)
                dialogues[slot] = np.concatenate([dialogues[slot], said])


def test_a_waiting_dialogue_takes_the_first_free_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Six dialogues in two rows: fewer steps than block after block, and two rows throughout."""
    lm = LMS["llama-grouped"]
    contexts = random_contexts([4, 4, 4, 4, 4, 4])
    free = decoder_of(lm, 6, 6).generate(contexts, range(6), SHORT, noise(5))
    assert sorted(set(free.lengths.tolist())) != [7]  # they differ, or nothing is shown
    decoder = decoder_of(lm, 6, 2)
    shapes = forwards_of(lm, monkeypatch)
    tight = decoder.generate(contexts, range(6), SHORT, noise(5))
    assert replies(tight) == replies(free)
    steps = [rows for rows, width in shapes if width == 1]
    pairs = free.lengths.reshape(3, 2)
    assert len(steps) < sum(int(pair.max()) - 1 for pair in pairs)
    assert sum(steps) == int((free.lengths - 1).sum())  # no row runs past its reply
    assert max(rows for rows, _ in shapes) <= 2


class OutOfMemory:
    """Runs out of memory whenever more than `fits` rows are asked for, or `after` calls."""

    def __init__(self, inner, fits: int, after: int) -> None:
        self.inner, self.fits, self.after, self.calls = inner, fits, after, 0

    def __get__(self, instance, owner):
        def call(*args, **kwargs):
            self.calls += 1
            first = args[0]
            rows = first.stop - first.start if isinstance(first, slice) else first
            if self.calls > self.after and rows > self.fits:
                raise torch.OutOfMemoryError("tried to allocate more than there is")
            return self.inner(instance, *args, **kwargs)

        return call


@pytest.mark.parametrize(
    ("name", "fits", "after"),
    [
        ("prefill", 4, 0),
        ("prefill", 1, 0),
        ("step", 3, 0),
        ("step", 1, 0),
        ("step", 2, 1),
        ("draw", 6, 0),
        ("draw", 1, 0),
    ],
)
def test_out_of_memory_halves_the_rows_and_goes_on(
    name: str,
    fits: int,
    after: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lm = LMS["llama-grouped"]
    contexts = random_contexts([12, 4, 9, 2, 7, 20, 3])
    expected = decoder_of(lm, 7, 7).generate(contexts, range(7), SHORT, noise(6))
    decoder = decoder_of(lm, 7, 7)
    patched = OutOfMemory(getattr(StepLoop, name), fits, after)
    monkeypatch.setattr(StepLoop, name, patched)
    with caplog.at_level(logging.WARNING, "agents.engine.decoder"):
        generation = decoder.generate(contexts, range(7), SHORT, noise(6))
    assert replies(generation) == replies(expected)
    np.testing.assert_allclose(generation.log_probs, expected.log_probs, atol=2e-5)
    assert "7 dialogues decoded at once: going on with 3" in caplog.text
    assert decoder._max_rows <= 3
    monkeypatch.undo()
    # The rows stay few, dialogues go on, and those whose cache was pushed out are prefilled.
    contexts = [
        np.concatenate([context, generation.reply(row), [1]])
        for row, context in enumerate(contexts)
    ]
    again = decoder.generate(contexts, range(7), SHORT, noise(7))
    check_generation(lm, contexts, again, SHORT, 7)
    assert decoder._cache.num_rows == decoder._num_stored < 7


def test_out_of_memory_with_one_row_is_an_error_and_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm = LMS["llama-grouped"]
    decoder = decoder_of(lm, 4, 4)
    contexts = random_contexts([5, 6, 3, 4])
    patched = OutOfMemory(KeyValueCache.reserve, 0, 0)
    monkeypatch.setattr(KeyValueCache, "reserve", patched)
    with pytest.raises(torch.OutOfMemoryError):
        decoder.generate(contexts, range(4), greedy(2))
    monkeypatch.undo()
    assert lm.module.config._attn_implementation == "sdpa"
    check_generation(
        lm, contexts, decoder.generate(contexts, range(4), greedy(2)), greedy(2)
    )
