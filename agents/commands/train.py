"""`chat-envs train`: a language model learns in an environment."""

from __future__ import annotations

import argparse
import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from agents.commands.setting import describe_settings, read_setting
from agents.commands.terminal import (
    BadInput,
    TerminalObserver,
    bad_input,
    command,
    parse_yaml,
    print_json,
)
from agents.engine import process_group
from agents.hyperparameter import build_config
from agents.observer import Observer
from agents.report import write_report
from agents.sft import SFTConfig
from agents.tracking import check_run_name
from agents.tracking import read_config as read_stored_config
from agents.train import RUNS, TrainResult, prepare, read_mixture, train
from agents.train_config import AGENTS, TrainConfig
from chat_envs.commands.argument import CommandParser, read_reward

__all__ = ["SUMMARY", "run"]

SUMMARY = "Train a language model in an environment."
EXAMPLE = (
    "chat-envs train --agent ppo --env chat_envs/CustomerService-easy-v0 --lm tiny \\\n"
    "      --total-timesteps 20000 --seed 0 --run first --set learning_rate=1e-4"
)
_NESTED = ("env_kwargs", "hyperparameters", "warm_start")


@command
def run(argv: Sequence[str]) -> int:
    """Carry out the command; return its exit code."""
    arguments = _parser().parse(argv)
    with bad_input():
        config = read_config(arguments)
        lm = prepare(config)
        mixture = read_mixture(config, lm)
    is_first = process_group.rank() == 0
    with TerminalObserver() if is_first else nullcontext(Observer()) as observer:
        result = train(
            config,
            lm=lm,
            mixture=mixture,
            is_resuming=arguments.resume,
            is_replacing=arguments.force,
            observer=observer,
        )
    if not is_first:
        return 0
    write_report(result.directory, result.before, result.after)
    _show(result, is_json=arguments.json)
    return 0


def read_config(arguments: argparse.Namespace) -> TrainConfig:
    """Return the config that the arguments describe.

    Later ones win: the run to be resumed, the file of `--config`, flags, `--set`.
    """
    given = {
        field.name: getattr(arguments, field.name)
        for field in dataclasses.fields(TrainConfig)
        if hasattr(arguments, field.name)
    }
    values: dict[str, Any] = {}
    if arguments.config is not None:
        values = _read_file(arguments.config)
    values |= given
    if arguments.warm_start_off:
        values["warm_start"] = False
    if arguments.reward is not None:
        _assign(values, "env_kwargs.reward", arguments.reward)
    for setting in arguments.set:
        _assign(values, *read_setting(setting))
    if arguments.resume and values.get("run"):
        path = RUNS / check_run_name(values["run"]) / "config.json"
        if path.is_file():
            values = _over(_stored(path), values)
    return build_config(TrainConfig, values)


def _parser() -> CommandParser:
    parser = CommandParser("train", SUMMARY, EXAMPLE, notes=_notes())
    for field in dataclasses.fields(TrainConfig):
        if "help" in field.metadata:
            _add_flag(parser, field)
    parser.add_argument(
        "--no-warm-start",
        dest="warm_start_off",
        action="store_true",
        help="do not imitate a script first",
    )
    parser.add_argument(
        "--reward",
        metavar="NAME|JSON",
        type=read_reward,
        help="what is paid: an id, module:function, or a JSON object of those to weights "
        "(default: the task's own)",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a hyperparameter of the agent, or warm_start.KEY=VALUE, env_kwargs.KEY=VALUE",
    )
    parser.add_argument(
        "--config", metavar="FILE.yaml", type=Path, help="the same fields, from a file"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run of that name"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace the run of that name"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _notes() -> str:
    """Return which keys `--set` knows, with their defaults."""
    names: dict[Any, list[str]] = {}
    for name, recipe in AGENTS.items():
        names.setdefault(recipe.config_class, []).append(name)
    groups = {
        f"--set KEY=VALUE, --agent {', '.join(agents)}": config_class
        for config_class, agents in names.items()
    }
    groups["--set warm_start.KEY=VALUE, the imitation"] = SFTConfig
    recipes = [
        f"--agent {name} sets "
        + ", ".join(f"{key}={value}" for key, value in recipe.hyperparameters.items())
        for name, recipe in AGENTS.items()
        if recipe.hyperparameters
    ]
    return "\n\n".join(
        [
            *(describe_settings(*group) for group in groups.items()),
            *(textwrap.fill(line, 78, subsequent_indent="  ") for line in recipes),
        ]
    )


def _add_flag(parser: argparse.ArgumentParser, field: dataclasses.Field[Any]) -> None:
    """Add the flag of a field; it is absent from the arguments unless it was given."""
    choices = field.metadata["choices"]
    text = field.metadata["help"].replace("%", "%%")
    if choices:
        text += f" ({', '.join(choices)})"
    flag = f"--{field.name.replace('_', '-')}"
    if isinstance(field.default, bool):
        parser.add_argument(
            flag,
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,
            help=text,
        )
        return
    parser.add_argument(
        flag,
        type=type(field.default),
        metavar=field.name.rpartition("_")[2].upper(),
        default=argparse.SUPPRESS,
        help=f"{text} (default {field.default})" if field.default != "" else text,
    )


def _read_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise BadInput(f"There is no file {path}.")
    try:
        values = parse_yaml(path.read_text("utf-8"))
    except ValueError as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict) or not all(
        isinstance(name, str) for name in values
    ):
        raise BadInput(f"{path} must map the fields of a run to their values.")
    return values


def _stored(path: Path) -> dict[str, Any]:
    """Return the config of the run that is to be resumed."""
    stored: dict[str, Any] = read_stored_config(path)["config"]
    try:
        build_config(TrainConfig, stored)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{path} is damaged, or of another version: {error}") from error
    return stored


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    """Carry out one `--set`; a key without a dot is the agent's, or else the run's."""
    group, dot, name = key.partition(".")
    if dot and group not in _NESTED:
        raise BadInput(
            f"--set {key}: the groups are {', '.join(_NESTED)}; got {group!r}."
        )
    own = {field.name for field in dataclasses.fields(TrainConfig)}
    if not dot and key in own:
        values[key] = value
        return
    group, name = (group, name) if dot else ("hyperparameters", key)
    old = values.get(group)
    values[group] = (dict(old) if isinstance(old, Mapping) else {}) | {name: value}


def _over(base: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `values` laid over it, groups field by field."""
    merged = base | dict(values)
    for name in _NESTED:
        old, new = base.get(name), values.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            merged[name] = dict(old) | dict(new)
    return merged


def _show(result: TrainResult, *, is_json: bool) -> None:
    if is_json:
        record = {
            "run": str(result.directory),
            "iterations": result.num_iterations,
            "timesteps": result.num_timesteps,
            "before": result.before and result.before.sampled.as_dict(),
            "after": result.after and result.after.sampled.as_dict(),
        }
        print_json(record)
        return
    print(
        f"{result.directory}: {result.num_iterations} updates, {result.num_timesteps} turns"
    )
    for words, scores in (("before", result.before), ("after", result.after)):
        if scores is not None:
            success = scores.sampled.success_interval()
            print(
                f"{words}: success {success.mean:.2f} [{success.low:.2f}, {success.high:.2f}] on "
                f"{scores.sampled.split} goals"
            )
