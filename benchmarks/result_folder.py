"""A results folder: `RESULTS/cells/AGENT/ENV/SEED.json`, one file a trained run.

`read_results` reads what is there and names what is not as it should be: a torn file, one of
another version, one in the wrong place, a run that is missing. None of it stops the reading, and
none of it is ever averaged over silently: whoever reports shows `Results.problems`.

`RESULTS/plan.json` says which cells there should be; without it, every agent found should have run
on every task found, with every seed found.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from agents.checkpoint import DamagedFileError, read_json, sync
from agents.tracking import plain_json
from benchmarks.cell import Cell
from benchmarks.cell_schema import CELL_VERSION, MalformedRecordError, validate
from chat_envs.spelling import nearest

__all__ = [
    "Plan",
    "Problem",
    "Results",
    "ResultsError",
    "cell_path",
    "is_about",
    "read_cell",
    "read_plan",
    "read_results",
    "write_cell",
    "write_plan",
]

CELLS, PLAN = "cells", "plan.json"
_NAMESPACE = "chat_envs/"
_PLAN_SCHEMA = {
    "type": "object",
    "properties": {
        "version": {"enum": [CELL_VERSION]},
        "agents": {"type": "array", "items": {"type": "string"}},
        "envs": {"type": "array", "items": {"type": "string"}},
        "seeds": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    },
    "required": ["version", "agents", "envs", "seeds"],
}


class ResultsError(ValueError):
    """A folder holds no results that could be reported; the message says what to do."""


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be.

    Attributes:
        place: a path inside the folder, or "AGENT ENV SEED".
        kind: "torn", "version", "malformed", "misfiled", "stray", "missing", or, of a whole cell
            that is left out, "anchors", "no anchors" or "budget".
        text: what is wrong.
    """

    place: str
    kind: str
    text: str

    def as_dict(self) -> dict[str, str]:
        """Return plain JSON."""
        return asdict(self)


def is_about(problem: Problem, agent: str) -> bool:
    """Return whether a problem is of an agent's cells, or of the whole folder."""
    parts = problem.place.split("/")
    if parts[0] == CELLS and len(parts) == 4:
        return parts[1] == _encode(agent)
    return problem.place == PLAN or problem.place.startswith(f"{agent} ")


