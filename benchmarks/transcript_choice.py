"""Which dialogues the report shows: some at random by seed, the best and the worst of each agent.

What is shown was fixed before anybody looked: random ones come from the runs of the lowest seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.transcript import turns_of
from benchmarks.cell import Cell, Transcript
from benchmarks.run_table import RunTable

__all__ = ["choose_transcripts"]

_NUM_RANDOM_RUNS = 2


def choose_transcripts(table: RunTable, agents: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the browser shows of each agent on each task.

    Returns:
        Records with agent, env, run (its seed), kind, the transcript's own fields, and turns.
    """
    found = []
    for agent in agents:
        for task in table.tasks:
            cells = [c for c in table.of(agent, task) if c.transcripts]
            found += [_describe(cell, script) for cell, script in _choose(cells)]
    return found


def _choose(cells: Sequence[Cell]) -> list[tuple[Cell, Transcript]]:
    every = [(cell, script) for cell in cells for script in cell.transcripts]
    chosen = [
        (cell, script)
        for cell in cells[:_NUM_RANDOM_RUNS]
        for script in cell.transcripts
        if script.kind == "random"
    ]
    for kind, sign in (("best", 1.0), ("worst", -1.0)):
        known = [
            (cell, script)
            for cell, script in every
            if script.kind == kind and script.record["return"] is not None
        ]
        if known:
            # The first of several that are equal.
            chosen.append(max(known, key=lambda pair: sign * pair[1].record["return"]))
    return chosen


def _describe(cell: Cell, script: Transcript) -> dict[str, Any]:
    record: Mapping[str, Any] = script.record
    turns = []
    for turn in _turns(record):
        components = {k: v for k, v in turn.get("components", {}).items() if v}
        turns.append({**turn, "components": components})
    return {
        "agent": cell.agent,
        "env": cell.env,
        "run": cell.seed,
        "kind": script.kind,
        **{k: record[k] for k in ("seed", "return", "success", "termination_reason")},
        "turns": turns,
    }


def _turns(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the turns; a component that has fewer values than turns is of none of them."""
    number = len(record["rewards"])
    components = {k: v for k, v in record["components"].items() if len(v) == number}
    return turns_of({**record, "components": components})
