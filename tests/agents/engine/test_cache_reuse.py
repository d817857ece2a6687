"""Whatever was said, forgotten, rewritten or trained before, a reply is that of a plain forward."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.engine.decoder import CachedDecoder
from agents.engine.kv_cache import KeyValueCache
from agents.engine.language_model import Sampling, TrainingConfig
from agents.engine.local import LocalLM
from agents.engine.step_loop import StepLoop
from tests.agents.engine.oracle import CacheModel, check_generation
from tests.agents.engine.toy import (
    CONTEXT,
    VOCAB,
    batch_after,
    greedy,
    noise,
    random_contexts,
    replies,
    toy_lm,
)

REUSED = {name: toy_lm(name) for name in ("llama-grouped", "gpt2", "mistral", "gemma3")}
START = {
    name: [p.detach().clone() for p in lm.module.parameters()]
    for name, lm in REUSED.items()
}
CHANGES = st.sampled_from(
    ["extend", "extend", "extend", "same", "rewind", "diverge", "restart"]
)
EVENTS = st.sampled_from(
    ["none", "none", "none", "reset some", "reset all", "in place", "data", "step"]
)
TURN = st.fixed_dictionaries(
    {
        "order": st.permutations(range(6)),
        "count": st.integers(1, 6),
        "changes": st.lists(CHANGES, min_size=6, max_size=6),
        "said": st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=9),
        "event": EVENTS,
        "tokens": st.integers(1, 6),
        "top_k": st.sampled_from([0, 0, 3]),
    }
)


def fresh_lm(family: str) -> LocalLM:
    """Return the shared toy with the weights that it began with."""
    lm = REUSED[family]
    with torch.no_grad():
        for parameter, start in zip(lm.module.parameters(), START[family], strict=True):
            parameter.copy_(start)
    return lm


def decoder_of(lm: LocalLM, num_slots: int, max_rows: int = 256) -> CachedDecoder:
    lm.network.eval()
    return CachedDecoder(
        lm.network,
        num_slots,
        context_length=lm.context_length,
        version=lm._weights_version,
        max_rows=max_rows,
    )


def changed(dialogue: np.ndarray, how: str, said: list[int]) -> np.ndarray:
    """Return the next context of a dialogue whose past may have been rewritten."""
    half = len(dialogue) // 2 + 1
    match how:
        case "extend":
            dialogue = np.concatenate([dialogue, said])
        case "rewind":
            dialogue = dialogue[:half]
        case "diverge":
            dialogue = np.concatenate([dialogue[:half], said])
        case "restart":
            dialogue = np.array(said)
    return dialogue[: CONTEXT - 1]


def happen(lm: LocalLM, decoder: CachedDecoder, event: str, slots: list[int]) -> bool:
    """Let something happen between two turns; return whether all caches are void."""
    if event == "reset some":
        decoder.reset(slots[::2])
    elif event == "reset all":
        decoder.reset()
    elif event == "in place":
        with torch.no_grad():
            next(lm.module.parameters()).mul_(1.1)
    elif event == "data":
        last = list(lm.module.parameters())[-1]
        last.data = last.data * 0.9
    elif event == "step":
        lm.configure_training(TrainingConfig(learning_rate=0.01))
        loss = sum(p.float().square().sum() for p in lm.module.parameters())
        lm.backward(loss)
        lm.step()
    return event not in ("none", "reset some")


@settings(max_examples=25)
@given(
    family=st.sampled_from(sorted(REUSED)),
    max_rows=st.integers(1, 6),
    turns=st.lists(TURN, min_size=2, max_size=7),
    is_greedy=st.booleans(),
)
def test_any_history_equals_a_plain_forward_and_computes_only_what_is_new(
    family: str, max_rows: int, turns: list[dict], is_greedy: bool
) -> None:
    lm = fresh_lm(family)
    decoder, model = decoder_of(lm, 6, max_rows), CacheModel(6)
    dialogues = random_contexts([3, 11, 1, 7, 2, 30])
    for number, turn in enumerate(turns):
        slots = list(turn["order"][: turn["count"]])
        for slot in slots:
            how = turn["changes"][slot]
            dialogues[slot] = changed(dialogues[slot], how, turn["said"])
        if happen(lm, decoder, turn["event"], slots):
            model.forget()
        elif turn["event"] == "reset some":
            model.forget(slots[::2])
        sampling = Sampling(
            max_new_tokens=turn["tokens"],
            stop_ids=frozenset(range(20)),
            top_k=turn["top_k"],
            is_greedy=is_greedy,
        )
        contexts = [dialogues[slot] for slot in slots]
        generation = decoder.generate(contexts, slots, sampling, noise(number))
        check_generation(lm, contexts, generation, sampling, number)
        model.generate(contexts, slots, generation)
        assert decoder.num_prefilled == model.num_prefilled
        for row, slot in enumerate(slots):
            said = np.concatenate([dialogues[slot], generation.reply(row)])
            dialogues[slot] = said[: CONTEXT - 1]


@pytest.mark.parametrize("max_rows", [1, 2, 3, 7])
def test_replies_do_not_depend_on_the_number_of_rows(max_rows: int) -> None:
    lm = fresh_lm("mistral")
    contexts = random_contexts([4, 9, 2, 17, 5, 1, 12])
    sampling = Sampling(max_new_tokens=6, stop_ids=frozenset(range(20)))
    expected = decoder_of(lm, 7).generate(contexts, range(7), sampling, noise())
    decoder = decoder_of(lm, 7, max_rows)
    for _ in range(2):  # the second time from caches that lie in other rows
        generation = decoder.generate(contexts, range(7), sampling, noise())
        assert replies(generation) == replies(expected)
        np.testing.assert_allclose(generation.log_probs, expected.log_probs, atol=2e-5)
        np.testing.assert_array_equal(generation.finished, expected.finished)


@given(order=st.permutations(range(5)))
@example(order=[4, 3, 2, 1, 0])
@settings(max_examples=10)
def test_the_order_of_the_batch_moves_the_noise_and_nothing_else(order: list) -> None:
    """Row b owns row b of the noise: greedy replies follow their contexts anywhere."""
    lm = fresh_lm("llama-grouped")
    contexts = random_contexts([4, 9, 2, 7, 5])
    decoder = decoder_of(lm, 5)
    expected = replies(decoder.generate(contexts, range(5), greedy(5)))
    moved = decoder.generate([contexts[i] for i in order], order, greedy(5))
    assert replies(moved) == [expected[i] for i in order]


def test_slots_of_equal_contexts_do_not_share_their_replies() -> None:
    """One prompt in eight slots, as in a group: eight draws, and eight caches after."""
    lm = fresh_lm("llama-grouped")
    context = random_contexts([12])[0]
    sampling = Sampling(max_new_tokens=8, stop_ids=frozenset(range(10)))
    decoder = decoder_of(lm, 8)
    first = decoder.generate([context] * 8, range(8), sampling, noise(3))
    check_generation(lm, [context] * 8, first, sampling, 3)
    assert len({tuple(reply) for reply in replies(first)}) == 8
    longer = [np.concatenate([context, first.reply(row), [row]]) for row in range(8)]
    second = decoder.generate(longer, range(8), sampling, noise(4))
    check_generation(lm, longer, second, sampling, 4)


def test_a_context_that_the_caller_writes_on_does_not_change_the_cache() -> None:
    lm = fresh_lm("llama-grouped")
    decoder = decoder_of(lm, 1)
    context = random_contexts([10])[0]
    decoder.generate([context], [0], greedy(3))
    context[2] = (context[2] + 1) % VOCAB  # the caller reuses its array
    generation = decoder.generate([context], [0], greedy(3))
    check_generation(lm, [context], generation, greedy(3))
    assert decoder.num_prefilled == 10 + 8


def test_caches_survive_growth_far_past_the_first_allocation() -> None:
    """One slot grows to the last position, one stays short, one comes late."""
    lm = fresh_lm("gpt2")
    decoder = decoder_of(lm, 3)
    contexts = random_contexts([5, 5])
    while len(contexts[0]) < CONTEXT - 8:
        generation = decoder.generate(contexts, [2, 0], greedy(4))
        check_generation(lm, contexts, generation, greedy(4))
        grown = np.concatenate([contexts[0], generation.reply(0), [1, 2, 3]])
        contexts = [grown, contexts[1]]
    late = random_contexts([CONTEXT - 3], seed=4)
    generation = decoder.generate([contexts[0], *late], [2, 1], greedy(4))
    check_generation(lm, [contexts[0], *late], generation, greedy(4))


class Fault(Exception):
    """What breaks in the middle of a call: memory, a device, a key press."""


def breaking(inner, after: int):
    """Return `inner`, which raises from its call number `after` on, once."""
    calls = iter(range(after + 1))

    def wrapped(*args, **kwargs):
        if next(calls, None) == after:
            raise Fault
        return inner(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize(
    ("owner", "name", "after"),
    [
        *((KeyValueCache, "arrange", after) for after in (0, 1, 2)),
        *((KeyValueCache, "update", after) for after in (0, 1, 3, 6)),
        *((KeyValueCache, "_allocate", after) for after in (0, 1, 3)),
        *((StepLoop, "prefill", after) for after in (0, 1)),
        *((StepLoop, "step", after) for after in (0, 1, 2)),
        *((StepLoop, "draw", after) for after in (0, 1, 3, 4)),
        *((CachedDecoder, "_settle", after) for after in (0, 1, 3)),
    ],
)
def test_after_a_fault_anywhere_replies_are_right_again(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, after: int
) -> None:
    lm = fresh_lm("llama-grouped")
    decoder = decoder_of(lm, 5, max_rows=3)
    sampling = Sampling(max_new_tokens=6, stop_ids=frozenset(range(40)))
    contexts = random_contexts([4, 9, 2, 7, 63])  # the last outgrows the allocation
    decoder.generate(contexts[:4], range(4), sampling, noise(1))
    order = [3, 4, 0, 2, 1]
    longer = [np.concatenate([contexts[slot], [1, 2]]) for slot in order]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, breaking(getattr(owner, name), after))
        with pytest.raises(Fault):
            decoder.generate(longer, order, sampling, noise(2))
    assert lm.module.config._attn_implementation == "sdpa"
    computed = decoder.num_prefilled
    again = decoder.generate(longer, order, sampling, noise(2))
    check_generation(lm, longer, again, sampling, 2)
    assert decoder.num_prefilled - computed == sum(map(len, longer))


@pytest.mark.parametrize("is_greedy", [True, False])
def test_weights_that_are_not_finite_are_reported_and_leave_no_trace(
    is_greedy: bool,
) -> None:
    """One NaN in a column that nobody may look at would still spoil its row's attention."""
    lm = fresh_lm("llama-grouped")
    decoder = decoder_of(lm, 2)
    sampling = Sampling(max_new_tokens=3, stop_ids=frozenset(), is_greedy=is_greedy)
    projection = lm.module.model.layers[0].self_attn.v_proj.weight
    whole = projection.detach().clone()
    with torch.no_grad():
        projection[0, 0] = torch.nan
    with pytest.raises(FloatingPointError, match=r"slots \[1, 0\] .*not finite"):
        decoder.generate(random_contexts([60, 50]), [0, 1], sampling, noise())
    with torch.no_grad():
        projection.copy_(whole)
    contexts = random_contexts([3, 40])
    decoder.generate(contexts[1:], [1], sampling, noise())
    # Slot 0 is short, but its forward reads as far as slot 1 does.
    generation = decoder.generate(contexts, [0, 1], sampling, noise(1))
    check_generation(lm, contexts, generation, sampling, 1)