@dataclass(frozen=True)
class Plan:
    """Which cells a folder should have: all of agents x envs x seeds."""

    agents: tuple[str, ...]
    envs: tuple[str, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Results:
    """What a folder holds.

    Attributes:
        path: the folder.
        cells: the readable ones, by agent, task and seed.
        problems: all else, in the order of the paths.
        plan: None where none was written.
    """

    path: Path
    cells: tuple[Cell, ...]
    problems: tuple[Problem, ...]
    plan: Plan | None

    @property
    def agents(self) -> list[str]:
        """The agents of the cells and of the plan, in alphabetical order."""
        planned = self.plan.agents if self.plan else ()
        return sorted({cell.agent for cell in self.cells} | set(planned))


def cell_path(folder: Path, agent: str, env: str, seed: int) -> Path:
    """Return where a cell is kept; names are percent-encoded, so that any agent has a file.

    >>> cell_path(Path("r"), "my.pkg:Agent", "chat_envs/Echo-v0", 3).as_posix()
    'r/cells/my.pkg%3AAgent/Echo-v0/3.json'
    """
    names = [_encode(agent), _encode(env.removeprefix(_NAMESPACE))]
    return folder / CELLS / names[0] / names[1] / f"{seed}.json"


def _encode(name: str) -> str:
    text = urllib.parse.quote(name, safe=" +,=@")
    # A leading dot would hide a file, or leave the folder.
    return f"%2E{text[1:]}" if text.startswith(".") else text


def write_cell(folder: Path, cell: Cell) -> Path:
    """Write a cell at once or not at all, over an older one of the same run; return its path."""
    record = plain_json(cell.as_dict())
    validate(record)
    path = cell_path(folder, cell.agent, cell.env, cell.seed)
    return _write(path, record)


def write_plan(folder: Path, plan: Plan) -> Path:
    """Write which cells there should be, so that a missing one is known to be missing."""
    return _write(folder / PLAN, {"version": CELL_VERSION, **asdict(plan)})


def _write(path: Path, record: dict[str, Any]) -> Path:
    """Write compact JSON aside, sync and rename: results are committed, so bytes count."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.writing")
    # ASCII: half of a surrogate pair, which a model may write, is no UTF-8.
    text = json.dumps(record, sort_keys=True, allow_nan=False, separators=(",", ":"))
    aside.write_text(text + "\n", encoding="ascii")
    sync(aside)
    aside.replace(path)
    sync(path.parent)
    return path


def read_cell(folder: Path, agent: str, env: str, seed: int) -> Cell | Problem | None:
    """Return the cell of a run, or what is wrong with its file; None where there is no file."""
    path = cell_path(folder, agent, env, seed)
    return _read_cell(folder, path) if path.is_file() else None


def read_results(folder: Path) -> Results:
    """Return the cells of a folder and a list of everything that is wrong with it.

    Raises:
        ResultsError: there is no such folder, or nothing at all in its `cells`.
    """
    root = folder / CELLS
    if not root.is_dir():
        raise ResultsError(_no_results(folder))
    problems: list[Problem] = []
    plan = read_plan(folder, problems)
    cells: dict[tuple[str, str, int], Cell] = {}
    broken: set[Path] = set()
    # A dot begins what a killed writer left aside: it was never a cell.
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.name[0] != "."):
        found = _read_cell(folder, path)
        if isinstance(found, Problem):
            problems.append(found)
            broken.add(path)
        else:
            cells[found.agent, found.env, found.seed] = found
    if not cells and not broken and plan is None:
        raise ResultsError(_no_results(folder))
    ordered = tuple(cells[key] for key in sorted(cells))
    problems += _missing(folder, ordered, plan, broken)
    return Results(folder, ordered, tuple(problems), plan)


def _no_results(folder: Path) -> str:
    if not folder.is_dir():
        siblings = (
            sorted(p.name for p in folder.parent.iterdir() if (p / CELLS).is_dir())
            if folder.parent.is_dir()
            else []
        )
        hint = nearest(folder.name, siblings) if siblings else ""
        return f"There is no folder {folder}.{hint}"
    return (
        f"{folder} holds no results: no file {CELLS}/AGENT/ENV/SEED.json. `chat-envs bench` makes "
        "them."
    )


def read_plan(folder: Path, problems: list[Problem]) -> Plan | None:
    """Return the plan; None where there is none, or a torn one, which is put among the problems."""
    path = folder / PLAN
    if not path.exists():
        return None
    try:
        record = read_json(path)
        validate(record, _PLAN_SCHEMA, "plan")
    except DamagedFileError as error:
        problems.append(Problem(PLAN, "torn", _without(folder, error)))
        return None
    except MalformedRecordError as error:
        problems.append(Problem(PLAN, "malformed", str(error)))
        return None
    names = (tuple(record[key]) for key in ("agents", "envs", "seeds"))
    return Plan(*names)


def _read_cell(folder: Path, path: Path) -> Cell | Problem:
    place = path.relative_to(folder).as_posix()
    if path.suffix != ".json" or len(path.relative_to(folder).parts) != 4:
        return Problem(place, "stray", "it is no CELLS/AGENT/ENV/SEED.json; not read")
    try:
        record = read_json(path)
    except (DamagedFileError, OSError) as error:
        return Problem(place, "torn", _without(folder, error))
    if record.get("version") != CELL_VERSION:
        return Problem(
            place,
            "version",
            f"written as version {record.get('version')!r:.40}, this chat-envs reads "
            f"{CELL_VERSION}: run it again, or report it by the version that wrote it",
        )
    try:
        cell = Cell.from_dict(record)
    except (MalformedRecordError, ValueError) as error:
        return Problem(place, "malformed", str(error))
    if cell_path(folder, cell.agent, cell.env, cell.seed) != path:
        return Problem(
            place,
            "misfiled",
            f"it says that it is {cell.agent} in {cell.env}, seed {cell.seed}: not counted",
        )
    return cell


def _missing(
    folder: Path, cells: Sequence[Cell], plan: Plan | None, broken: set[Path]
) -> list[Problem]:
    """Return a problem for every cell that should be there; a broken file is named already."""
    learners = [cell for cell in cells if cell.kind == "learner"]
    if plan is None:
        plan = Plan(
            tuple(sorted({cell.agent for cell in learners})),
            tuple(sorted({cell.env for cell in learners})),
            tuple(sorted({cell.seed for cell in learners})),
        )
    there = {(cell.agent, cell.env, cell.seed) for cell in cells}
    return [
        Problem(f"{agent} {env} {seed}", "missing", "there is no such cell")
        for agent, env, seed in product(plan.agents, plan.envs, plan.seeds)
        if (agent, env, seed) not in there
        and cell_path(folder, agent, env, seed) not in broken
    ]


def _without(folder: Path, error: Exception) -> str:
    """Return an error's text without the folder's own path, which is of one machine."""
    return str(error).replace(f"{folder}/", "")
