"""Both sides generate the same lengths; a side that does not is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from agents.engine.local import LocalLM
from benchmarks.decoding import (
    batch_speaker,
    check_lengths,
    generate_speaker,
    our_generations,
    our_side,
    peer_side,
)
from benchmarks.peer import start_peers
from benchmarks.shape import build_model, countdown_model
from benchmarks.workload import Ids, Plan, fixed_plan, turns_plan, varied_plan
from tests.benchmarks.micro import MICRO

CPU = torch.device("cpu")


def scene(name: str) -> tuple[Plan, LocalLM]:
    if name == "fixed":
        model = build_model(MICRO, seed=0, device=CPU, dtype=torch.float32)
        return fixed_plan(MICRO, 0), LocalLM(model, name="micro")
    model = countdown_model(MICRO, seed=0, device=CPU, dtype=torch.float32)
    make = varied_plan if name == "varied" else turns_plan
    return make(MICRO, 0), LocalLM(model, name="micro")


@pytest.mark.parametrize("name", ["fixed", "varied", "turns"])
def test_our_replies_have_the_planned_lengths(name: str) -> None:
    plan, lm = scene(name)
    generations = our_generations(lm, plan, torch.Generator().manual_seed(0))
    assert np.array_equal([g.lengths for g in generations], plan.lengths)
    assert all(g.finished.all() == bool(plan.stop_ids) for g in generations)
    assert our_side(lm, plan)() > 0


@pytest.mark.parametrize("options", [{}, {"cache_implementation": "static"}])
@pytest.mark.parametrize("name", ["fixed", "varied", "turns"])
def test_the_peers_replies_have_the_planned_lengths(
    name: str, options: dict[str, str]
) -> None:
    plan, lm = scene(name)
    speak = generate_speaker(lm.module, plan, **options)
    lengths = []

    def listening(contexts: Sequence[Ids]) -> list[Ids]:
        replies = speak(contexts)
        lengths.append([len(reply) for reply in replies])
        return replies

    assert peer_side("generate", listening, plan, CPU)() > 0
    assert np.array_equal(lengths, plan.lengths)


def test_the_contexts_of_a_peer_are_those_of_ours() -> None:
    """On a countdown model all is determined, so both sides must come to the same dialogues."""
    plan, lm = scene("turns")
    generations = our_generations(lm, plan, torch.Generator().manual_seed(0))
    speak = generate_speaker(lm.module, plan)
    heard: list[list[Ids]] = []

    def listening(contexts: Sequence[Ids]) -> list[Ids]:
        heard.append(list(contexts))
        return speak(contexts)

    peer_side("generate", listening, plan, CPU)()
    for row in range(plan.num_rows):
        ours: list[Ids] = []
        for turn, generation in enumerate(generations):
            ours = [*ours, plan.news[turn][row]]
            assert np.array_equal(heard[turn][row], np.concatenate(ours))
            ours.append(generation.reply(row))


def test_replies_of_another_length_are_no_measurement() -> None:
    plan, _ = scene("varied")
    wrong = plan.lengths.copy()
    wrong[0, 3] += 1
    check_lengths("peer", plan, plan.lengths)
    with pytest.raises(
        RuntimeError, match="peer: 1 replies of 'varied'.*turn 0, row 3"
    ):
        check_lengths("peer", plan, wrong)


def test_a_side_that_stops_late_is_refused() -> None:
    plan, lm = scene("varied")
    endless = Plan(plan.name, plan.news, plan.lengths, frozenset())
    speak = generate_speaker(lm.module, endless)
    with pytest.raises(RuntimeError, match="not as long as planned"):
        peer_side("generate", speak, plan, CPU)()


@pytest.mark.slow
def test_continuous_batching_has_the_planned_lengths() -> None:
    for name in ("fixed", "varied"):
        plan, lm = scene(name)
        assert peer_side("batch", batch_speaker(lm.module, plan), plan, CPU)() > 0


def test_a_peer_that_fails_says_why_and_a_slow_one_is_not_paired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, lm = scene("fixed")

    def broken(model: object, plan: Plan) -> None:
        raise NotImplementedError("no kernel\nand more")

    monkeypatch.setattr(
        "benchmarks.peer.DECODE_PEERS",
        {"generate": generate_speaker, "broken": broken},
    )
    sides, reasons = start_peers(["generate", "broken"], lm.module, plan, CPU, 1e9)
    assert list(sides) == ["generate"]
    assert reasons == {"broken": "does not run: NotImplementedError: no kernel"}
    sides, reasons = start_peers(["generate"], lm.module, plan, CPU, 0.0)
    assert not sides
    assert reasons["generate"].startswith("too slow to be paired: one call took")
