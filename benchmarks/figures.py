"""The measured figures of README.md and of pages in docs/, made from results and never typed.

python -m benchmarks.figures            # write them between the two marks
python -m benchmarks.figures --check    # exit 1 if they are not what the results say
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measurement import RESULTS, newest, source_of
from benchmarks.reward_figures import (
    render_overoptimization,
    render_pipelines,
    render_reward_models,
)

__all__ = ["PAGES", "render", "render_learning", "rewrite"]

_ROOT = Path(__file__).parent.parent
README = _ROOT / "README.md"
LEARNING = _ROOT / "docs" / "learning.md"
OVEROPTIMIZATION = _ROOT / "docs" / "overoptimization.md"
PIPELINE = _ROOT / "docs" / "pipeline.md"
REWARD_MODEL = _ROOT / "docs" / "reward_model.md"
BEGIN, END = "<!-- measured -->", "<!-- end of measured -->"


def render(root: Path = RESULTS) -> str:
    """Return the section of README.md, in Markdown."""
    parts = [_demo(newest("demo_cost", root)), _seeds(newest("demo_seeds", root))]
    parts.append(_stepping(newest("stepping", root)))
    parts.append(_throughput(newest("throughput_cpu", root)))
    return "\n\n".join(["## Measured", *parts])


def rewrite(text: str, section: str) -> str:
    """Return `text` with `section` between the marks.

    Raises:
        ValueError: unless each mark stands there once, in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"The text must have {BEGIN!r} and {END!r} once each.")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    return f"{head}{BEGIN}\n\n{section}\n\n{END}{tail}"


def _interval(interval: Mapping[str, float], sign: str = "") -> str:
    mean, low, high = (
        format(interval[key], f"{sign}.2f") for key in ("mean", "low", "high")
    )
    return f"{mean} [{low}, {high}]"


def _demo(result: Mapping[str, Any]) -> str:
    summary = result["summary"]
    before, after = summary["before"], summary["after"]
    lines = [
        f"**The main job**, `make demo` after installation: {result['seconds']:.0f} seconds and "
        f"{result['peak_bytes'] / 1e9:.2f} GB at the most ({source_of(result)}).",
        "",
        f"| {before['episodes']} held-out goals, replies sampled at temperature 1 "
        "| success | normalised score |",
        "| --- | --- | --- |",
    ]
    for name, scores in (("before: imitation", before), ("after: PPO", after)):
        lines.append(
            f"| {name} | {_interval(scores['success'])} "
            f"| {_interval(scores['normalised_score'])} |"
        )
    return "\n".join(lines)


def _seeds(result: Mapping[str, Any]) -> str:
    arms = result["arms"]
    num_seeds = len(arms["learning"]["rows"])
    names = {
        "learning": "as it is",
        "shuffled": "rewards shuffled (negative control)",
        "frozen": "learning rate 0 (negative control)",
    }
    lines = [
        f"**The same over {num_seeds} training seeds**, with its negative controls; means and 95% "
        f"bootstrap intervals over seeds ({source_of(result)}).",
        "",
        "| | gain in held-out success | normalised score after |",
        "| --- | --- | --- |",
    ]
    for arm, name in names.items():
        gain, score = arms[arm]["gain"], arms[arm]["score"]
        lines.append(f"| {name} | {_interval(gain, '+')} | {_interval(score)} |")
    return "\n".join(lines)


