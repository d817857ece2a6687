"""A suite: which tasks are run, how each begins, and who has which hyperparameters. It is data.

extends: core                  # takes what this file does not say from there
lm: tiny
hyperparameters: {group_size: 8}        # of every algorithm that trains the language model
agents:                                 # of one agent, over those
  ppo: {learning_rate: 3e-4}
evaluation: {num_episodes: 200}
tasks:
  - env: Echo-easy-v0
    budget: 9000                        # reply tokens that a run may generate
    warm_start: {script: expert+blind, num_steps: 100}
    agents: {ppo: {num_epochs: 1}}      # on this task alone
sweep:                                  # every combination is an agent of its own
  - agents: [ppo]
    grid: {learning_rate: [1e-4, 3e-4]}
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import gymnasium

from agents.commands.terminal import parse_yaml
from agents.experience.dialogue import make_env
from agents.experience.script import check_script
from agents.hyperparameter import build_config, check_hyperparameters, hyperparameter
from agents.sft import SFTConfig
from benchmarks.suite_table import SUITES
from benchmarks.task_setting import IMITATION, SETTINGS
from chat_envs.registration import find
from chat_envs.spelling import nearest

__all__ = ["EvaluationPlan", "Suite", "SuiteError", "Task", "read_suite"]


class SuiteError(ValueError):
    """A suite is not what a suite can be; the message says where."""


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan:
    """How a model is scored, before it learns and after."""

    num_episodes: int = hyperparameter(200, "sampled episodes on held-out goals", low=2)
    num_side_episodes: int = hyperparameter(
        100, "episodes of the greedy evaluation and of that on training goals", low=2
    )
    num_trial_goals: int = hyperparameter(
        25, "held-out goals that are tried several times, for pass^k; 0 for none", low=0
    )
    num_trials: int = hyperparameter(4, "trials of each of those", low=1)

    def __post_init__(self) -> None:
        check_hyperparameters(self)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One environment of a suite.

    Attributes:
        env: full id.
        env_kwargs: its keywords; a `reward` among them is paid in training, never in evaluations.
        budget: reply tokens that a run may generate.
        warm_start: fields of `SFTConfig`; False for none.
        evaluation: how models are scored.
        agents: agent -> hyperparameters on this task alone.
    """

    env: str
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    budget: int
    warm_start: Mapping[str, Any] | bool
    evaluation: EvaluationPlan
    agents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Tasks, and the hyperparameters of those who are run on them.

    Attributes:
        name: of a built-in one, or the path of its file as it was given.
        lm: name or directory of the language model.
        tasks: at least one; no environment twice.
        hyperparameters: of every algorithm that trains the language model.
        agents: agent -> hyperparameters over those.
        variants: agents of the sweep by name, `AGENT@KEY=VALUE,KEY=VALUE`.
    """

    name: str
    lm: str
    tasks: tuple[Task, ...]
    hyperparameters: Mapping[str, Any]
    agents: Mapping[str, Mapping[str, Any]]
    variants: tuple[str, ...] = ()

    def task(self, env: str) -> Task:
        """Return the task of an environment.

        Raises:
            SuiteError: there is none; names the nearest.
        """
        found = {task.env: task for task in self.tasks}
        short = {name.removeprefix("chat_envs/"): name for name in found}
        full = short.get(env, env)
        if full not in found:
            raise SuiteError(
                f"The suite {self.name} has no task {env!r}.{nearest(env, short)}"
            )
        return found[full]


_SUITE_FIELDS = (
    "extends",
    "summary",
    "lm",
    "hyperparameters",
    "agents",
    "evaluation",
    "tasks",
    "sweep",
)
_TASK_FIELDS = ("env", "env_kwargs", "budget", "warm_start", "evaluation", "agents")


def read_suite(name: str) -> Suite:
    """Return a built-in suite, or that of a YAML file.

    Raises:
        SuiteError: there is none of that name, or it is not as a suite can be: says where, and
            proposes the nearest right name.

    >>> len(read_suite("games").tasks)
    5
    """
    record = _full_record(name, _record(name), set())
    try:
        return _build(name, record)
    except (TypeError, ValueError) as error:
        raise SuiteError(f"suite {name}: {error}") from error


def _record(name: str) -> Mapping[str, Any]:
    if name in SUITES:
        return SUITES[name]
    path = Path(name)
    if not path.is_file():
        raise SuiteError(
            f"There is no suite {name!r}, nor a file of that name.{nearest(name, SUITES)}"
        )
    try:
        record = parse_yaml(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise SuiteError(f"{name} cannot be read: {error}") from error
    return _mapping(record, name)


def _full_record(
    name: str, record: Mapping[str, Any], seen: set[str]
) -> dict[str, Any]:
    """Return a suite's record with what it extends below it; mappings are laid over each other."""
    _check_names(record, _SUITE_FIELDS, f"suite {name}")
    if "extends" not in record:
        return dict(record)
    parent = record["extends"]
    if not isinstance(parent, str) or parent in seen | {name}:
        raise SuiteError(f"suite {name}: it cannot extend {parent!r}.")
    base = _full_record(parent, _record(parent), seen | {name})
    merged = base | {k: v for k, v in record.items() if k != "extends"}
    for key in ("hyperparameters", "evaluation", "agents"):
        if key in base and key in record:
            over = _mapping(record[key], f"suite {name}: {key}")
            merged[key] = dict(base[key]) | dict(over)
    return merged


