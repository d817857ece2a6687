"""Fine-tuning on data: what is learnt, what is measured, what is left behind."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.commands import sft
from agents.dialogue_data import Blend, load_blend
from agents.experience.rollout import Rollout
from agents.export import load_model
from agents.fine_tuning import FineTuneConfig, fine_tune, save_fine_tuned
from agents.imitation import measure_likelihood
from chat_envs.tokenizer import load_tokenizer
from tests.agents.run_program import run_ranks
from tests.agents.toys import WORDS, make_lm

TOKENIZER = load_tokenizer()


def blend_of(path: Path, number: int = 40) -> Blend:
    lines = [
        {
            "prompt": f"Say {WORDS[n % 4]} {n % 3}",
            "completion": f"{WORDS[n % 4]} {n % 3}",
        }
        for n in range(number)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return load_blend([str(path)], TOKENIZER, 64)


def short(**fields: Any) -> FineTuneConfig:
    return FineTuneConfig(
        **({"num_steps": 40, "num_rows": 8, "num_warmup_steps": 5} | fields)
    )


def test_held_out_likelihood_is_reported_before_and_after(tmp_path: Path) -> None:
    blend = blend_of(tmp_path / "d.jsonl")
    lm = make_lm(has_value_head=False)
    before = measure_likelihood(lm, blend.valid()[str(tmp_path / "d.jsonl")], 10_000)
    result = fine_tune(lm, blend, short())
    (found,) = result.before.values()
    (after,) = result.after.values()
    assert found == before and found["dialogues"] == 4
    assert after["cross_entropy"] < 0.5 * before["cross_entropy"]
    assert after["perplexity"] == pytest.approx(math.exp(after["cross_entropy"]))
    assert len(result.curve) == 40
    assert result.curve[-1]["cross_entropy"] < result.curve[0]["cross_entropy"]
    assert json.loads(json.dumps(result.as_dict()))["steps"] == 40


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    tmp_path: Path,
) -> None:
    blends = [blend_of(tmp_path / "d.jsonl") for _ in range(2)]
    other = Blend(blends[0].sources, seed=1)
    models = []
    for blend in (*blends, other):
        lm = make_lm(has_value_head=False)
        fine_tune(lm, blend, short(num_steps=3))
        models.append(torch.cat([p.flatten() for p in lm.module.parameters()]))
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


def test_a_step_size_of_0_learns_nothing(tmp_path: Path) -> None:
    blend = blend_of(tmp_path / "d.jsonl")
    result = fine_tune(
        make_lm(has_value_head=False), blend, short(learning_rate=0, num_steps=3)
    )
    assert result.before == result.after


def test_the_average_is_measured_and_can_be_what_is_written(tmp_path: Path) -> None:
    blend = blend_of(tmp_path / "d.jsonl")
    lm = make_lm(has_value_head=False)
    result = fine_tune(lm, blend, short(ema_decay=0.8, eval_every=20))
    assert result.averaged is not None and result.averaged != result.after
    assert [n for n, line in enumerate(result.curve, 1) if "valid" in line] == [20, 40]
    for is_averaged, expected in ((False, result.after), (True, result.averaged)):
        target = tmp_path / f"model-{is_averaged}"
        save_fine_tuned(lm, TOKENIZER, result, target, is_averaged=is_averaged)
        loaded, _ = load_model(str(target), engine="local")
        (valid,) = blend.valid().values()
        (figures,) = expected.values()
        again = measure_likelihood(loaded, valid, 16384)
        assert again["cross_entropy"] == pytest.approx(
            figures["cross_entropy"], abs=1e-3
        )
        record = json.loads((target / "fine_tuning.json").read_text())
        assert len(record["curve"]) == 40


def fine_tune_together(data: str, output: str) -> None:
    """Carry out the command in one of several processes."""
    argv = ["--data", data, "--output", output, "--engine", "deepspeed", "--json"]
    for setting in ("num_steps=3", "num_rows=6", "token_budget=40"):
        argv += ["--set", setting]
    assert sft.run(argv) == 0


@pytest.mark.slow
def test_several_processes_learn_what_one_does(tmp_path: Path) -> None:
    blend_of(tmp_path / "d.jsonl")
    weights = []
    for num_ranks in (1, 2):
        output = tmp_path / f"out{num_ranks}"
        run_ranks(
            tmp_path / f"desk{num_ranks}",
            fine_tune_together,
            str(tmp_path / "d.jsonl"),
            str(output),
            num_ranks=num_ranks,
        )
        lm, _ = load_model(str(output), engine="local")
        weights.append(torch.cat([p.flatten() for p in lm.module.parameters()]))
    assert torch.allclose(weights[0], weights[1], atol=1e-4)
    printed = [(tmp_path / f"desk2/stdout{rank}").read_text() for rank in (0, 1)]
    assert '"steps": 3' in printed[0] and "steps" not in printed[1]


def test_every_step_learns_from_the_next_rows(tmp_path: Path) -> None:
    blend = blend_of(tmp_path / "d.jsonl")
    dealt: list[tuple[int, int]] = []
    deal = blend.deal

    def observed(first: int, num_rows: int) -> Rollout:
        dealt.append((first, num_rows))
        return deal(first, num_rows)

    blend.deal = observed  # type: ignore[method-assign]
    fine_tune(make_lm(has_value_head=False), blend, short(num_steps=3))
    assert dealt == [(0, 8), (8, 8), (16, 8)]
