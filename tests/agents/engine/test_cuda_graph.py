"""Bucketed steps whose capture replays eagerly: idle lanes, late looks and moved weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.engine.cuda_graph import GraphRunner, bucket_of_columns, bucket_of_rows
from agents.engine.decoder import CachedDecoder
from agents.engine.language_model import Sampling
from agents.engine.local import LocalLM
from agents.engine.step_loop import StepLoop
from tests.agents.engine.oracle import check_generation
from tests.agents.engine.toy import (
    CONTEXT,
    greedy,
    noise,
    random_contexts,
    replies,
    toy_lm,
)

LMS = {name: toy_lm(name) for name in ("llama-grouped", "gpt2", "gemma2")}
SHORT = Sampling(max_new_tokens=11, stop_ids=frozenset(range(20)))


class FakeCapture:
    """Warms up like a real capture, then repeats the step as it was captured."""

    def __init__(self) -> None:
        self.num_replays = 0

    def __call__(self, step: Callable[[], None]) -> Callable[[], None]:
        step()
        step()

        def replay() -> None:
            self.num_replays += 1
            step()

        return replay


def graph_decoder(
    lm: LocalLM, num_slots: int, max_rows: int = 8
) -> tuple[CachedDecoder, FakeCapture]:
    lm.network.eval()
    capture = FakeCapture()
    decoder = CachedDecoder(
        lm.network,
        num_slots,
        context_length=lm.context_length,
        version=lm._weights_version,
        max_rows=max_rows,
        runner=lambda loop: GraphRunner(loop, capture),
    )
    return decoder, capture


@settings(max_examples=20)
@given(
    family=st.sampled_from(sorted(LMS)),
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=7),
    max_rows=st.integers(1, 7),
    is_greedy=st.booleans(),
    orders=st.lists(st.permutations(range(7)), min_size=2, max_size=3),
)
def test_replies_over_turns_are_those_of_a_plain_forward(
    family: str, lengths: list[int], max_rows: int, is_greedy: bool, orders: list
) -> None:
    """Idle lanes lie in rows of other dialogues, whose caches they must leave alone."""
    lm = LMS[family]
    decoder, capture = graph_decoder(lm, 7, max_rows)
    dialogues = dict(enumerate(random_contexts(lengths)))
    sampling = greedy(9) if is_greedy else SHORT
    for number, order in enumerate(orders):
        # Not everybody speaks in every turn.
        slots = [slot for slot in order if slot in dialogues][: number + 2]
        slots = [slot for slot in slots if len(dialogues[slot]) < CONTEXT]
        contexts = [dialogues[slot] for slot in slots]
        computed = decoder.num_prefilled
        generation = decoder.generate(contexts, slots, sampling, noise(number))
        check_generation(lm, contexts, generation, sampling, number)
        assert decoder.num_prefilled > computed
        for row, slot in enumerate(slots):
            said = generation.reply(row)
            dialogues[slot] = np.concatenate([dialogues[slot], said, [number]])


def test_caches_are_kept_beside_idle_lanes() -> None:
    """Three run in a bucket of four: the fourth row belongs to a dialogue that is silent."""
    lm = LMS["llama-grouped"]
    decoder, _ = graph_decoder(lm, 4, 4)
    contexts = random_contexts([9, 30, 5, 17])
    first = decoder.generate(contexts, range(4), greedy(6))
    silent = np.concatenate([contexts[1], first.reply(1), [3]])
    others = [contexts[slot] for slot in (0, 2, 3)]
    decoder.generate(others, [0, 2, 3], greedy(30))
    computed = decoder.num_prefilled
    generation = decoder.generate([silent], [1], greedy(6))
    check_generation(lm, [silent], generation, greedy(6))
    assert (
        decoder.num_prefilled == computed + 2
    )  # the last id of the reply, and the new one


def test_one_graph_a_bucket_and_none_again_for_the_same() -> None:
    lm = LMS["llama-grouped"]
    decoder, capture = graph_decoder(lm, 8)
    contexts = random_contexts([4, 9, 2, 7, 5])
    for seed in range(3):
        sampling = Sampling(max_new_tokens=10, stop_ids=frozenset())
        generation = decoder.generate(contexts, range(5), sampling, noise(seed))
        check_generation(lm, contexts, generation, sampling, seed)
    assert decoder._runner.num_captures == 1
    # The first id comes from the prefill; no step runs past the longest reply.
    assert capture.num_replays == 3 * 9
    decoder.generate(contexts[:2], range(2), SHORT, noise())  # two rows
    decoder.generate(contexts[:2], range(2), greedy(11), None)  # drawn in another way
    assert decoder._runner.num_captures == 3


def test_updates_in_place_keep_the_graphs_and_moved_weights_drop_them() -> None:
    lm = toy_lm()
    decoder, _ = graph_decoder(lm, 2)
    contexts = random_contexts([4, 9])
    last = list(lm.module.parameters())[-1]
    for num_captures, change in (
        (1, lambda: None),
        (1, lambda: last.mul_(0.5)),
        (2, lambda: setattr(last, "data", last.data * 2)),
    ):
        with torch.no_grad():
            change()
        generation = decoder.generate(contexts, range(2), greedy(5))
        check_generation(lm, contexts, generation, greedy(5))
        assert decoder._runner.num_captures == num_captures


def test_grown_storage_drops_the_graphs() -> None:
    lm = LMS["llama-grouped"]
    decoder, _ = graph_decoder(lm, 2)
    decoder.generate(random_contexts([4, 9]), range(2), greedy(5))
    captures = decoder._runner.num_captures
    decoder.generate(random_contexts([4, 9]), range(2), greedy(70))  # longer replies
    assert decoder._runner.num_captures > captures


def test_a_step_asks_the_host_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that Python reads inside a step could not be captured."""
    lm = LMS["gemma2"]
    decoder, _ = graph_decoder(lm, 3)
    inner = StepLoop.step

    def refuse(*_: object) -> None:
        raise AssertionError("a captured step read a value back")

    def step(self: StepLoop, *arguments: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("item", "tolist", "numpy", "__bool__", "__int__", "__float__"):
                patch.setattr(torch.Tensor, name, refuse)
            inner(self, *arguments)

    monkeypatch.setattr(StepLoop, "step", step)
    sampling = Sampling(max_new_tokens=5, stop_ids=frozenset(), top_k=9, top_p=0.9)
    generation = decoder.generate(
        random_contexts([4, 9, 2]), range(3), sampling, noise()
    )
    assert generation.lengths.tolist() == [5, 5, 5]


def test_graphs_and_single_steps_give_the_same_replies() -> None:
    lm = LMS["llama-grouped"]
    contexts = random_contexts([4, 9, 2, 7, 5])
    with lm.decoder(5) as plain:
        expected = plain.generate(contexts, range(5), SHORT, noise(3))
    decoder, _ = graph_decoder(lm, 5, 3)
    generation = decoder.generate(contexts, range(5), SHORT, noise(3))
    assert replies(generation) == replies(expected)
    np.testing.assert_allclose(generation.log_probs, expected.log_probs, atol=2e-5)


@given(num_rows=st.integers(1, 300), spare=st.integers(0, 300))
def test_buckets_hold_what_they_are_for(num_rows: int, spare: int) -> None:
    most = num_rows + spare
    assert num_rows <= bucket_of_rows(num_rows, most) <= min(most, 2 * num_rows)
    columns = 7 * num_rows + spare
    assert columns <= bucket_of_columns(columns) < columns + max(128, columns / 8)
    assert bucket_of_columns(columns) % 128 == 0
