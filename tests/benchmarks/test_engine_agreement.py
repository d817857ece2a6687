"""The check agrees where the engine is right, and sees it where it is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from agents.engine.causal_lm import CausalLM
from agents.engine.language_model import Generation
from benchmarks import engine_agreement
from benchmarks.engine_agreement import (
    ENGINES,
    MOMENTS,
    Agreement,
    check_family_on,
    main,
    table,
)
from benchmarks.family import FAMILIES, build_toy

CPU = torch.device("cpu")


def check(family: str, engine: str = "local") -> list[Agreement]:
    return check_family_on(family, engine, CPU, "float32")


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_sound_engine_agrees_at_every_moment(family: str) -> None:
    found = check(family)
    assert [one.moment for one in found] == list(MOMENTS)
    for one in found:
        assert not one.why
        assert one.num_identical == one.num_replies == 8
        assert one.agrees("float32")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_agrees_on_every_engine(family: str, engine: str) -> None:
    for one in check(family, engine):
        assert not one.why
        assert one.agrees("float32"), one


def test_an_engine_that_refuses_says_so_in_every_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError("not at this stage\nmore")

    monkeypatch.setattr(engine_agreement, "_load", refuse)
    found = check("llama", "zero-3")
    assert [one.why for one in found] == ["not supported: not at this stage"] * 3
    assert (
        table(found, "float32").count("| not supported: not at this stage | - |") == 3
    )


def test_a_decoder_that_says_something_else_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = engine_agreement._play

    def other(lm: CausalLM, *arguments: Any, **options: Any) -> list[Generation]:
        generations = plain(lm, *arguments, **options)
        generations[-1].ids[:, 2] = (generations[-1].ids[:, 2] + 1) % 97
        return generations

    monkeypatch.setattr(engine_agreement, "_play", other)
    found = check("llama")[0]
    assert found.num_identical == 4  # the first turn alone
    assert not found.agrees("float32")
    assert found.margin > 1e-4 and found.mean_gap > 1e-5


def test_the_margin_is_the_lead_of_the_id_that_should_have_been_said() -> None:
    module: Any = build_toy("llama").eval()
    context = np.arange(5)
    with torch.no_grad():
        logits = module(torch.from_numpy(context)[None]).logits[0, -1]
    order = logits.argsort(descending=True)
    best, second = int(order[0]), int(order[1])
    assert engine_agreement._margin(module, context, np.array([best])) is None
    margin = engine_agreement._margin(module, context, np.array([second]))
    assert margin == pytest.approx(float(logits[best] - logits[second]), abs=1e-5)


def test_updates_move_the_weights(tmp_path: Path) -> None:
    """Or the moment "updated" would be "new" again."""
    build_toy("llama").save_pretrained(tmp_path)
    lm = engine_agreement._load(tmp_path, "local", CPU, "float32")
    engine_agreement._update(lm, 0)
    start: Any = AutoModelForCausalLM.from_pretrained(tmp_path)
    pairs = zip(start.parameters(), lm.module.parameters(), strict=True)
    assert max(float((a - b).detach().abs().max()) for a, b in pairs) > 1e-3


def test_the_command_leaves_its_result_and_fails_where_something_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = "--families llama --engines local --device cpu --write --results".split()
    assert main([*flags, str(tmp_path)]) == 0
    (path,) = tmp_path.iterdir()
    assert path.name.endswith("_engine_agreement_cpu_float32.json")
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    assert [row["moment"] for row in rows] == list(MOMENTS)
    monkeypatch.setitem(engine_agreement._GAP_LIMIT, "float32", 0.0)
    assert main([*flags, str(tmp_path)]) == 1
