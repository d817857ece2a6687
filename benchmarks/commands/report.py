"""`chat-envs report`: make the report of a results folder, from its raw results alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.commands.terminal import BadInput, command, print_json, printable, say
from agents.tracking import plain_json
from benchmarks.report_page import Written, write_report
from benchmarks.result_folder import ResultsError, read_results
from benchmarks.run_table import RowsError
from chat_envs.commands.argument import CommandParser, read_seed

__all__ = ["SUMMARY", "run"]

SUMMARY = "Make report.html, report.md and results.json of a results folder."
EXAMPLE = "chat-envs report results/core"
NOTES = """Aggregates need every agent on every task: name the tasks that all have by --tasks to
compare agents that lack some. What is left out, and why, is named in all three files."""


@command
def run(argv: Sequence[str]) -> int:
    """Carry out the command; return its exit code."""
    parser = CommandParser("report", SUMMARY, EXAMPLE, notes=NOTES)
    parser.add_argument("results", metavar="RESULTS", type=Path, help="a folder")
    parser.add_argument("--out", type=Path, help="where to (default: RESULTS itself)")
    parser.add_argument(
        "--tasks", nargs="+", metavar="ID", help="aggregate these alone"
    )
    parser.add_argument(
        "--seed", type=read_seed, default=0, help="of the bootstrap (default 0)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print results.json instead of a summary"
    )
    arguments = parser.parse(argv)
    try:
        results = read_results(arguments.results)
        written = write_report(
            results,
            arguments.results if arguments.out is None else arguments.out,
            tasks=None if arguments.tasks is None else _full_ids(arguments.tasks),
            seed=arguments.seed,
        )
    except (ResultsError, RowsError) as error:
        raise BadInput(str(error)) from error
    for problem in written.analysis["problems"]:
        say(f"left out: {problem['place']} ({problem['kind']}): {problem['text']}")
    if arguments.json:
        print_json(plain_json(written.analysis))
    else:
        _show(written)
    return 0


def _full_ids(names: Sequence[str]) -> list[str]:
    return [name if "/" in name else f"chat_envs/{name}" for name in names]


def _show(written: Written) -> None:
    agents: Mapping[str, Any] = written.analysis["agents"]
    width = max((len(agent) for agent in agents), default=0)
    for agent, found in agents.items():
        iqm = found["iqm"]
        told = (
            f"not shown: {iqm['why']}"
            if iqm["value"] is None
            else f"IQM {iqm['value']:.3f} [{iqm['low']:.3f}, {iqm['high']:.3f}]"
        )
        print(
            printable(
                f"{agent:{width}}  {told}  ({found['num_done']} of {found['num_runs']} runs done)"
            )
        )
    for path in (written.html, written.markdown, written.json):
        print(path)
