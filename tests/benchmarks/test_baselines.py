"""The page of the baselines: what the reports of committed results say, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.baselines import render_baselines, write_baselines
from benchmarks.result_folder import write_cell
from chat_envs import anchors
from tests.benchmarks.synthetic_results import cell, write_grid

TASKS = [f"chat_envs/{name}-easy-v0" for name in ("Echo", "Umbrella", "Recall")]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    for name in ("core", "diagnostics"):
        write_grid(root / name, ["reinforce", "ppo"], TASKS, 3)
    for task in TASKS:
        own = anchors.load(task)
        for seed in range(3):
            control = cell("ppo+shuffled", task, seed, kind="control", anchors=own)
            write_cell(root / "core", control)
    return root


@pytest.fixture(scope="module")
def reports(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    reports = tmp_path_factory.mktemp("reports")
    written = write_baselines(results, reports)
    assert [folder.name for folder in written] == ["core", "diagnostics"]
    return reports


def read(reports: Path, name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(
        (reports / name / "results.json").read_text(encoding="utf-8")
    )
    return record


def test_each_report_has_its_page_and_its_figures(reports: Path) -> None:
    files = {path.name for path in (reports / "core").iterdir()}
    assert files == {
        "iqm.svg",
        "profile.svg",
        "radar.svg",
        "report.html",
        "report.md",
        "results.json",
        "tokens.svg",
    }
    svg = (reports / "core" / "radar.svg").read_text(encoding="utf-8")
    assert svg.startswith("<svg") and "var(" not in svg


def test_the_page_prints_the_figures_of_the_reports(reports: Path) -> None:
    page = render_baselines(reports)
    core = read(reports, "core")
    for agent, of in core["agents"].items():
        iqm = of["iqm"]
        told = f"{iqm['value']:.2f} [{iqm['low']:.2f}, {iqm['high']:.2f}]"
        assert f"| `{agent}` | {told} |" in page
        gap = of["generalisation_gap"]["value"]
        assert f"| `{agent}` | {gap:+.2f} [" in page
        best = core["weaknesses"][agent]
        assert f"- `{agent}`: best on {best['num_best']} of 3 tasks" in page
    rise = core["controls"][0]["gain"]
    assert rise["value"] is not None
    assert f"| `ppo+shuffled` | {rise['value']:+.2f} [" in page
    assert page.count("2 agents, 3 tasks, 3 seeds, ") == 2
    assert "0 of them failed; budgets of 100,000 to 100,000 tokens" in page


def test_the_best_agent_stands_first_and_the_best_of_a_task_is_bold(
    reports: Path,
) -> None:
    page, core = render_baselines(reports), read(reports, "core")
    iqm = {agent: of["iqm"]["value"] for agent, of in core["agents"].items()}
    best, other = sorted(iqm, key=lambda agent: -iqm[agent])
    assert page.index(f"| `{best}` |") < page.index(f"| `{other}` |")
    for task in TASKS:
        means = {
            agent: round(entry["score"]["value"], 2)
            for agent, entry in core["tasks"][task]["agents"].items()
        }
        assert f"**{max(means.values()):.2f}**" in page


def test_without_results_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert write_baselines(tmp_path, tmp_path / "reports") == []
    assert render_baselines(tmp_path / "reports") == ""
