"""List the rewards, describe one with its exploits, or try one on hostile replies."""

from __future__ import annotations

import inspect
import json
import sys
from importlib.metadata import entry_points
from typing import Any, Sequence

from chat_envs.commands.argument import CommandParser, print_json, read_reward
from chat_envs.keyword import keywords
from chat_envs.reward.builtin import BUILTIN
from chat_envs.reward.registry import (
    OWN_REWARD_IDS,
    registered_rewards,
    resolve_reward,
)
from chat_envs.rewards.description import BuiltinReward
from chat_envs.testing import check_reward

__all__ = ["describe_reward", "run"]

_CHECK = "check"
_EXTRA = "pip install 'chat-envs[{}]'"


def run(argv: Sequence[str]) -> int:
    """Print what was asked for; 1 if a name is unknown, or a reward that was tried is unsound."""
    parser = CommandParser(
        "rewards",
        "List the rewards by id, describe one, or try one on ordinary and hostile replies.",
        "chat-envs rewards check mypackage.rewards:concise",
        notes="chat-envs rewards            lists all\n"
        "chat-envs rewards NAME       describes one: keywords, range, known exploits\n"
        "chat-envs rewards check R    tries one: an id, 'package.module:name', or a JSON object, "
        'such as\n                             \'{"length_band": {"kwargs": {"high": 12}}}\'',
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help=f"a reward's id, or: {_CHECK}",
    )
    parser.add_argument(
        "target",
        metavar="R",
        nargs="?",
        type=read_reward,
        help=f"what {_CHECK} tries; your own module may lie in the folder where you are",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse(argv)
    if arguments.name == _CHECK:
        if arguments.target is None:
            parser.error(f"{_CHECK} needs a reward to try")
        return _check(arguments.target, is_json=arguments.json)
    if arguments.target is not None:
        parser.error(f"only {_CHECK} takes a second name")
    if arguments.name is None:
        return _list(is_json=arguments.json)
    return _show(arguments.name, is_json=arguments.json)


def describe_reward(name: str) -> dict[str, Any]:
    """Return what is known about a reward, as plain JSON values; None for what it does not say.

    Args:
        name: an id, or "package.module:name".

    Raises:
        ValueError: if nothing has that name.
        ImportError: if it lacks a package.

    >>> describe_reward("repetition")["range"], describe_reward("repetition")["keywords"]
    ([-1.0, 0.0], {'n': '3'})
    """
    target = resolve_reward(name)
    facts: dict[str, Any] = {
        "id": name,
        "summary": _summary(target),
        "range": None,
        "sees": None,
        "extra": None,
        "keywords": keywords(target) if isinstance(target, type) else {},
        "exploits": None,
    }
    if isinstance(target, type) and issubclass(target, BuiltinReward):
        facts |= {
            "range": list(target.range),
            "sees": list(target.sees),
            "extra": target.extra,
            "exploits": [_exploit(exploit) for exploit in target.exploits],
        }
    return facts


def _exploit(exploit: Any) -> dict[str, Any]:
    return {
        "name": exploit.name,
        "why": exploit.why,
        "asked": exploit.asked,
        "hostile": exploit.hostile,
        "honest": exploit.honest,
        "kwargs": dict(exploit.kwargs),
        "needs": exploit.needs,
    }


def _summary(target: Any) -> str:
    """Return the first sentences of its documentation, in one line."""
    first = (inspect.getdoc(target) or "").partition("\n\n")[0]
    return " ".join(first.split())


def _list(*, is_json: bool) -> int:
    names = [name for name in registered_rewards() if name not in OWN_REWARD_IDS]
    plugins = {p.name: p.value for p in entry_points(group="chat_envs.rewards")}
    # A plugin is not loaded for a line: it may bring a deep-learning library along.
    rows = [
        (
            {"id": name, "plugin": plugins[name]}
            if name in plugins and name not in BUILTIN
            else describe_reward(name)
        )
        for name in names
    ]
    if is_json:
        print_json(rows)
        return 0
    cells = [("id", "range", "sees", "extra", "summary"), *map(_cells, rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(4)]
    for row in cells:
        shown = [f"{cell:{width}}" for cell, width in zip(row, widths)]
        print("  ".join([*shown, row[4]]).rstrip())
    return 0


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str, str]:
    if "plugin" in row:
        told = f"{row['plugin']}; see `chat-envs rewards {row['id']}`"
        return row["id"], "-", "-", "-", told
    return (
        row["id"],
        _range(row["range"]),
        ",".join(row["sees"] or ["-"]),
        row["extra"] or "-",
        row["summary"],
    )


def _range(bounds: list[float] | None) -> str:
    return "-" if bounds is None else f"{bounds[0]:g} to {bounds[1]:g}"


def _show(name: str, *, is_json: bool) -> int:
    try:
        facts = describe_reward(name)
    except (ValueError, ImportError) as error:
        print(f"chat-envs rewards: {error}", file=sys.stderr)
        return 1
    if is_json:
        print_json(facts)
        return 0
    lines = [facts["id"], f"  {facts['summary'] or 'It says nothing of itself.'}"]
    lines.append(f"  range     {_range(facts['range'])}")
    lines.append(f"  sees      {', '.join(facts['sees'] or ['-'])}")
    if facts["extra"]:
        lines.append(f"  needs     {_EXTRA.format(facts['extra'])}")
    shown = [f"{key}={value}" for key, value in facts["keywords"].items()]
    lines.append(f"  keywords  {', '.join(shown) or '-'}")
    if facts["exploits"] is None:
        lines.append(f"  exploits  not stated; try: chat-envs rewards check {name}")
    for exploit in facts["exploits"] or ():
        lines += _exploit_lines(exploit)
    print("\n".join(lines))
    return 0


def _exploit_lines(exploit: dict[str, Any]) -> list[str]:
    needs = f" (needs {exploit['needs']})" if exploit["needs"] else ""
    given = f", with {json.dumps(exploit['kwargs'])}" if exploit["kwargs"] else ""
    return [
        f"  exploit   {exploit['name']}{needs}: {exploit['why']}",
        f"    asked {exploit['asked']!r}{given}",
        f"    {exploit['hostile']!r} beats {exploit['honest']!r}",
    ]


def _check(target: Any, *, is_json: bool) -> int:
    report = check_reward(target)
    if is_json:
        print_json(report.as_dict())
    else:
        print(report.render())
    return 0 if report.is_sound else 1
