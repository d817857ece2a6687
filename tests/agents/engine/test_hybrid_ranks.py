"""Two processes train as one: the wall-clock changes, not the mathematics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("deepspeed")

from agents.engine.causal_lm import CausalLM  # noqa: E402
from agents.engine.hybrid import HybridEngineLM  # noqa: E402
from agents.engine.loading import load_lm  # noqa: E402
from agents.engine.local import LocalLM  # noqa: E402
from tests.agents.engine.rank_program import (  # noqa: E402
    CONFIG,
    NUMBERS,
    run_ranks,
    update,
)
from tests.agents.engine.toy import VOCAB, toy_model  # noqa: E402


@dataclass
class Launch:
    """What came of a launch, and the local engine that did the same in this process."""

    stage: int
    directory: Path
    reports: list[dict[str, Any]]
    local: LocalLM
    norms: list[float]


def build(kind: type[CausalLM], seed: int, **options: Any) -> CausalLM:
    module = toy_model("llama-grouped", seed)
    lm = kind(module, name="toy", has_value_head=True, **options)
    lm.configure_training(CONFIG)
    return lm


def at_stage(stage: int, seed: int = 8) -> CausalLM:
    config = {"zero_optimization": {"stage": stage}}
    return build(HybridEngineLM, seed, deepspeed_config=config)


def largest_difference(first: CausalLM, second: CausalLM) -> float:
    with first._store.gathered(), second._store.gathered(), torch.no_grad():
        pairs = zip(
            first.network.parameters(), second.network.parameters(), strict=True
        )
        return max(float((a - b).abs().max()) for a, b in pairs)


# One stage runs with the fast tests: the one where least is whole.
@pytest.fixture(
    scope="module",
    params=[
        pytest.param(0, marks=pytest.mark.slow),
        pytest.param(1, marks=pytest.mark.slow),
        pytest.param(2, marks=pytest.mark.slow),
        3,
    ],
)
def launch(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Launch:
    directory = tmp_path_factory.mktemp("ranks")
    local = build(LocalLM, seed=0)
    update(local, 0)
    local.freeze_reference()
    local.save(directory / "start")
    reports = run_ranks(request.param, 2, directory / "start", directory)
    norms = [update(local, number)[0] for number in NUMBERS]
    return Launch(request.param, directory, reports, local, norms)


def test_each_process_has_a_hybrid_engine(launch: Launch) -> None:
    for report in launch.reports:
        assert report["is_hybrid"]
        assert (report["stage"], report["num_ranks"]) == (launch.stage, 2)


def test_two_processes_with_half_a_batch_are_one_with_all_of_it(launch: Launch) -> None:
    other = build(LocalLM, seed=3)
    other.load(launch.directory / "saved")
    assert largest_difference(other, launch.local) <= 1e-5
    start = build(LocalLM, seed=3)
    start.load(launch.directory / "start")
    assert largest_difference(start, launch.local) > 1e-3  # there was something to do
    for report in launch.reports:
        assert report["norms"] == pytest.approx(launch.norms, rel=1e-5)
        assert min(report["norms"]) > CONFIG.max_grad_norm  # clipping had a say


def test_decoder_and_trainer_agree_after_every_update(launch: Launch) -> None:
    for report in launch.reports:
        assert max(report["gaps"]) <= 1e-5


def test_addresses_stay_below_stage_3(launch: Launch) -> None:
    if launch.stage < 3:
        assert all(report["stayed"] for report in launch.reports)


def test_processes_sample_different_replies(launch: Launch) -> None:
    first, second = (report["replies"] for report in launch.reports)
    assert first != second


def test_a_nan_in_one_process_is_refused_by_both(launch: Launch) -> None:
    for report in launch.reports:
        assert "not finite" in report["refused"] or "norm is nan" in report["refused"]
    norm = update(launch_copy(launch), 3)[0]
    for report in launch.reports:
        assert report["norm_after"] == pytest.approx(norm, rel=1e-4)


def launch_copy(launch: Launch) -> CausalLM:
    """A local engine at the saved state, so that the tests do not depend on their order."""
    lm = build(LocalLM, seed=4)
    lm.load(launch.directory / "saved")
    return lm


def test_a_file_that_is_missing_is_named_by_both(launch: Launch) -> None:
    for report in launch.reports:
        assert "training.json is missing" in report["missing"]


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_saved_states_load_at_another_stage_in_one_process(
    launch: Launch, stage: int
) -> None:
    lm, local = at_stage(stage), launch_copy(launch)
    lm.load(launch.directory / "saved")
    assert largest_difference(lm, local) == 0
    assert lm._reference is not None
    for number in (4, 5):
        assert update(lm, number)[0] == pytest.approx(
            update(local, number)[0], rel=1e-5
        )
    assert largest_difference(lm, local) <= 1e-4


def test_a_model_written_by_several_processes_is_a_plain_directory(
    launch: Launch,
) -> None:
    lm = load_lm(
        launch.directory / "pretrained",
        vocab_size=VOCAB,
        engine="local",
        device="cpu",
        has_value_head=True,
    )
    assert largest_difference(lm, launch_copy(launch)) == 0
