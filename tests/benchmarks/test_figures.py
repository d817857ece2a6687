"""The README's figures: made from results, and only from them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import figures
from benchmarks.figures import (
    BEGIN,
    END,
    PAGES,
    render,
    render_learning,
    rewrite,
)
from benchmarks.measurement import newest

MADE = {"command": "python -m x --write", "date": "2026-01-02", "num_cores": 3}


def interval(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.25, "high": mean + 0.25}


def write(root: Path, name: str, result: dict[str, Any], date: str) -> None:
    record = {"provenance": MADE | {"date": date}, **result}
    (root / f"{date}_{name}.json").write_text(json.dumps(record), encoding="utf-8")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    scores = {"success": interval(0.5), "normalised_score": interval(0.25)}
    better = {"success": interval(1.0), "normalised_score": interval(0.75)}
    summary = {"before": scores | {"episodes": 7}, "after": better}
    cost = {"seconds": 61.4, "peak_bytes": 1.5e9, "summary": summary}
    arms = {
        arm: {"rows": [{}, {}], "gain": interval(gain), "score": interval(0.5)}
        for arm, gain in (("learning", 0.5), ("shuffled", -0.125), ("frozen", 0.0))
    }
    rows = {
        "chat_envs/GuessNumber-v0": {"microseconds_a_turn": 20.2},
        "chat_envs/CustomerService-v0": {"microseconds_a_turn": 44.4},
        "GEM (text)": {"microseconds_a_turn": 2.2},
    }
    write(tmp_path, "demo_cost", cost, "2026-01-02")
    write(tmp_path, "demo_seeds", {"arms": arms}, "2026-01-02")
    write(tmp_path, "stepping", {"num_envs": 9, "rows": rows}, "2026-01-02")
    sides = [("fixed", "ours", 1.0), ("fixed", "generate", 1.625)]
    sides.append(("beside trl-rloo", "trl-rloo", 2.375))
    compared = [
        {"shape": "1m", "scenario": scenario, "side": side, "ratio": {"median": ratio}}
        for scenario, side, ratio in sides
    ]
    write(tmp_path, "throughput_cpu", {"rows": compared}, "2026-01-02")
    return tmp_path


def test_each_figure_is_the_one_of_the_results(results: Path) -> None:
    text = render(results)
    assert "61 seconds and 1.50 GB" in text
    assert "| before: imitation | 0.50 [0.25, 0.75] | 0.25 [0.00, 0.50] |" in text
    assert "| after: PPO | 1.00 [0.75, 1.25] | 0.75 [0.50, 1.00] |" in text
    assert "over 2 training seeds" in text
    assert "| as it is | +0.50 [+0.25, +0.75] | 0.50 [0.25, 0.75] |" in text
    assert "(negative control) | -0.12 [-0.38, +0.12] |" in text
    assert "9 dialogues" in text
    assert "20 microseconds for `GuessNumber-v0`, 44 for `CustomerService-v0`" in text
    assert "the slowest of 2 ids: 22,523 turns a second" in text
    assert "GEM (text), strings in and strings out: 2.2; the difference of 18" in text
    assert text.count("`python -m x --write`, 2026-01-02, 3 cores, no GPU") == 4
    assert "| 1m | 1.62 |  |  |  | 2.38 |" in text


def test_what_is_learnt_is_a_row_an_environment(tmp_path: Path) -> None:
    several = {"before": interval(0.25), "after": interval(1.0), "gain": interval(0.75)}
    once = {name: {"mean": 0.5, "low": None, "high": None} for name in several}
    figures_of = {"num_seeds": 3, "training": several, "held_out": several}
    gains = {
        "chat_envs/Wordle-easy-v0": figures_of | {"cpu_seconds": 99.6},
        "chat_envs/Echo-easy-v0": {"num_seeds": 1, "training": once, "held_out": once}
        | {"cpu_seconds": 9.0},
    }
    write(tmp_path, "learnability", {"gains": gains}, "2026-01-02")
    lines = render_learning(tmp_path).splitlines()
    scores = "0.25 | 1.00 | +0.75 [+0.50, +1.00]"
    assert lines[-2] == f"| Wordle-easy-v0 | 3 | {scores} | {scores} | 100 |"
    alone = "0.50 | 0.50 | +0.50"
    assert lines[-1] == f"| Echo-easy-v0 | 1 | {alone} | {alone} | 9 |"


def test_the_newest_result_counts(results: Path) -> None:
    write(results, "demo_cost", {"seconds": 1}, "2026-02-01")
    write(results, "demo_cost", {"seconds": 2}, "2025-12-31")
    assert newest("demo_cost", results)["seconds"] == 1


def test_a_missing_result_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="python -m benchmarks.stepping"):
        newest("stepping", tmp_path)


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    text = f"above\n\n{BEGIN}\nold\n{END}\n\nbelow\n"
    once = rewrite(text, "new")
    assert once == f"above\n\n{BEGIN}\n\nnew\n\n{END}\n\nbelow\n"
    assert rewrite(once, "new") == once


@pytest.mark.parametrize("text", ["no marks", BEGIN, BEGIN + END + END])
def test_marks_that_are_not_there_once_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        rewrite(text, "new")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_say_what_the_results_say(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    rendered = PAGES[page]()
    assert rewrite(text, rendered) == text, "run `python -m benchmarks.figures`"


def test_every_result_names_its_command_commit_and_versions() -> None:
    paths = sorted(figures.RESULTS.glob("*.json"))
    assert paths
    for path in paths:
        record = json.loads(path.read_text(encoding="utf-8"))
        made = record["provenance"]
        assert path.name == f"{made['date']}_{record['name']}.json"
        assert re.match(r"python -m benchmarks\.\w+", made["command"]), path.name
        assert re.fullmatch(r"[0-9a-f]{7,40}", made["commit"]), path.name
        assert {"torch", "transformers", "gymnasium"} <= made["versions"].keys()
