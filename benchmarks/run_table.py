"""Which cells may be compared, and their scores as rows of runs by agent and task.

A cell of other anchors, or of another budget, than its task's is left out and named. A run that
failed is not left out: it is counted as the worst run of its agent on that task, and never above
the policy that reads nothing, since an agent must not look better for the seeds on which it broke.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.cell import FINAL, Cell
from benchmarks.result_folder import Problem, Results
from benchmarks.score import Floats
from chat_envs import anchors
from chat_envs.registration import find

__all__ = [
    "FAILED_SCORE",
    "RowsError",
    "RunTable",
    "settle",
    "start_of",
    "tags_of",
]

FAILED_SCORE = 0.0
"""The most that a failed run can count as: what the policy that reads nothing scores."""


class RowsError(ValueError):
    """A statistic lacks scores on some task; the message says of whom and where."""


@dataclass(frozen=True)
class RunTable:
    """The comparable cells of a folder.

    Attributes:
        cells: agent -> task -> seed -> cell; learners alone.
        others: controls and scripts.
        tasks: every task of the plan or of a learner, in alphabetical order.
        excluded: one problem for each cell that was left out.
        notes: what a reader should know of cells that were kept.
    """

    cells: Mapping[str, Mapping[str, Mapping[int, Cell]]]
    others: tuple[Cell, ...]
    tasks: tuple[str, ...]
    excluded: tuple[Problem, ...]
    notes: tuple[str, ...] = field(default=())

    def of(self, agent: str, task: str) -> list[Cell]:
        """Return the runs of an agent on a task, by seed."""
        found = self.cells.get(agent, {}).get(task, {})
        return [found[seed] for seed in sorted(found)]

    def scores(self, agent: str, task: str, name: str = FINAL) -> Floats:
        """Return (N,) the normalised scores of an evaluation, failed runs included.

        Runs that are done but were not evaluated so (greedily, say) have no score and are left out.
        """
        values = [self.score(cell, name) for cell in self.of(agent, task)]
        return np.array([value for value in values if value is not None])

    def score(self, cell: Cell, name: str = FINAL) -> float | None:
        """Return the score of one of a learner's evaluations; None where it was not made.

        A run that failed has the lowest score of its agent's runs on the task, at most
        `FAILED_SCORE`. A model before learning has the score that it was measured at, whatever came
        after.
        """
        if cell.status == "done" or name.startswith("start"):
            return cell.score(name)
        peers = [p for p in self.of(cell.agent, cell.env) if p.status == "done"]
        known = [score for p in peers if (score := p.score(name)) is not None]
        return min([FAILED_SCORE, *known])

    def rows(self, agent: str, tasks: Sequence[str], name: str = FINAL) -> list[Floats]:
        """Return one row of scores a task.

        Raises:
            RowsError: the agent has no score on a task, or not one run of it is done.
        """
        rows = [self.scores(agent, task, name) for task in tasks]
        lacking = [t for t, row in zip(tasks, rows, strict=True) if not len(row)]
        if lacking:
            raise RowsError(f"no {_words(name)} score on {_names(lacking)}")
        runs = [cell for task in tasks for cell in self.of(agent, task)]
        if not any(cell.status == "done" for cell in runs):
            raise RowsError(f"all of its {len(runs)} runs failed")
        return rows

    def gains(self, agent: str, tasks: Sequence[str]) -> list[Floats]:
        """Return one row a task of final score minus the start model's, run by run.

        Raises:
            RowsError: the start of some task was not scored.
        """
        rows = []
        for task in tasks:
            pairs = [
                (self.score(cell), start_of(cell, self.of(agent, task)))
                for cell in self.of(agent, task)
            ]
            rows.append(
                np.array([a - b for a, b in pairs if a is not None and b is not None])
            )
        lacking = [t for t, row in zip(tasks, rows, strict=True) if not len(row)]
        if lacking:
            raise RowsError(f"no score of the start model on {_names(lacking)}")
        return rows


def start_of(cell: Cell, peers: Iterable[Cell]) -> float | None:
    """Return the start model's score; of a run that broke before that, its peers' mean."""
    own = cell.score("start")
    if own is not None:
        return own
    known = [s for s in (peer.score("start") for peer in peers) if s is not None]
    return sum(known) / len(known) if known else None


def settle(results: Results, tasks: Sequence[str] | None = None) -> RunTable:
    """Return the cells that may be compared, and name those that may not.

    Of each task the anchors count that the installed suite has; if no cell has those, then those
    that most cells have, with a note. The budget is the one that most cells of the task have.

    Args:
        results: of a folder.
        tasks: only these; None takes all.

    Raises:
        RowsError: a task is named that nobody ran.
    """
    known = {cell.env for cell in results.cells} | set(
        results.plan.envs if results.plan else ()
    )
    if tasks is not None and (unknown := sorted(set(tasks) - known)):
        raise RowsError(
            f"no results of {_names(unknown)}; there are {_names(sorted(known))}"
        )
    wanted = sorted(known if tasks is None else set(tasks))
    kept: list[Cell] = []
    excluded: list[Problem] = []
    notes: list[str] = []
    for task in wanted:
        mine = [cell for cell in results.cells if cell.env == task]
        for settle_one in (_settle_anchors, _settle_budget):
            mine, left_out, said = settle_one(task, mine)
            excluded += left_out
            notes += said
        kept += mine
    learners = [cell for cell in kept if cell.kind == "learner"]
    table: dict[str, dict[str, dict[int, Cell]]] = {}
    for cell in learners:
        table.setdefault(cell.agent, {}).setdefault(cell.env, {})[cell.seed] = cell
    planned = results.plan.envs if results.plan else ()
    learned = {cell.env for cell in results.cells if cell.kind == "learner"}
    return RunTable(
        cells=table,
        others=tuple(cell for cell in kept if cell.kind != "learner"),
        tasks=tuple(task for task in wanted if task in learned or task in planned),
        excluded=tuple(excluded),
        notes=tuple(
            notes + _provenance_notes(kept) + _stale_notes(kept) + _unknown_notes(kept)
        ),
    )


Settled = tuple[list[Cell], list[Problem], list[str]]


def _settle_anchors(task: str, cells: list[Cell]) -> Settled:
    versions = [cell.anchors.version for cell in cells if cell.anchors]
    installed = _installed_version(task)
    if not versions:
        why = "its environment had no anchors, so its returns have no score"
        return [], [_problem(cell, "no anchors", why) for cell in cells], []
    if installed in versions:
        version = installed
    else:
        version = _commonest(versions)
    notes = []
    if version != installed:
        notes.append(
            f"{task} was run with anchors {version}, "
            + (
                f"the installed suite has {installed}: the environment has changed since, and "
                "these scores are of the older one."
                if installed
                else "the installed suite has none of it to compare with."
            )
        )
    kept = [c for c in cells if c.anchors and c.anchors.version == version]
    # The version is a hash of the environment; the values must follow from it.
    values = [repr(cell.anchors) for cell in kept]
    agreed = _commonest(values)
    excluded = [
        _problem(
            cell,
            "anchors",
            (
                f"it has anchors {cell.anchors.version}, its task {version}: it is of another "
                "version of the environment, and not counted"
                if cell.anchors and cell.anchors.version != version
                else "its anchors have the version of the others' but not their values: not counted"
            ),
        )
        for cell in cells
        if repr(cell.anchors) != agreed
    ]
    return [cell for cell in kept if repr(cell.anchors) == agreed], excluded, notes


def _settle_budget(task: str, cells: list[Cell]) -> Settled:
    learners = [cell for cell in cells if cell.kind == "learner"]
    if not learners:
        return cells, [], []
    agreed = _commonest([_budget(cell) for cell in learners])
    excluded = [
        _problem(
            cell,
            "budget",
            f"it could spend {_budget(cell)}, most runs of its task {agreed}: not counted",
        )
        for cell in learners
        if _budget(cell) != agreed
    ]
    kept = [c for c in cells if c.kind != "learner" or _budget(c) == agreed]
    return kept, excluded, []


def _budget(cell: Cell) -> str:
    parts = [f"{value:,.12g} {name}" for name, value in sorted(cell.budget.items())]
    return ", ".join(parts) or "nothing stated"


def _commonest(values: Sequence[str]) -> str:
    """Return the value that is there most often; of several, the first in alphabetical order."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def _installed_version(task: str) -> str | None:
    try:
        return anchors.load(task).version
    except (LookupError, ValueError):  # no anchors, or not of the installed suite
        return None


