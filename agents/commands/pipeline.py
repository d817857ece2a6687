"""`chat-envs pipeline`: from a base model to an aligned policy, by the steps of one file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.commands.terminal import (
    BadInput,
    TerminalObserver,
    bad_input,
    command,
    parse_yaml,
    print_json,
    printable,
)
from agents.hyperparameter import build_config
from agents.pipeline import REPORT_FILE, STEPS, PipelineConfig, run_pipeline
from agents.train import RUNS
from chat_envs.commands.argument import CommandParser

__all__ = ["SUMMARY", "read_pipeline", "run"]

SUMMARY = "Take the steps of a pipeline file, or those that are left of it."
EXAMPLE = "chat-envs pipeline docs/pipeline_tiny.yaml"
_NOTES = f"""\
The file maps `name`, `env`, `lm`, `seed` and the steps' names to their settings. The steps, all of
them optional, are taken in this order: {', '.join(STEPS)}.
Each leaves a directory below runs/NAME/. Started again, with the same file, after a kill too, the
command skips what is there, whole, and made from the same. The figures: runs/NAME/{REPORT_FILE}."""


@command
def run(argv: Sequence[str]) -> int:
    """Carry out the command; return its exit code."""
    arguments = _parse(argv)
    with bad_input():
        config = read_pipeline(arguments.file, arguments.set)
    with TerminalObserver() as observer:
        try:
            report = run_pipeline(config, observer=observer)
        except (ValueError, FileNotFoundError, ImportError) as error:
            # What a step finds wrong with its data, its model or its packages.
            raise BadInput(str(error)) from error
    if arguments.json:
        print_json(report)
    else:
        _show(RUNS / config.name, report)
    return 0


def read_pipeline(path: Path, assignments: Sequence[str] = ()) -> PipelineConfig:
    """Return the pipeline that a YAML file describes, with `STEP.KEY=VALUE` laid over it.

    Raises:
        BadInput: it cannot be read, or describes none.
    """
    if not path.is_file():
        raise BadInput(f"There is no file {path}.")
    try:
        values = parse_yaml(path.read_text("utf-8"))
    except ValueError as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise BadInput(f"{path} must map the fields of a pipeline to their values.")
    values.setdefault("name", path.stem)
    for assignment in assignments:
        _assign(values, assignment)
    try:
        return build_config(PipelineConfig, values)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{path}: {error}") from error


def _assign(values: dict[str, Any], assignment: str) -> None:
    """Lay one `--set` over the file's values, at any depth."""
    key, equals, text = assignment.partition("=")
    if not (key and equals):
        raise BadInput(f"--set wants KEY=VALUE, got {assignment!r}.")
    *groups, name = key.split(".")
    place = values
    for group in groups:
        below = place.setdefault(group, {})
        if not isinstance(below, dict):
            raise BadInput(f"--set {key}: {group!r} has no fields.")
        place = below
    try:
        place[name] = parse_yaml(text)
    except ValueError as error:
        raise BadInput(f"--set {assignment}: {error}") from error


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("pipeline", SUMMARY, EXAMPLE, notes=_NOTES)
    parser.add_argument("file", metavar="FILE.yaml", type=Path, help="the pipeline")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="another value of a field: name=other, ppo.total_timesteps=2000",
    )
    parser.add_argument("--json", action="store_true", help="print pipeline.json")
    return parser.parse(argv)


def _show(directory: Path, report: Mapping[str, Any]) -> None:
    for name, step in report["steps"].items():
        when = "there already" if step["was_there"] else f"{step['seconds']:.0f} s"
        print(printable(f"{name}: {when}{_words(name, step['figures'])}"))
    gold = report["gold"]
    if gold is not None:
        before, after, gain = (
            f"{gold[what]['mean']:.3f} [{gold[what]['low']:.3f}, {gold[what]['high']:.3f}]"
            for what in ("before", "after", "gain")
        )
        print(f"gold return {before} -> {after}, gain {gain}, {gold['episodes']} goals")
    print(f"the report: {directory / REPORT_FILE}")


def _words(name: str, figures: Mapping[str, Any]) -> str:
    """Return what one line says of a step."""
    if name in ("pretrain", "sft"):
        valid = figures["valid"]
        return "".join(
            f"; held out of {source}: perplexity {before['perplexity']:.2f} -> "
            f"{valid['after'][source]['perplexity']:.2f}"
            for source, before in valid["before"].items()
        )
    if name == "pairs":
        return f"; {figures['num_pairs']} pairs"
    if name == "reward_model" and figures.get("held_out"):
        accuracy = figures["held_out"]["accuracy"]
        return f"; held-out accuracy {accuracy['mean']:.3f}"
    if name == "ppo":
        return f"; {figures['updates']} updates, {figures['timesteps']} turns"
    return ""
