"""`run_pipeline`: the steps in order, each once, resumable at each.

    is its artefact there, whole, and made from the same? -> skipped
    else: made -> its record written -> the next one

Before a step is skipped or read by a later one, every file of it is compared with its record. A
step that was killed begins again, but for the run of the step `ppo`, which goes on from its newest
checkpoint.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.checkpoint import DamagedFileError, read_json
from agents.engine import process_group
from agents.engine.threads import use_threads
from agents.observer import Observer
from agents.pipeline.artefact import (
    Artefact,
    check_artefact,
    note_artefact,
    read_artefact,
    record_path,
)
from agents.pipeline.config import PipelineConfig
from agents.pipeline.step import MAKERS, Workshop, inputs_of, outside_of
from agents.tracking import (
    RunError,
    differences,
    hold_lock,
    machinery,
    plain_json,
    replace_json,
)
from agents.train import RUNS

__all__ = ["REPORT_FILE", "run_pipeline"]

REPORT_FILE = "pipeline.json"
_RESUMABLE = ("ppo",)  # steps that go on where they were killed


def run_pipeline(
    config: PipelineConfig,
    *,
    root: Path = RUNS,
    observer: Observer | None = None,
    at: Callable[[str], None] = lambda point: None,
) -> dict[str, Any]:
    """Take the steps of a pipeline, or those that are left of it.

    Args:
        config: the pipeline; what has changed in it since the last time is made again.
        root: directory of runs; this one's is `root / config.name`.
        observer: told how it goes.
        at: called after each thing done, with its name ("sft made"); tests kill there.

    Returns:
        What `pipeline.json` holds: `config`; of each step its `figures`, its `seconds`, and whether
        it `was_there`; `gold`, the return of the task's own reward `before` (the model that the
        run started from) and `after`, with the `gain`, paired by seed.

    Raises:
        RunError: the directory is in use, or is no pipeline's.
        DamagedFileError: something is damaged that cannot be made again; the message names it.
    """
    observer = observer or Observer()
    if process_group.num_processes() > 1:
        raise RunError(
            "A pipeline runs in one process; let `chat-envs train` have several, one step each."
        )
    place = (root / config.name).resolve()
    if (place / "config.json").exists():
        raise RunError(
            f"{place} is a run or a model, not a pipeline: take another name."
        )
    place.mkdir(parents=True, exist_ok=True)
    with hold_lock(place / "lock"), use_threads(config.num_threads):
        steps: dict[str, Any] = {}
        digests: dict[str, str] = {}
        for step in config.steps:
            sequence = _Step(place, config, step, digests, observer, at)
            artefact, was_there = sequence.take()
            digests[step] = artefact.digest
            steps[step] = {
                "figures": artefact.figures,
                "seconds": artefact.seconds,
                "was_there": was_there,
            }
            report = {"config": config.as_dict(), "steps": steps, "gold": _gold(steps)}
            replace_json(place / REPORT_FILE, report)
            at(f"{step} reported")
    return report


class _Step:
    """One step, to be skipped, made, or made again."""

    def __init__(
        self,
        root: Path,
        config: PipelineConfig,
        name: str,
        digests: dict[str, str],
        observer: Observer,
        at: Callable[[str], None],
    ) -> None:
        self.root, self.config, self.name = root, config, name
        self.observer, self.at = observer, at
        self.begun = record_path(root, f"{name}.begun")
        self.cause: dict[str, Any] = plain_json(
            {
                "settings": config.settings(name),
                "inputs": {step: digests[step] for step in inputs_of(config, name)},
                "outside": outside_of(config, name),
            }
        )

    def take(self) -> tuple[Artefact, bool]:
        """Return the step's artefact, and whether it was there already."""
        artefact = self._finished()
        if artefact is not None:
            self.observer.remark(f"The step {self.name} is there already.")
            changed = _machinery_changes(artefact)
            if changed:
                self.observer.remark(
                    f"It was made on other machinery, so one made now may differ ({changed})."
                )
            return artefact, True
        record_path(self.root, self.name).unlink(missing_ok=True)
        is_resuming = self._is_begun()
        if not is_resuming:
            self._clear()
        self.begun.parent.mkdir(parents=True, exist_ok=True)
        replace_json(self.begun, self.cause)
        self.at(f"{self.name} begun")
        began = time.perf_counter()
        shop = Workshop(self.root, self.config, self.observer, is_resuming, self.at)
        figures = plain_json(MAKERS[self.name](shop, self.name))
        self.at(f"{self.name} made")
        seconds = round(time.perf_counter() - began, 1)
        artefact = note_artefact(self.root, self.name, self.cause, figures, seconds)
        self.at(f"{self.name} noted")
        return artefact, False

    def _finished(self) -> Artefact | None:
        """Return the artefact if it is there, made from the same, and whole."""
        try:
            artefact = read_artefact(self.root, self.name)
            if artefact is None:
                return None
            changed = differences(artefact.cause, self.cause)
            if changed:
                self.observer.remark(
                    f"The step {self.name} is taken again: {'; '.join(changed)}."
                )
                return None
            check_artefact(self.root, artefact)
        except DamagedFileError as error:
            self.observer.remark(f"The step {self.name} is taken again: {error}")
            return None
        return artefact

    def _clear(self) -> None:
        """Remove what an earlier try has left."""
        place = self.root / self.name
        if place.exists() and not self.begun.exists():
            raise RunError(
                f"{place} is there, and no pipeline has made it: take another name, or remove it."
            )
        if place.exists():
            shutil.rmtree(place)

    def _is_begun(self) -> bool:
        """Return whether the step was begun from the same, and can go on from there."""
        if self.name not in _RESUMABLE or not self.begun.exists():
            return False
        try:
            return read_json(self.begun) == self.cause
        except DamagedFileError as error:
            self.observer.remark(f"The step {self.name} begins again: {error}")
            return False


def _machinery_changes(artefact: Artefact) -> str:
    """Return in which parts the machinery that made an artefact is not the present one."""
    now = plain_json(machinery())
    names = sorted((now.keys() | artefact.machinery.keys()) - {"git_commit"})
    return ", ".join(n for n in names if now.get(n) != artefact.machinery.get(n))


def _gold(steps: dict[str, Any]) -> Any:
    """Return the figures of the last step that measured the gold reward, None before one has."""
    measured = [
        step["figures"]["gold"] for step in steps.values() if "gold" in step["figures"]
    ]
    return measured[-1] if measured else None
