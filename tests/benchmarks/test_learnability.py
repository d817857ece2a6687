"""The learnability benchmark: which environments, what a row holds, and what is made of rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.experience.script import check_script
from benchmarks import learnability
from benchmarks.learnability import gains, measure
from benchmarks.task_setting import SETTINGS, Setting
from chat_envs.registration import find
from chat_envs.suite import FAMILIES

_TIERS = ("easy", "default", "hard")


def row(env: str, seed: int, before: float, after: float, cpu: float) -> dict[str, Any]:
    """Return a row; on training goals all is 0.125 better."""

    def scores(value: float) -> dict[str, Any]:
        return {"normalised_score": {"mean": value}}

    return {
        "env": env,
        "seed": seed,
        "cpu_seconds": cpu,
        "before": {"sampled": scores(before)},
        "after": {"sampled": scores(after)},
        "training_goals": {
            "before": scores(before + 0.125),
            "after": scores(after + 0.125),
        },
    }


def test_every_environment_has_its_easiest_tier_in_it() -> None:
    easiest = {
        family.id(min(family.summaries, key=_TIERS.index)) for family in FAMILIES
    }
    assert {find(env).id for env in SETTINGS} == easiest
    for env, setting in SETTINGS.items():
        check_script(setting.script, env)


def test_gains_are_those_of_a_hand() -> None:
    rows = [row("a", 0, 0.0, 0.5, 9.0), row("a", 1, 0.25, 1.0, 7.0)]
    rows.append(row("b", 0, 0.5, 0.25, 1.0))
    found = gains(rows)
    assert list(found) == ["a", "b"]
    held_out, training = found["a"]["held_out"], found["a"]["training"]
    assert held_out["gain"]["mean"] == 0.625 == training["gain"]["mean"]
    assert held_out["before"]["mean"] == 0.125 and training["after"]["mean"] == 0.875
    assert found["a"]["num_seeds"] == 2 and found["a"]["cpu_seconds"] == 9.0
    # Of two values the interval's ends are the values.
    assert (held_out["gain"]["low"], held_out["gain"]["high"]) == (0.5, 0.75)
    assert found["b"]["held_out"]["gain"] == {"mean": -0.25, "low": None, "high": None}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Learn next to nothing, quickly."""
    monkeypatch.setenv("CHAT_ENVS_CACHE", str(tmp_path / "cache"))
    brief = {"Echo-easy-v0": Setting(64, 2, "expert+blind", num_eval_episodes=4)}
    monkeypatch.setattr(learnability, "SETTINGS", brief)
    return tmp_path


def test_a_row_is_a_whole_run(short: Path) -> None:
    made = measure("Echo-easy-v0", 3, short)
    assert made["env"] == "chat_envs/Echo-easy-v0" and made["seed"] == 3
    assert made["cpu_seconds"] > 0 and made["num_timesteps"] >= 64
    for when in ("before", "after"):
        assert made[when]["sampled"]["episodes"] == 4
        assert made[when]["sampled"]["split"] == "test"
        assert made["training_goals"][when]["split"] == "train"
    assert [m["role"] for m in made["transcript"]["messages"]][:2] == ["system", "user"]
    json.dumps(made)


def test_an_ended_run_is_not_repeated(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def fake(env: str, seed: int, root: Path) -> dict[str, Any]:
        asked.append((env, seed))
        return {"env": env, "seed": seed}

    monkeypatch.setattr(learnability, "measure", fake)
    first = learnability._row("Echo-easy-v0", 1, short / "rows")
    assert learnability._row("Echo-easy-v0", 1, short / "rows") == first
    learnability._row("Echo-easy-v0", 2, short / "rows")
    assert asked == [("Echo-easy-v0", 1), ("Echo-easy-v0", 2)]
    learnability._row("Echo-easy-v0", 10, short / "rows")
    kept = learnability._kept("Echo-easy-v0", short / "rows")
    assert [row["seed"] for row in kept] == [1, 2, 10]