def _stepping(result: Mapping[str, Any]) -> str:
    rows = result["rows"]
    ours = {name: row for name, row in rows.items() if name.startswith("chat_envs/")}
    peers = {name: row for name, row in rows.items() if name not in ours}
    slowest = max(ours, key=lambda name: ours[name]["microseconds_a_turn"])
    most = ours[slowest]["microseconds_a_turn"]
    guess = ours["chat_envs/GuessNumber-v0"]["microseconds_a_turn"]
    words = (
        f"**A turn**, {result['num_envs']} dialogues in the native vector form, all in (reading, "
        f"simulator, tokens, reward, `info`, resets): {guess:.0f} microseconds for "
        f"`GuessNumber-v0`, {most:.0f} for `{slowest.removeprefix('chat_envs/')}`, the slowest of "
        f"{len(ours)} ids: {1e6 / most:,.0f} turns a second on one core ({source_of(result)})."
    )
    for name, row in peers.items():
        words += (
            f" {name}, strings in and strings out: {row['microseconds_a_turn']:.1f}; the "
            f"difference of {guess - row['microseconds_a_turn']:.0f} microseconds is what exact "
            "tokens, masks, spaces and seeded users cost."
        )
    return words


def _throughput(result: Mapping[str, Any]) -> str:
    columns = {
        ("fixed", "generate"): "replies of one length",
        ("varied", "generate"): "of varied lengths",
        ("turns", "generate"): "four turns",
        ("beside trl-grpo", "trl-grpo"): "a whole step beside TRL's GRPO",
        ("beside trl-rloo", "trl-rloo"): "beside its RLOO",
    }
    ratios: dict[str, dict[tuple[str, str], float]] = {}
    for row in result["rows"]:
        place = (row["scenario"], row["side"])
        ratios.setdefault(row["shape"], {})[place] = row["ratio"]["median"]
    lines = [
        "**The engine beside others**, the same weights, prompts, lengths and threads: how many "
        "times faster it generates than transformers' `generate`, and generates, scores and "
        "updates than TRL "
        f"({source_of(result)}).",
        "",
        f"| shape | {' | '.join(columns.values())} |",
        f"| --- |{' ---: |' * len(columns)}",
    ]
    for shape, of in ratios.items():
        figures = [f"{of[place]:.2f}" if place in of else "" for place in columns]
        lines.append(f"| {shape} | {' | '.join(figures)} |")
    return "\n".join(lines)


def render_learning(root: Path = RESULTS) -> str:
    """Return the table of docs/learning.md, in Markdown."""
    result = newest("learnability", root)
    lines = [
        "Normalised scores (0: blind, 1: expert) of replies sampled at temperature 1, means over "
        "training seeds; the gains with 95% bootstrap intervals over seeds; the processor time of "
        f"the longest run ({source_of(result)}).",
        "",
        "| environment | seeds | training goals: before | after | gain | held-out goals: before "
        "| after | gain | CPU seconds |",
        f"| --- |{' ---: |' * 8}",
    ]
    for env, of in result["gains"].items():
        cells = [env.removeprefix("chat_envs/"), str(of["num_seeds"])]
        for goals in ("training", "held_out"):
            before, after, gain = (
                of[goals][name] for name in ("before", "after", "gain")
            )
            ends = "" if gain["low"] is None else _interval(gain, "+").partition(" ")[2]
            cells += [f"{before['mean']:.2f}", f"{after['mean']:.2f}"]
            cells.append(f"{gain['mean']:+.2f} {ends}".strip())
        cells.append(f"{of['cpu_seconds']:.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


PAGES = {
    README: render,
    LEARNING: render_learning,
    OVEROPTIMIZATION: render_overoptimization,
    PIPELINE: render_pipelines,
    REWARD_MODEL: render_reward_models,
}
"""What is rendered between the marks of which page."""


def main() -> int:
    """Write the figures, or compare them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    is_check = parser.parse_args().check
    is_stale = False
    for page, rendered in PAGES.items():
        text = page.read_text(encoding="utf-8")
        fresh = rewrite(text, rendered())
        if fresh == text:
            continue
        is_stale = True
        if is_check:
            print(f"{page.name} is out of date: run `python -m benchmarks.figures`.")
        else:
            page.write_text(fresh, encoding="utf-8")
    return int(is_check and is_stale)


if __name__ == "__main__":
    sys.exit(main())