def _provenance_notes(cells: Sequence[Cell]) -> list[str]:
    notes = []
    readers: Mapping[str, Callable[[Cell], Any]] = {
        "commits": lambda cell: cell.provenance.get("commit"),
        "machines": lambda cell: cell.provenance.get("machine"),
        "sets of versions": lambda cell: repr(cell.provenance.get("versions")),
    }
    for what, read in readers.items():
        found = Counter(str(read(cell)) for cell in cells)
        if len(found) > 1:
            told = "; ".join(f"{v:.120} ({n} cells)" for v, n in found.most_common(6))
            notes.append(f"The cells are of {len(found)} {what}: {told}.")
    return notes


def _stale_notes(cells: Sequence[Cell]) -> list[str]:
    """Return a note for each task whose environment was newer than its anchors when it was run."""
    stale: dict[str, int] = {}
    for cell in cells:
        version = cell.provenance.get("environment")
        if version and cell.anchors and version != cell.anchors.version:
            stale[cell.env] = stale.get(cell.env, 0) + 1
    return [
        f"{task}: {number} cells were run when its anchors were of another version of the "
        "environment, so their scores may be off."
        for task, number in sorted(stale.items())
    ]


def _unknown_notes(cells: Sequence[Cell]) -> list[str]:
    notes = []
    for cell in cells:
        final = cell.evaluations.get(FINAL)
        if final is not None and final.num_unknown:
            notes.append(
                f"{cell.agent} in {cell.env}, seed {cell.seed}: {final.num_unknown} of "
                f"{len(final.returns)} returns are unknown, the score is of the others."
            )
    return notes


def tags_of(task: str) -> tuple[str, ...]:
    """Return the tags of an id; none where it is not registered here."""
    try:
        return find(task).tags
    except ValueError:
        return ()


def _problem(cell: Cell, kind: str, text: str) -> Problem:
    return Problem(f"{cell.agent} {cell.env} {cell.seed}", kind, text)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _names(tasks: Sequence[str], most: int = 6) -> str:
    more = f" and {len(tasks) - most} more" if len(tasks) > most else ""
    return ", ".join(tasks[:most]) + more