def _build(name: str, record: Mapping[str, Any]) -> Suite:
    lm = record.get("lm", "tiny")
    if not isinstance(lm, str):
        raise SuiteError(f"lm must be a name or a directory, got {lm!r}")
    tasks = record.get("tasks")
    if not isinstance(tasks, Sequence) or isinstance(tasks, str) or not tasks:
        raise SuiteError(f"tasks must be a list of at least one task, got {tasks!r}")
    shared = _mapping(record.get("evaluation", {}), "evaluation")
    built = tuple(_task(task, number, shared) for number, task in enumerate(tasks))
    envs = [task.env for task in built]
    if twice := sorted({env for env in envs if envs.count(env) > 1}):
        raise SuiteError(f"an environment is a task once, {', '.join(twice)} is twice")
    return Suite(
        name=name,
        lm=lm,
        tasks=built,
        hyperparameters=_mapping(record.get("hyperparameters", {}), "hyperparameters"),
        agents=_agents(record.get("agents", {}), "agents"),
        variants=tuple(_variants(record.get("sweep", []))),
    )


def _task(record: Any, number: int, shared: Mapping[str, Any]) -> Task:
    where = f"tasks[{number}]"
    record = {"env": record} if isinstance(record, str) else _mapping(record, where)
    _check_names(record, _TASK_FIELDS, where)
    if not isinstance(record.get("env"), str):
        raise SuiteError(f"{where} lacks env, the id of an environment")
    env = find(record["env"]).id
    setting = SETTINGS.get(env.removeprefix("chat_envs/"))
    env_kwargs = _env_kwargs(record.get("env_kwargs", {}), env, where)
    budget = record.get("budget", setting and setting.total_tokens)
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
        raise SuiteError(f"{where}.budget must be a number of tokens, got {budget!r}")
    plan = dict(shared) | dict(_mapping(record.get("evaluation", {}), where))
    usual: dict[str, Any] | None = None
    if setting is not None:
        usual = {
            **IMITATION,
            "script": setting.script,
            "num_steps": setting.num_steps,
        }
    return Task(
        env=env,
        env_kwargs=env_kwargs,
        budget=budget,
        warm_start=_warm_start(record.get("warm_start", usual), env, where),
        evaluation=build_config(EvaluationPlan, plan),
        agents=_agents(record.get("agents", {}), f"{where}.agents"),
    )


def _env_kwargs(asked: Any, env: str, where: str) -> Mapping[str, Any]:
    found = _mapping(asked, f"{where}.env_kwargs")
    if "split" in found:
        raise SuiteError(
            f"{where}.env_kwargs cannot have split: agents learn on training goals and are scored "
            "on held-out ones."
        )
    if found:
        try:
            make_env(env, 1, **found).close()
        except (TypeError, ValueError, gymnasium.error.Error) as error:
            raise SuiteError(f"{where}.env_kwargs: {error}") from error
    return found


def _warm_start(asked: Any, env: str, where: str) -> Mapping[str, Any] | bool:
    if asked is False:
        return False
    if asked is None:
        raise SuiteError(
            f"{where}: nobody says how a model begins in {env}; give warm_start: "
            "{script: expert, num_steps: 200}, or false."
        )
    found = _mapping(asked, f"{where}.warm_start")
    config = build_config(SFTConfig, found)
    check_script(config.script, env)
    return {k: v for k, v in dataclasses.asdict(config).items() if k in found}


def _variants(sweep: Any) -> list[str]:
    if not isinstance(sweep, Sequence) or isinstance(sweep, str):
        raise SuiteError(f"sweep must be a list of grids, got {sweep!r}")
    names: list[str] = []
    for number, one in enumerate(sweep):
        where = f"sweep[{number}]"
        part = _mapping(one, where)
        _check_names(part, ("agents", "grid"), where)
        grid = _mapping(part.get("grid", {}), f"{where}.grid")
        agents = part.get("agents", [])
        if not grid or not agents or not all(isinstance(a, str) for a in agents):
            raise SuiteError(f"{where} needs agents, a list, and a grid")
        for key, values in grid.items():
            if not isinstance(values, list) or not values:
                raise SuiteError(f"{where}.grid.{key} must be a list, got {values!r}")
        for agent in agents:
            for point in product(*grid.values()):
                pairs = zip(grid, point, strict=True)
                names.append(
                    f"{agent}@" + ",".join(f"{k}={_word(v, where)}" for k, v in pairs)
                )
    return names


def _word(value: Any, where: str) -> str:
    """Return a value as it stands in the name of an agent."""
    text = value if isinstance(value, str) else json.dumps(value)
    if isinstance(value, list | dict) or any(sign in text for sign in "@,=+"):
        raise SuiteError(f"{where}.grid holds {value!r}, which no name could carry")
    return text


def _agents(record: Any, where: str) -> dict[str, Mapping[str, Any]]:
    found = _mapping(record, where)
    return {name: _mapping(v, f"{where}.{name}") for name, v in found.items()}


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
        raise SuiteError(f"{where} must map names to values, got {value!r:.100}")
    return value


def _check_names(record: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for name in record:
        if name not in known:
            raise SuiteError(f"{where} has no field {name!r}.{nearest(name, known)}")
