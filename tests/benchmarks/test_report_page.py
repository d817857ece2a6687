"""The three files of a report: made of raw results alone, the same bytes each time, all escaped."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cell import Curve
from benchmarks.report_page import Written, write_report
from benchmarks.report_text import escape
from benchmarks.result_folder import read_results, write_cell
from chat_envs import anchors
from tests.benchmarks.synthetic_results import cell, write_grid

DIAGNOSTICS = [
    f"chat_envs/{name}-easy-v0" for name in ("Echo", "Umbrella", "Recall", "Drift")
]


def report(folder: Path, out: str = "out", **options: Any) -> Written:
    return write_report(
        read_results(folder), folder / out, num_replicates=100, **options
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("core")
    write_grid(folder, ["ppo", "grpo"], DIAGNOSTICS, 3)
    own = anchors.load(DIAGNOSTICS[0])
    for seed in range(3):
        control = cell("shuffled", DIAGNOSTICS[0], seed, kind="control", anchors=own)
        write_cell(folder, control)
    write_cell(
        folder, cell("hostile:praise", "own/Task-v0", kind="script", score=0.125)
    )
    return folder


@pytest.fixture(scope="module")
def written(folder: Path) -> Written:
    return report(folder)


class Outline(HTMLParser):
    """The sections of a page, and whether every tag is closed in its turn."""

    VOID = {"meta", "br", "input", "link", "img"}

    def __init__(self) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if named.get("id"):
            self.ids.append(str(named["id"]))
        if tag == "section":
            self.sections.append(str(named["id"]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(page: Path) -> Outline:
    found = Outline()
    found.feed(page.read_text(encoding="utf-8"))
    assert found.open == []
    return found


def test_the_page_has_all_its_parts(written: Written) -> None:
    assert outline(written.html).sections == [
        "problems",
        "protocol",
        "aggregates",
        "reliability",
        "matrix",
        "tasks",
        "weaknesses",
        "curves",
        "gold",
        "language",
        "diagnostics",
        "controls",
        "hostile",
        "transcripts",
    ]


def test_no_id_is_given_twice(written: Written) -> None:
    ids = outline(written.html).ids
    assert len(ids) == len(set(ids))


def test_the_page_is_one_file_that_names_no_other(written: Written) -> None:
    text = written.html.read_text(encoding="utf-8")
    assert re.findall(r'(?:src|href)="([^#"][^"]*)"', text) == []
    assert re.findall(r"@import|url\((?!#)", text) == []
    assert "Content-Security-Policy" in text


def test_the_json_holds_the_three_figures_of_every_agent(written: Written) -> None:
    record = json.loads(written.json.read_text(encoding="utf-8"))
    assert set(record["agents"]) == {"ppo", "grpo"}
    for agent in record["agents"].values():
        for name in ("iqm", "optimality_gap", "probability_of_improvement"):
            found = agent[name]
            assert set(found) == {"value", "low", "high", "n"}
            assert found["low"] <= found["value"] <= found["high"]
            assert found["n"] == 12


def test_the_same_results_give_the_same_bytes(folder: Path, written: Written) -> None:
    again = report(folder, "again")
    for one, other in (
        (written.html, again.html),
        (written.markdown, again.markdown),
        (written.json, again.json),
    ):
        assert one.read_bytes() == other.read_bytes()


def test_another_seed_moves_the_ends_and_not_the_values(
    folder: Path, written: Written
) -> None:
    other = report(folder, "seed", seed=5).analysis["agents"]["ppo"]["iqm"]
    mine = written.analysis["agents"]["ppo"]["iqm"]
    assert other["value"] == mine["value"]
    assert (other["low"], other["high"]) != (mine["low"], mine["high"])


def test_the_page_and_the_markdown_print_the_figures_of_the_json(
    written: Written,
) -> None:
    page, markdown = (
        p.read_text(encoding="utf-8") for p in (written.html, written.markdown)
    )
    for found in written.analysis["agents"].values():
        value, low, high = (f"{found['iqm'][k]:.3f}" for k in ("value", "low", "high"))
        assert f"{value} <small>{low} to {high}</small>" in page
        assert f"{value} [{low}, {high}]" in markdown
        for k in ("1", "2"):
            assert f"<td>{found['pass_hat_k'][k]:.3f}</td>" in page
            assert f" {found['pass_hat_k'][k]:.3f} |" in markdown
    for heading in ("Over all tasks", "Who beats whom", "Task by task", "By tokens"):
        assert f"## {heading}" in markdown
    assert "| shuffled | all tasks | " in markdown
    assert "<td>shuffled</td><td>all tasks</td>" in page


def test_a_report_changes_no_raw_result(folder: Path, written: Written) -> None:
    before = {p: p.read_bytes() for p in sorted((folder / "cells").rglob("*.json"))}
    write_report(read_results(folder), folder, num_replicates=10)
    after = {p: p.read_bytes() for p in sorted((folder / "cells").rglob("*.json"))}
    assert before == after
    # Nor is a report taken for a result when it stands beside them.
    assert read_results(folder).problems == ()


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_too_few_seeds_are_shown_as_such(tmp_path: Path, num_seeds: int) -> None:
    for seed in range(num_seeds):
        write_cell(tmp_path, cell(seed=seed, score=0.625))
    found = report(tmp_path)
    page = found.html.read_text(encoding="utf-8")
    assert f"{num_seeds} run" in page and "3 are the least that is shown" in page
    assert "0.625" in page  # the run itself
    assert "not shown: " in found.markdown.read_text(encoding="utf-8")


def test_all_failed_cells_are_shown_as_such(tmp_path: Path) -> None:
    for seed in range(3):
        failed = {"status": "failed", "evaluations": {}, "error": "it <b>broke</b>"}
        write_cell(tmp_path, cell(seed=seed, **failed))
    found = report(tmp_path)
    page = found.html.read_text(encoding="utf-8")
    assert "all of its 3 runs failed" in page
    assert "3 of 3 failed" in page
    assert "it &lt;b&gt;broke&lt;/b&gt;" in page and "<b>broke" not in page
    assert "0.000" not in outline_text(page, "aggregates")
    assert "it &lt;b&gt;broke" in found.markdown.read_text(encoding="utf-8")


def outline_text(page: str, section: str) -> str:
    """Return the table of a section."""
    part = page[page.index(f'<section id="{section}"') :]
    return part[: part.index("</table>")]


def test_broken_files_are_named_in_all_three(tmp_path: Path) -> None:
    for seed in range(5):
        path = write_cell(tmp_path, cell(seed=seed))
    path.write_text('{"version": 1, ')
    found = report(tmp_path)
    for file in (found.html, found.markdown, found.json):
        text = file.read_text(encoding="utf-8").replace("\\", "")
        assert "own%2FTask-v0/4.json" in text and "torn" in text, file
    assert found.analysis["agents"]["ppo"]["iqm"]["n"] == 4


def test_a_report_of_nothing_but_broken_files_says_only_that(tmp_path: Path) -> None:
    write_cell(tmp_path, cell()).write_text("")
    found = report(tmp_path)
    assert outline(found.html).sections[0] == "problems"
    assert found.analysis["agents"] == {}


def test_markdown_takes_nothing_for_markup() -> None:
    assert escape("a|b\n<i> `c` [d](e) *f* # g & h") == (
        r"a\|b &lt;i&gt; \`c\` \[d\](e) \*f\* \# g &amp; h"
    )


def test_an_agent_name_cannot_break_the_tables(tmp_path: Path) -> None:
    name = "a|b\\`<i>$x$`"
    for seed in range(3):
        write_cell(tmp_path, cell(name, seed=seed))
    lines = report(tmp_path).markdown.read_text(encoding="utf-8").splitlines()
    table = [line for line in lines if line.startswith("|")]
    unescaped = {len(re.findall(r"(?<!\\)\|", line)) for line in table[:3]}
    assert len(unescaped) == 1


def test_who_spent_more_than_its_budget_is_shown_where_its_score_is(
    tmp_path: Path,
) -> None:
    for seed in range(3):
        for agent, tokens in (("greedy", 1500.0), ("fair", 1050.0)):
            curve = Curve(
                split="train",
                turns=(1.0,),
                tokens=(tokens + seed,),
                seconds=(1.0,),
                mean_return=(1.0,),
            )
            write_cell(tmp_path, cell(agent, seed=seed, curve=curve))
    written = report(tmp_path)
    words = "spent 1,500 to 1,502 of 1,000 tokens"
    page = written.html.read_text(encoding="utf-8")
    assert page.count(words) == 1 and "spent more than its budget" in page
    markdown = written.markdown.read_text(encoding="utf-8")
    (row,) = [line for line in markdown.splitlines() if words in line]
    assert row.startswith("| own/Task-v0") and "1,050" not in row
    assert "- greedy: " in markdown and "on 1 of 1 tasks" in markdown
    entry = written.analysis["tasks"]["own/Task-v0"]["agents"]
    assert entry["greedy"]["spent"]["is_off"] and not entry["fair"]["spent"]["is_off"]
