"""The gallery: which cheat and which trained policy it shows, and that nothing leaves its block."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gallery import (
    best_hostile,
    gallery,
    newest_result,
    progress,
    section,
    source_line,
    trained_dialogue,
    trained_rows,
)
from generated_page import NUM_HOSTILE_EPISODES, families, hostile_scores
from markdown_it import MarkdownIt

from chat_envs.registration import find

NASTY = (
    "````\n# Stolen heading\n```python\nraise SystemExit\n```\n](nowhere.md) \ud800\x1b"
)


def row(env: str, seed: int = 0, said: str = "cup", **more: Any) -> dict[str, Any]:
    """Return a row as the benchmark writes it."""
    messages = [
        {"role": "user", "content": "cup"},
        {"role": "assistant", "content": said},
    ]
    transcript = {
        "return": 0.5,
        "success": True,
        "termination_reason": "answered",
        "messages": messages,
    }
    return {"env": env, "seed": seed, "transcript": transcript, **more}


def write(folder: Path, name: str, *rows: dict[str, Any]) -> Path:
    path = folder / name
    path.write_text(json.dumps({"rows": rows}), encoding="utf-8")
    return path


def scored(mean: float) -> dict[str, Any]:
    return {"sampled": {"normalised_score": {"mean": mean}}}


def test_the_newest_result_is_that_with_the_latest_date(tmp_path: Path) -> None:
    assert newest_result(tmp_path) is None
    for name in ("2026-12-01_a", "2026-11-30_learnability", "2026-10-31_learnability"):
        write(tmp_path, f"{name}.json")
    found = newest_result(tmp_path)
    assert found is not None and found.name == "2026-11-30_learnability.json"
    assert found.name in source_line(found)
    assert source_line(None) == "No policy has been trained for it yet."


def test_the_smallest_seed_of_each_environment_is_shown(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "x_learnability.json",
        row("chat_envs/Echo-v0", 2),
        row("chat_envs/Echo-v0", 1),
        row("Drift-v0", 3),
        {"env": "chat_envs/Recall-v0", "seed": 0},
    )
    rows = trained_rows(path)
    assert {env: r["seed"] for env, r in rows.items()} == {
        "chat_envs/Echo-v0": 1,
        "chat_envs/Drift-v0": 3,
    }
    assert trained_rows(None) == {}


def test_a_policy_of_the_first_trained_tier_is_shown() -> None:
    tiers = families()["Echo"]
    rows = {t.id: row(t.id, said=t.tier) for t in tiers if t.tier != "easy"}
    lines = trained_dialogue(tiers, rows)
    assert lines[0] == (
        "**A trained policy** of a tiny model, `chat_envs/Echo-v0`, training seed 0: return "
        "0.50, success (answered)."
    )
    assert lines[2:] == ["```text", "user: cup", "assistant: default", "```"]


def test_where_none_was_trained_the_page_says_so() -> None:
    assert trained_dialogue(families()["Echo"], {}) == [
        "**A trained policy**: none was trained on it."
    ]


def test_an_unknown_return_and_a_failure_are_named() -> None:
    tiers = families()["Echo"]
    failed = row(tiers[0].id)
    failed["transcript"] |= {"return": None, "success": False}
    assert (
        "return unknown, no success (answered)"
        in trained_dialogue(tiers, {tiers[0].id: failed})[0]
    )


def test_the_progress_is_told_where_it_is_known() -> None:
    known = row("Echo-v0", before=scored(0.125), after=scored(0.9))
    assert progress(known) == (
        " Its mean normalised score was 0.12 before and 0.90 after training."
    )
    assert progress(row("Echo-v0", before=scored(0.1), after={})) == ""
    unscored = {"sampled": {"normalised_score": None}}
    assert progress(row("Echo-v0", before=unscored, after=unscored)) == ""


def test_the_best_paid_cheat_is_none_that_is_exempt() -> None:
    # Echoing is the task of Echo; all else earns nothing there, and the first of all is named.
    assert best_hostile(find("Echo-easy-v0")) == ("empty", pytest.approx(0.0))
    scores = hostile_scores("chat_envs/GuessNumber-easy-v0", NUM_HOSTILE_EPISODES)
    name, score = best_hostile(find("GuessNumber-easy-v0"))
    assert scores[name] == score == max(scores.values()) > min(scores.values())


def test_a_section_shows_three_dialogues_and_nothing_of_them_leaves_its_block() -> None:
    tiers = families()["Echo"]
    lines = section("Echo", tiers, {tiers[0].id: row(tiers[0].id, said=NASTY)})
    tokens = MarkdownIt().enable("table").parse("\n".join(lines))
    fences = [token.content for token in tokens if token.type == "fence"]
    assert len(fences) == 3
    assert "Stolen heading" in fences[2] and "\\ud800" in fences[2]
    headings = [
        tokens[i + 1].content for i, t in enumerate(tokens) if t.type == "heading_open"
    ]
    assert headings == ["Echo"]
    assert not any(line.startswith("```python") for line in lines)
    text = "\n".join(lines)
    assert "[its page](environments/echo.md)" in text
    for tier in tiers:
        assert f"| {tier.tier} | {tier.summary} | 1 | 1.000 |" in text


def test_the_gallery_is_the_same_each_time_and_groups_every_family(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = {name: families()[name] for name in ("Echo", "GuessNumber", "CopyBack")}
    monkeypatch.setattr("gallery.families", lambda: chosen)
    text = gallery()
    assert text == gallery()
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "# Gallery",
        "## Diagnostics",
        "### Echo",
        "### CopyBack",
        "## Games",
        "### GuessNumber",
    ]
