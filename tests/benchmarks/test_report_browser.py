"""The report as a reader meets it: in a browser, on a desk and on a phone, by mouse and by keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.report_page import write_report
from benchmarks.result_folder import read_results, write_cell
from tests.benchmarks.chromium import Chromium, find_chromium
from tests.benchmarks.synthetic_results import cell, transcript, write_grid

pytestmark = pytest.mark.skipif(
    find_chromium() is None,
    reason="no Chromium on PATH; `apt-get install chromium` brings one",
)

EVIL = "</script><script>window.evil=1</script><img src=x onerror=window.evil=1>"
EVIL_AGENT = 'evil"><b id=evil>$x$&amp;'
LONG = "unbreakable" * 60


def write_odd_cells(folder: Path) -> None:
    """Write cells that try to be more than text, and some that failed."""
    messages = [
        {"role": "user", "content": EVIL},
        {"role": EVIL, "content": "what role?"},
        {"role": "assistant", "content": f"{LONG} \ud800 \x00 \u202e"},
        {"role": "assistant", "content": "javascript:alert(1)"},
    ]
    odd = transcript("random", messages=messages, components={EVIL: [1.0, 2.0]})
    odd = replace(odd, record=odd.record | {"termination_reason": EVIL})
    for seed in range(3):
        write_cell(
            folder,
            cell(
                EVIL_AGENT,
                seed=seed,
                command=EVIL,
                transcripts=(odd,),
                budget={"tokens": 100_000},  # as the others': else it is set aside
            ),
        )
    write_cell(
        folder, cell(EVIL_AGENT, seed=3, status="failed", error=f"{EVIL}\n{LONG}")
    )
    (folder / "cells" / "stray<b>.txt").write_text("")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    easy = [f"chat_envs/{n}-easy-v0" for n in ("Echo", "Umbrella", "Recall", "Drift")]
    write_grid(folder, ["ppo", "grpo"], [*easy, "own/Task-v0"], 3)
    write_odd_cells(folder)
    return write_report(read_results(folder), folder / "out", num_replicates=100).html


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.mark.parametrize("width", [375, 1200])
def test_it_is_silent_and_asks_for_nothing(
    browser: Chromium, page: Path, width: int
) -> None:
    browser.open(page, width)
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.complaints() == []
    assert browser.requests() == [page.resolve().as_uri()]


def test_what_was_written_stays_text(browser: Chromium, page: Path) -> None:
    browser.open(page)
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.run("typeof window.evil") == "undefined"
    assert browser.run("document.scripts.length") == 1
    assert browser.run("document.querySelectorAll('img, #evil, iframe').length") == 0
    shown = browser.run("document.body.textContent")
    assert shown.count(EVIL) >= 5  # message, role, component, reason, command, error
    assert EVIL_AGENT in shown
    assert "stray<b>.txt" in shown


def test_its_policy_lets_nothing_else_run_or_load(
    browser: Chromium, page: Path
) -> None:
    browser.open(page)
    browser.run(
        "(() => { const s = document.createElement('script');"
        "s.textContent = 'window.evil = 1'; document.body.append(s); })()"
    )
    assert browser.run("typeof window.evil") == "undefined"
    asked = "fetch('http://127.0.0.1:9/').then(() => 'asked', e => e.name)"
    assert browser.run(asked) == "TypeError"
    assert browser.run("new Image().src = 'http://127.0.0.1:9/x.png'")
    assert any("Content Security Policy" in str(c) for c in browser.complaints())


@pytest.mark.parametrize("is_open", [False, True])
def test_a_phone_never_scrolls_sideways(
    browser: Chromium, page: Path, is_open: bool
) -> None:
    browser.open(page, 375)
    if is_open:
        browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.run("window.innerWidth") == 375
    wide = """[...document.body.querySelectorAll('*')].filter(e =>
        e.getBoundingClientRect().right > 376 && !e.closest('.scroll, pre')
    ).map(e => e.outerHTML.slice(0, 80))"""
    assert browser.run(wide) == []
    assert browser.run("document.documentElement.scrollWidth") <= 375
    # The tables themselves are wider: their wrappers are what scrolls.
    assert browser.run(
        "[...document.querySelectorAll('.scroll')].some(e => e.scrollWidth > e.clientWidth)"
    )


def shown(browser: Chromium) -> int:
    count: int = browser.run(
        "[...document.querySelectorAll('.transcript')]"
        ".filter(e => e.getBoundingClientRect().height > 0).length"
    )
    return count


def choose(browser: Chromium, name: str, value: str) -> None:
    browser.run(
        f"""(() => {{ const e = document.forms[0].elements[{name!r}];
        e.value = {value!r}; e.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"""
    )


def test_filters_show_what_they_name(browser: Chromium, page: Path) -> None:
    browser.open(page)
    # Two agents on five tasks: a random one of two runs, the best and the worst; and two odd ones.
    everything = 2 * 5 * 4 + 2
    assert shown(browser) == everything
    choose(browser, "agent", "ppo")
    assert shown(browser) == 20
    choose(browser, "kind", "best")
    assert shown(browser) == 5
    choose(browser, "env", "own/Task-v0")
    assert shown(browser) == 1
    choose(browser, "outcome", "no success")
    assert shown(browser) == 0
    status = browser.run("document.getElementById('count').textContent")
    assert status == f"0 of {everything} shown"
    browser.run("document.forms[0].querySelector('button').click()")
    browser.run("new Promise(done => setTimeout(done))")
    assert shown(browser) == everything
    choose(browser, "text", "WHAT ROLE?")
    assert shown(browser) == 2
    choose(browser, "agent", "grpo")
    assert shown(browser) == 0


def test_a_turn_shows_what_it_was_paid_for(browser: Chromium, page: Path) -> None:
    browser.open(page)
    texts = browser.run(
        "[...document.querySelectorAll('.transcript[data-kind=best] .assistant small')]"
        ".slice(0, 2).map(e => e.textContent)"
    )
    assert texts == ["paid 0.000, courtesy 0.125", "paid 1.000, task 1.000"]


def test_keys_alone_reach_filters_and_open_transcripts(
    browser: Chromium, page: Path
) -> None:
    browser.open(page)
    visited: list[Any] = []
    for _ in range(200):
        browser.press("Tab")
        visited.append(
            browser.run("document.activeElement.name || document.activeElement.tagName")
        )
        if browser.run("document.activeElement.matches('.transcript > summary')"):
            break
    assert {"A", "DIV", "agent", "env", "kind", "outcome", "text"} <= set(visited)
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert browser.run(outline) == "solid"
    assert not browser.run("document.activeElement.parentElement.open")
    browser.press("Enter")
    assert browser.run("document.activeElement.parentElement.open")


CONTRAST = """((ink, paper) => {
  const light = (text) => text.match(/\\d+/g).slice(0, 3).map(Number).map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const [a, b] = [light(ink), light(paper)].sort((x, y) => y - x);
  return (a + .05) / (b + .05);
})(getComputedStyle(document.querySelector(SELECTOR)).PROPERTY,
   getComputedStyle(document.body).backgroundColor)"""


@pytest.mark.parametrize(("scheme", "paper"), [("light", 255), ("dark", 20)])
def test_it_is_readable_in_light_and_dark(
    browser: Chromium, page: Path, scheme: str, paper: int
) -> None:
    browser.open(page, scheme=scheme)
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert background.startswith(f"rgb({paper},")
    for selector, name in (
        ("'body'", "color"),
        ("'small'", "color"),
        ("'.bad'", "color"),
        ("'figure svg text'", "fill"),
    ):
        script = CONTRAST.replace("SELECTOR", selector).replace("PROPERTY", name)
        assert browser.run(script) >= 4.5, (selector, scheme)