def test_two_decoders_of_one_model_keep_their_own_caches() -> None:
    lm = fresh_lm("llama-grouped")
    contexts = random_contexts([5, 8])
    with lm.decoder(2) as outer, lm.decoder(1) as inner:
        first = outer.generate(contexts, [0, 1], greedy(4))
        inner.generate(random_contexts([20], seed=3), [0], greedy(4))
        again = outer.generate(contexts, [0, 1], greedy(4))
        assert inner.num_prefilled == 20 and outer.num_prefilled == 13 + 2
    np.testing.assert_array_equal(first.ids, again.ids)


def test_training_inside_the_block_is_training_as_usual() -> None:
    """Eval mode changes no gradient; the next reply is of the new weights."""
    inside, outside = toy_lm(), toy_lm()
    contexts = random_contexts([5, 8])
    for lm in (inside, outside):
        lm.configure_training(TrainingConfig(learning_rate=0.01))
    with inside.decoder(2) as decoder:
        for _ in range(2):
            generation = decoder.generate(contexts, [0, 1], greedy(4))
            check_generation(inside, contexts, generation, greedy(4))
            batch = batch_after(contexts, generation)
            norms = []
            for lm in (inside, outside):
                lm.backward(lm.evaluate(batch).log_probs.sum())
                norms.append(lm.step())
            assert norms[0] == norms[1]
    assert inside.module.training and outside.module.training
    pairs = zip(inside.module.parameters(), outside.module.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
