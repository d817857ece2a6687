"""`chat-envs compare`: is one agent better than another? Their difference by task and seed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.commands.terminal import BadInput, command, print_json, printable, say
from benchmarks.comparison import compare_agents, join_results
from benchmarks.result_folder import Results, ResultsError, read_results
from benchmarks.run_table import RowsError
from chat_envs.commands.argument import CommandParser, read_seed
from chat_envs.spelling import nearest

__all__ = ["SUMMARY", "run"]

SUMMARY = "Compare two agents run by run: A's score minus B's, with 95% intervals."
EXAMPLE = "chat-envs compare ppo reinforce --results results/core"
NOTES = """A and B are agents of the folder --results; or, without it, two folders, of whose agents
--agent names one, if there are several."""


@command
def run(argv: Sequence[str]) -> int:
    """Carry out the command; return its exit code."""
    arguments = _parse(argv)
    try:
        joined, labels = _join(arguments)
        found = compare_agents(joined, *labels, seed=arguments.seed)
    except (ResultsError, RowsError) as error:
        raise BadInput(str(error)) from error
    for problem in found["problems"]:
        say(f"left out: {problem['place']} ({problem['kind']}): {problem['text']}")
    for place in found["unpaired"]:
        say(f"left out: {place}: it has no partner")
    for note in found["notes"]:
        say(f"note: {note}")
    if arguments.json:
        print_json(found)
    else:
        _show(found)
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("compare", SUMMARY, EXAMPLE, notes=NOTES)
    parser.add_argument("first", metavar="A", help="an agent, or a folder")
    parser.add_argument("second", metavar="B", help="another one")
    parser.add_argument("--results", type=Path, metavar="FOLDER", help="of both agents")
    parser.add_argument("--agent", help="of both folders")
    parser.add_argument(
        "--seed", type=read_seed, default=0, help="of the bootstrap (default 0)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse(argv)
    if arguments.results is not None and arguments.agent is not None:
        parser.error(
            "--agent is of two folders, A and B; with --results they are agents."
        )
    if arguments.first == arguments.second:
        parser.error(f"A and B are both {arguments.first!r}.")
    return arguments


def _join(arguments: argparse.Namespace) -> tuple[Results, tuple[str, str]]:
    names = arguments.first, arguments.second
    if arguments.results is not None:
        results = read_results(arguments.results)
        for name in names:
            _check_agent(name, results)
        return join_results(results, names[0], results, names[1], names), names
    folders = [read_results(_folder(name)) for name in names]
    chosen = [_agent_of(results, arguments.agent) for results in folders]
    joined = join_results(folders[0], chosen[0], folders[1], chosen[1], names)
    return joined, names


def _folder(name: str) -> Path:
    if not Path(name).is_dir():
        raise BadInput(
            f"there is no folder {name!r}. If it is an agent, say whose: --results FOLDER."
        )
    return Path(name)


def _agent_of(results: Results, wanted: str | None) -> str:
    if wanted is not None:
        _check_agent(wanted, results)
        return wanted
    if len(results.agents) != 1:
        raise BadInput(
            f"{results.path} has several agents ({', '.join(results.agents)}): name one by --agent."
        )
    return results.agents[0]


def _check_agent(name: str, results: Results) -> None:
    if name not in results.agents:
        raise BadInput(
            f"{results.path} has no agent {name!r}.{nearest(name, results.agents)}"
        )


def _show(found: Mapping[str, Any]) -> None:
    print(printable(f"{found['first']} minus {found['second']}, normalised score"))
    width = max(len("overall"), *map(len, found["tasks"]))
    for task, row in found["tasks"].items():
        failed = [
            f"{n} of {agent}'s runs failed"
            for agent, n in zip(
                (found["first"], found["second"]), row["num_failed"], strict=True
            )
            if n
        ]
        wins = row["head_to_head"]
        told = [f"{row['first']:.3f} and {row['second']:.3f}", *failed]
        if wins is not None:
            told.append(f"wins {_estimate(wins['win_rate'], '')} of the goals")
        if wins is not None and wins["length_controlled"] is not None:
            at_equal = wins["length_controlled"]["value"]
            told.append(f"{at_equal:.3f} at equal length")
        print(
            printable(
                f"{task:{width}}  {_estimate(row['difference'])}  {'; '.join(told)}"
            )
        )
    won = found["probability_of_improvement"]
    print(f"{'overall':{width}}  {_estimate(found['overall'])}  P {_estimate(won, '')}")


def _estimate(found: Mapping[str, Any], sign: str = "+") -> str:
    if found["value"] is None:
        return f"not shown: {found['why']}"
    value, low, high = (
        format(found[k], f"{sign}.3f") for k in ("value", "low", "high")
    )
    return f"{value} [{low}, {high}] (n = {found['n']})"
