"""The tables of the pages about rewards say what the results say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.reward_figures import render_pipelines, render_reward_models

MADE = {"command": "python -m x --write", "date": "2026-01-02", "num_cores": 3}


def write(root: Path, name: str, result: dict[str, Any]) -> None:
    text = json.dumps({"provenance": MADE, **result})
    (root / f"2026-01-02_{name}.json").write_text(text, encoding="utf-8")


def row(kind: str, rate: float, seed: int, accuracy: float) -> dict[str, Any]:
    return {
        "env": "chat_envs/SocialChat-easy-v0",
        "kind": kind,
        "flip_rate": rate,
        "seed": seed,
        "num_pairs": 3000,
        "held_out": {"accuracy": {"mean": accuracy}},
    }


SPEED = {
    "num_prompts": 8,
    "seconds_together": 0.0204,
    "alone_over_together": {"median": 11.04, "low": 8.0, "high": 16.0},
}


def test_reward_models_are_a_row_a_kind_and_a_column_a_rate(tmp_path: Path) -> None:
    rows = [row("ngram", 0.2, 0, 0.75), row("ngram", 0.0, 0, 0.875)]
    write(tmp_path, "reward_model", {"rows": rows, "batching": [SPEED]})
    text = render_reward_models(tmp_path)
    assert "from 3,000 pairs" in text and "means over 1 training seed with" in text
    assert "| pairs of | kind | 0% | 20% |" in text
    assert "| SocialChat-easy-v0 | ngram | 0.88 | 0.75 |" in text
    assert "| 8 | 20 | 11.0 [8.0, 16.0] times as long |" in text
    assert "`python -m x --write`, 2026-01-02" in text


def test_several_seeds_have_intervals_and_are_not_mixed_with_others(
    tmp_path: Path,
) -> None:
    rows = [row("tiny", 0.0, seed, 0.5) for seed in (0, 1, 2)]
    rows += [row("ngram", 0.0, seed, 1.0) for seed in (0, 1, 2)]
    write(tmp_path, "reward_model", {"rows": rows, "batching": []})
    text = render_reward_models(tmp_path)
    assert "means over 3 training seeds with" in text
    assert "| SocialChat-easy-v0 | tiny | 0.50 [0.50, 0.50] |" in text
    assert "| SocialChat-easy-v0 | ngram | 1.00 [1.00, 1.00] |" in text


def test_a_rate_that_was_not_measured_of_a_kind_is_said_to_be_none(
    tmp_path: Path,
) -> None:
    rows = [row("tiny", 0.0, 0, 0.5), row("ngram", 0.1, 0, 1.0)]
    write(tmp_path, "reward_model", {"rows": rows, "batching": []})
    assert "| tiny | 0.50 | none |" in render_reward_models(tmp_path)


def test_sizes_that_differ_are_not_put_in_one_table(tmp_path: Path) -> None:
    rows = [row("tiny", 0.0, 0, 0.5), row("tiny", 0.1, 0, 0.5) | {"num_pairs": 100}]
    write(tmp_path, "reward_model", {"rows": rows, "batching": []})
    with pytest.raises(ValueError, match="several sizes, 100 and 3000 pairs"):
        render_reward_models(tmp_path)


def test_a_pipeline_is_a_column_with_its_steps_cost_and_gain(tmp_path: Path) -> None:
    gold = {
        "before": {"mean": 0.25, "low": 0.0, "high": 0.5},
        "after": {"mean": 0.75, "low": 0.5, "high": 1.0},
        "gain": {"mean": 0.5, "low": 0.25, "high": 0.75},
    }
    cost = {"seconds": 1.0, "cpu_seconds": 200.4, "peak_bytes": 1.25e9}
    rows = []
    for name, seconds in (("first", 61.6), ("second", 9.4)):
        steps = {"sft": {"seconds": seconds}, "ppo": {"seconds": 2 * seconds}}
        report = {"config": {"name": name}, "steps": steps, "gold": gold}
        rows.append(cost | {"report": report})
    del rows[1]["report"]["steps"]["sft"]
    write(tmp_path, "pipeline_cost", {"rows": rows})
    text = render_pipelines(tmp_path)
    assert "| | first | second |" in text
    assert "| sft, seconds | 62 |  |" in text
    assert "| ppo, seconds | 123 | 19 |" in text
    assert "| processor time, seconds | 200 | 200 |" in text
    assert "| memory at the most, GB | 1.25 | 1.25 |" in text
    gain = "0.50 [0.25, 0.75]"
    assert f"| gold return: gain | {gain} | {gain} |" in text
    assert text.count("2026-01-02, 3 cores") == 1


def test_a_missing_pipeline_names_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match="python -m benchmarks.pipeline_cost --write"
    ):
        render_pipelines(tmp_path)
