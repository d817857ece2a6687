"""Who is run on a suite: a name says the algorithm, its settings, and whether it is a control.

NAME[@KEY=VALUE,KEY=VALUE][+shuffled|+frozen]

ppo                     an algorithm that trains the language model
sft                     the model that those start from, as it is
sb3-ppo                 an algorithm of Stable-Baselines3, on tokens
expert, blind, script:careless, hostile     scripts; the last are all hostile repliers
my-agent, module:Class  an agent from outside (`benchmarks.own_agent`)
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from agents.commands.terminal import parse_yaml
from agents.train_config import AGENTS
from benchmarks.own_agent import own_agent_names
from benchmarks.suite import Suite, Task
from chat_envs.replier import HOSTILE_REPLIERS, RANDOM_REPLIERS
from chat_envs.spelling import nearest

__all__ = [
    "CONTROLS",
    "Contestant",
    "Family",
    "SB3_AGENTS",
    "check_overrides",
    "known_names",
    "read_contestants",
]

Family = Literal["algorithm", "own", "sb3", "script", "sft"]

SB3_AGENTS = (
    "sb3-a2c",
    "sb3-dqn",
    "sb3-maskable-ppo",
    "sb3-ppo",
    "sb3-recurrent-ppo",
)
CONTROLS: Mapping[str, Mapping[str, Any]] = {
    "shuffled": {"has_shuffled_rewards": True},
    "frozen": {"learning_rate": 0.0},
}
"""Suffix of a negative control -> what makes it one."""
_SCRIPTS = ("expert", "blind", *RANDOM_REPLIERS)
_SCRIPT = "script:"
_MAX_NAME = 240  # bytes, as it is written in a path
_GROUPS: Mapping[str, Sequence[str]] = {
    "hostile": tuple(f"{_SCRIPT}{name}" for name in HOSTILE_REPLIERS)
}


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One agent of a benchmark.

    Attributes:
        name: under which it is reported; says everything below.
        base: the name without settings and suffix; of a script what it is called there.
        family: how it is run.
        settings: what its own name says.
        control: suffix of the negative control; "" of none.
    """

    name: str
    base: str
    family: Family
    settings: Mapping[str, Any] = field(default_factory=dict)
    control: str = ""

    @property
    def kind(self) -> str:
        """Which of `benchmarks.cell.KINDS` its runs are."""
        if self.family == "script":
            return "script"
        return "control" if self.control else "learner"

    def settings_on(self, suite: Suite, task: Task) -> dict[str, Any]:
        """Return its settings on a task; what is more special goes over what is less."""
        shared = suite.hyperparameters if self.family == "algorithm" else {}
        layers = (
            shared,
            suite.agents.get(self.base, {}),
            task.agents.get(self.base, {}),
            self.settings,
            CONTROLS[self.control] if self.control else {},
        )
        return {key: value for layer in layers for key, value in layer.items()}


def known_names() -> list[str]:
    """Return all names without settings and suffix, those of agents from outside among them."""
    names = {*AGENTS, *SB3_AGENTS, *_SCRIPTS, *_GROUPS, "sft", *own_agent_names()}
    return sorted(names)


def read_contestants(names: Sequence[str]) -> list[Contestant]:
    """Return the agents of some names, each once, in their order.

    Raises:
        ValueError: a name is unknown, with the nearest right one, or has what it cannot have.

    >>> [c.kind for c in read_contestants(["ppo@learning_rate=1e-4", "ppo+frozen", "expert"])]
    ['learner', 'control', 'script']
    """
    found: dict[str, Contestant] = {}
    for name in names:
        for one in _GROUPS.get(name, (name,)):
            found.setdefault(one, _read(one))
    return list(found.values())


def check_overrides(suite: Suite) -> None:
    """Make sure that those whose hyperparameters a suite sets can be run, and have some.

    Raises:
        ValueError: says who cannot, with the nearest right name.
    """
    named = [(f"suite {suite.name}: agents", suite.agents)]
    named += [(f"suite {suite.name}: agents of {t.env}", t.agents) for t in suite.tasks]
    for where, agents in named:
        for base in agents:
            try:
                family = _family(base)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
            if family in ("script", "sft"):
                raise ValueError(f"{where}: {base} has no settings.")


def _read(name: str) -> Contestant:
    if name.startswith(_SCRIPT):
        return Contestant(name=name, base=name.removeprefix(_SCRIPT), family="script")
    if len(urllib.parse.quote(name, safe="")) > _MAX_NAME:
        raise ValueError(
            f"{name[:60]}...: the name is too long for a file; write settings in a suite's file, "
            "under agents."
        )
    head, plus, control = name.partition("+")
    base, at, settings = head.partition("@")
    if plus and control not in CONTROLS:
        raise ValueError(
            f"{name}: a control is +shuffled or +frozen, got {'+' + control!r}."
        )
    family = _family(base)
    allowed = {"algorithm": tuple(CONTROLS), "sb3": ("frozen",)}.get(family, ())
    if plus and control not in allowed:
        raise ValueError(f"{name}: {base} cannot be run as a control +{control}.")
    if at and family in ("script", "sft"):
        raise ValueError(f"{name}: {base} has no settings.")
    return Contestant(
        name=name,
        base=base,
        family=family,
        settings=_settings(name, settings) if at else {},
        control=control,
    )


def _family(base: str) -> Family:
    if base in AGENTS:
        return "algorithm"
    if base == "sft":
        return "sft"
    if base in SB3_AGENTS:
        return "sb3"
    if base in _SCRIPTS:
        return "script"
    if ":" in base or base in own_agent_names():
        return "own"
    raise ValueError(
        f"There is no agent {base!r}.{nearest(base, known_names())} An agent of your own is "
        "module:Class."
    )


def _settings(name: str, text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in text.split(","):
        key, equals, value = pair.partition("=")
        if not (key and equals) or key in found:
            raise ValueError(f"{name}: behind @ stands KEY=VALUE,KEY=VALUE.")
        found[key] = parse_yaml(value)
    return found
