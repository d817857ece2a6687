"""The options of the DeepSpeed engine in two processes: they still train as one."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("deepspeed")

from safetensors.torch import load_file, save_file  # noqa: E402

from agents.engine import process_group  # noqa: E402
from agents.engine.causal_lm import CausalLM  # noqa: E402
from agents.engine.loading import load_lm  # noqa: E402
from tests.agents.engine.rank_program import (  # noqa: E402
    CONFIG,
    NUMBERS,
    launch,
    update,
)
from tests.agents.engine.toy import VOCAB  # noqa: E402

OFFLOAD = {"offload_optimizer": {"device": "cpu"}}
# name -> ZeRO stage, what ZeRO is told beside, options of `load_lm`, of `TrainingConfig`
OPTIONS: dict[str, tuple[int, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "offload-2": (2, OFFLOAD, {}, {}),
    "offload-3": (3, OFFLOAD, {}, {}),
    "lora-1": (1, {}, {"lora": {"r": 2}}, {}),
    "lora-3": (3, {}, {"lora": {"r": 2}}, {}),
    "checkpointing-3": (3, {}, {"gradient_checkpointing": True}, {}),
    "average-0": (0, {}, {}, {"ema_decay": 0.5}),
    "average-3": (3, {}, {}, {"ema_decay": 0.5}),
}
FAST = ("offload-3",)


def train(
    name: str, engine: str, rank: int = 0, num_ranks: int = 1
) -> tuple[CausalLM, list[float]]:
    """Two updates under the options `name`; the model and the gradient norms."""
    stage, zero, options, training = OPTIONS[name]
    if engine == "deepspeed":
        config = {"zero_optimization": {"stage": stage, **zero}}
        options = options | {"deepspeed_config": config}
    lm = load_lm(
        "tiny",
        vocab_size=VOCAB,
        engine=engine,
        device="cpu",
        has_value_head=True,
        **options,
    )
    lm.configure_training(dataclasses.replace(CONFIG, **training))
    norms = []
    for number in NUMBERS:
        norm, gap = update(lm, number, rank, num_ranks)
        assert gap <= 1e-5  # decoder and trainer agree
        norms.append(norm)
    return lm, norms


def weights(lm: CausalLM, is_averaged: bool) -> dict[str, torch.Tensor]:
    """The whole weights, or their moving average."""
    if is_averaged:
        with lm.averaged_weights(), lm._store.gathered():
            return _copies(lm)
    with lm._store.gathered():
        return _copies(lm)


def _copies(lm: CausalLM) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in lm.network.named_parameters()}


def run(name: str, out: Path) -> None:
    """What each process does."""
    rank, num_ranks = process_group.rank(), process_group.num_processes()
    lm, norms = train(name, "deepspeed", rank, num_ranks)
    has_average = "ema_decay" in OPTIONS[name][3]
    found = {"raw": weights(lm, False)}
    if has_average:
        found["average"] = weights(lm, True)
    for kind, tensors in found.items():
        save_file(tensors, out / f"{kind}{rank}.safetensors")
    report = {"norms": norms, "stage": lm.engine.zero_optimization_stage()}
    (out / f"rank{rank}.json").write_text(json.dumps(report))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in FAST else pytest.mark.slow)
        for name in OPTIONS
    ],
)
def test_two_processes_give_what_one_local_gives(name: str, tmp_path: Path) -> None:
    program = ["-m", "tests.agents.engine.test_hybrid_rank_options", name]
    launch([*program, str(tmp_path)], 2)
    local, norms = train(name, "local")
    kinds = {"raw": weights(local, False)}
    if "ema_decay" in OPTIONS[name][3]:
        kinds["average"] = weights(local, True)
    for rank in range(2):
        report = json.loads((tmp_path / f"rank{rank}.json").read_text())
        assert report["stage"] == OPTIONS[name][0]
        assert report["norms"] == pytest.approx(norms, rel=1e-4)
        for kind, expected in kinds.items():
            tensors = load_file(tmp_path / f"{kind}{rank}.safetensors")
            assert tensors.keys() == expected.keys()
            for key, tensor in tensors.items():
                torch.testing.assert_close(tensor, expected[key], atol=1e-5, rtol=0)
    start = load_lm(
        "tiny",
        vocab_size=VOCAB,
        engine="local",
        device="cpu",
        has_value_head=True,
        **OPTIONS[name][2],
    )
    moved = [
        float((p.detach() - kinds["raw"][key]).abs().max())
        for key, p in start.network.named_parameters()
        if p.requires_grad
    ]
    assert max(moved) > 1e-3  # there was something to do


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(sys.argv[1], Path(sys.argv[2]))
