"""`chat-envs bench`: run agents over a suite, in parallel and resumable, into a results folder."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from agents.commands.terminal import bad_input, command, print_json, say
from benchmarks.bench_display import BenchDisplay, Estimator, duration
from benchmarks.bench_plan import Bench, find_finished, stale_anchors, write_bench_plan
from benchmarks.contestant import known_names, read_contestants
from benchmarks.job import plan_jobs
from benchmarks.runner import run_jobs
from benchmarks.suite import read_suite
from benchmarks.suite_table import SUITES
from chat_envs.commands.argument import CommandParser, read_seed

__all__ = ["SUMMARY", "run"]

SUMMARY = "Run agents over a suite, many seeds each, and keep every run as a file."
EXAMPLE = (
    "chat-envs bench --suite core --agents ppo,reinforce,ppo+shuffled,sft --seeds 10 \\\n"
    "      --out results/core\n"
    "  chat-envs bench --suite diagnostics --agents my_package.agent:MyAgent --seeds 5 \\\n"
    "      --out results/mine\n"
    "  chat-envs bench --suite core --agents 'ppo@learning_rate=1e-4' --env Echo-easy-v0 \\\n"
    "      --seed-list 3 --out results/one"
)
_TIMEOUT_S = 3_600.0


@command
def run(argv: Sequence[str]) -> int:
    """Carry out the command; return its exit code: 0 although runs failed, for they are counted."""
    arguments = _parser().parse(argv)
    # An agent of the user's own is looked for where the command was called, last of all.
    sys.path.append(os.getcwd())
    with bad_input():
        if arguments.out.exists() and not arguments.out.is_dir():
            raise ValueError(f"--out {arguments.out} is a file: name a folder.")
        suite = read_suite(arguments.suite)
        contestants = read_contestants(_names(arguments.agents, suite.variants))
        seeds = arguments.seed_list or list(range(arguments.seeds))
        jobs = plan_jobs(
            suite,
            contestants,
            list(dict.fromkeys(seeds)),
            budget=arguments.budget,
            envs=arguments.env,
        )
        bench = find_finished(
            arguments.out, jobs, is_retrying=arguments.retry, is_forcing=arguments.force
        )
    for remark in (*stale_anchors(jobs), *bench.remarks):
        say(f"note: {remark}")
    write_bench_plan(arguments.out, jobs)
    devices = _devices()
    num_seats = arguments.jobs or len(devices) or len(os.sched_getaffinity(0))
    counts = _carry_out(arguments, bench, num_seats, devices)
    _summarise(arguments, bench, counts)
    return 0


def _parser() -> CommandParser:
    parser = CommandParser("bench", SUMMARY, EXAMPLE, notes=_notes())
    parser.add_argument(
        "--suite", default="core", help=f"{', '.join(SUITES)}, or a YAML file"
    )
    parser.add_argument(
        "--agents",
        type=_split,
        default=[],
        metavar="NAME,NAME",
        help="who is run (default: the sweep of the suite, if it has one)",
    )
    seeds = parser.add_mutually_exclusive_group()
    seeds.add_argument("--seeds", type=_count, default=10, help="runs of each (10)")
    seeds.add_argument(
        "--seed-list", type=read_seed, nargs="+", metavar="SEED", help="these seeds"
    )
    parser.add_argument(
        "--budget",
        type=_count,
        metavar="TOKENS",
        help="of every run; default: its task's",
    )
    parser.add_argument("--out", type=Path, required=True, help="the results folder")
    parser.add_argument(
        "--jobs", type=_count, help="runs at a time (default: one a GPU, or a core)"
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=_TIMEOUT_S, help="seconds of a run (3600)"
    )
    parser.add_argument("--env", nargs="+", metavar="ID", help="these tasks alone")
    parser.add_argument(
        "--retry", action="store_true", help="do runs again that failed or were killed"
    )
    parser.add_argument(
        "--force", action="store_true", help="replace runs of other settings"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _notes() -> str:
    suites = "\n".join(
        f"  {name:12} {suite['summary']}" for name, suite in SUITES.items()
    )
    return (
        f"suites:\n{suites}\n\n"
        f"agents:\n  {', '.join(known_names())}\n"
        "  script:NAME       a script of the environments, script:careless say\n"
        "  module:Class      an agent of your own, with learn and predict\n"
        "  NAME@KEY=VALUE,...  with other settings; NAME+shuffled, NAME+frozen: controls\n"
        "  sweep             every combination of the suite's own sweep\n\n"
        "Called again with the same folder it goes on; runs that are over are not repeated."
    )


def _names(asked: Sequence[str], variants: Sequence[str]) -> list[str]:
    """Return who is run; "sweep" stands for the agents of the suite's own sweep."""
    wanted = asked or (["sweep"] if variants else [])
    if not wanted or ("sweep" in wanted and not variants):
        why = "the suite has no sweep" if wanted else "say who is run"
        raise ValueError(f"{why}: --agents NAME,NAME of {', '.join(known_names())}.")
    parts = [variants if name == "sweep" else [name] for name in wanted]
    return [name for part in parts for name in part]


def _split(text: str) -> list[str]:
    """Return the names of a list, whose commas part settings too: `a@x=1,y=2,b` is two."""
    names: list[str] = []
    for part in text.split(","):
        has_settings = bool(names) and "@" in names[-1] and "+" not in names[-1]
        if has_settings and "=" in part and "@" not in part:
            names[-1] += f",{part}"
        elif part.strip():
            names.append(part.strip())
    return names


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"wanted a number of at least 1, got {text!r}")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"wanted seconds above 0, got {text!r}")
    return seconds


def _devices() -> list[str]:
    """Return the CUDA devices that this process sees, by the names that it sees them under."""
    number = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return named.split(",")[:number] if named else [str(i) for i in range(number)]


def _carry_out(
    arguments: argparse.Namespace, bench: Bench, num_seats: int, devices: list[str]
) -> Counter[str]:
    estimator = Estimator()
    for job, cell in bench.finished:
        seconds = cell.provenance.get("wall_seconds")
        if cell.status == "done" and seconds is not None:
            estimator.note(job.agent, job.env, seconds)
    num_jobs = len(bench.finished) + len(bench.waiting)
    display = BenchDisplay(num_jobs, len(bench.finished), num_seats, estimator)
    say(
        f"{num_jobs} runs, {len(bench.finished)} of them over, {num_seats} at a time, "
        f"{duration(arguments.timeout)} each at the most."
    )
    try:
        with display:
            return run_jobs(
                arguments.out,
                bench.waiting,
                num_seats=num_seats,
                timeout_s=arguments.timeout,
                watcher=display,
                devices=devices,
            )
    except KeyboardInterrupt:
        say("Interrupted; the same command goes on from here.")
        raise


def _summarise(
    arguments: argparse.Namespace, bench: Bench, counts: Counter[str]
) -> None:
    total = counts + Counter(cell.status for _, cell in bench.finished)
    following = f"chat-envs report {shlex.quote(str(arguments.out))}"
    if arguments.json:
        print_json(
            {"out": str(arguments.out), "runs": dict(total), "report": following}
        )
        return
    told = ", ".join(f"{number} {status}" for status, number in sorted(total.items()))
    print(f"{total.total()} runs: {told or 'none'}")
    print(f"The report: {following}")
