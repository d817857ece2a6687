"""The directory of a run: who may write, what the run is, and what happened in it.

`config.json` says what was asked and on what machinery; `metrics.jsonl` and `transcripts.jsonl` are
functions of the seed, so two runs of one config write the same bytes; `timing.jsonl` and the
TensorBoard events say what it cost. On resuming, every log is cut back to where it stood when the
checkpoint was written.
"""

from __future__ import annotations

import difflib
import math
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter

from agents.checkpoint import DamagedFileError, read_json, sync, write_json
from agents.tracking.line_log import LineLog, plain_json
from agents.tracking.lock import RunError, hold_lock
from agents.tracking.machinery import check_tokenizer, machinery

__all__ = [
    "LOGS",
    "RunDirectory",
    "check_run_name",
    "differences",
    "find_run",
    "read_config",
    "replace_json",
]

LOGS = ("metrics.jsonl", "timing.jsonl", "transcripts.jsonl")
CONFIG, LOCK, CHECKPOINTS, EVENTS = "config.json", "lock", "checkpoints", "tensorboard"
# What else a run may write; the config comes last, since it says that this is a run.
_OTHERS = ("evaluation.json", "summary.json", "report.html", CONFIG)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class RunDirectory:
    """A run on the disk, with this process as its only writer until `close`.

    Args:
        path: the directory; created where it is missing.
        config: what reproduces the run; JSON-able.
        is_resuming: go on with the run that is there (begin it where there is none yet).
        is_replacing: remove the run that is there.
        growing: names of top-level fields that may be larger than in the run that is there.

    Raises:
        RunError: another process writes it; a run is there and is neither resumed nor replaced;
            the run there has another config.
        DamagedFileError: `config.json` is damaged.
    """

    def __init__(
        self,
        path: Path,
        config: Mapping[str, Any],
        *,
        is_resuming: bool = False,
        is_replacing: bool = False,
        growing: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.checkpoints = path / CHECKPOINTS
        self.remarks: list[str] = []
        self._logs: dict[str, LineLog] = {}
        self._events: SummaryWriter | None = None
        path.mkdir(parents=True, exist_ok=True)
        self._lock = hold_lock(path / LOCK)
        self._lock.__enter__()
        try:
            if is_replacing:
                self._remove_run()
            self._settle_config(plain_json(config), is_resuming, growing)
        except BaseException:
            self.close()
            raise

    def open_logs(
        self, state: Mapping[str, Any] | None, num_timesteps: int = 0
    ) -> None:
        """Open the logs where they stood in `state` (what `marks` returned); None empties them."""
        for name in LOGS:
            mark = None if state is None else state[name]
            self._logs[name] = LineLog(self.path / name, mark)
        if state is None:
            _remove_tree(self.path / EVENTS)
        # Events past the checkpoint are of a future that is now played again.
        self._events = SummaryWriter(
            str(self.path / EVENTS), purge_step=num_timesteps + 1 if state else None
        )

    def log(self, name: str, record: Mapping[str, Any]) -> None:
        """Append a line to one of `LOGS`."""
        self._logs[name].append(record)

    def log_scalars(self, figures: Mapping[str, float], num_timesteps: int) -> None:
        """Write TensorBoard events."""
        assert self._events is not None, "open_logs comes first"
        for name, value in figures.items():
            if math.isfinite(value):
                self._events.add_scalar(name, value, num_timesteps)

    def marks(self) -> dict[str, Any]:
        """Put all logs on the disk and return where they stand, for a checkpoint."""
        if self._events is not None:
            self._events.flush()
        return {name: log.mark() for name, log in self._logs.items()}

    def write(self, name: str, record: Mapping[str, Any]) -> Path:
        """Write a JSON file of the run at once or not at all; return its path."""
        return replace_json(self.path / name, record)

    def close(self) -> None:
        """Close the logs and let go of the lock."""
        for log in self._logs.values():
            log.close()
        if self._events is not None:
            self._events.close()
        self._lock.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _settle_config(
        self, config: dict[str, Any], is_resuming: bool, growing: Sequence[str]
    ) -> None:
        """Write `config.json`, or compare the one that is there."""
        path = self.path / CONFIG
        machine = machinery()
        if path.exists():
            if not is_resuming:
                raise RunError(
                    f"{self.path} holds a run already: go on with it by --resume, replace it by "
                    "--force, or choose another name by --run."
                )
            stored = read_config(path)
            before = stored["config"]
            grown = {
                name: config[name]
                for name in growing
                if isinstance(before.get(name), int) and config[name] > before[name]
            }
            found = differences(before | grown, config)
            if found:
                raise RunError(
                    f"{path} is of another config: {'; '.join(found)}. Ask for the same, or "
                    "choose another name by --run."
                )
            check_tokenizer(path, stored)
            self.remarks += [
                f"{self.path} was begun on other machinery, so the numbers may differ: {line}."
                for line in differences(stored["machinery"], machine)
            ]
            if not grown:
                return
        elif self.checkpoints.exists():
            raise DamagedFileError(
                f"{path} is missing, though there are checkpoints: they cannot be told from those "
                "of another config. Restore it, or begin anew by --force."
            )
        elif is_resuming:
            self.remarks.append(f"{self.path} holds no run to resume; it begins now.")
        replace_json(path, {"config": config, "machinery": machine})

    def _remove_run(self) -> None:
        """Remove what a run writes, and nothing else; what says that it is a run goes last."""
        for name in (CHECKPOINTS, EVENTS):
            _remove_tree(self.path / name)
        for name in (*LOGS, *_OTHERS):
            (self.path / name).unlink(missing_ok=True)


def check_run_name(name: str) -> str:
    """Return `name` if a run may be called so.

    Raises:
        RunError: it may not: it would leave the directory of the runs, or hide in it.
    """
    if not _NAME.fullmatch(name):
        raise RunError(
            f"A run's name has letters, digits, '_', '-' and '.', and no leading '.' or '-'; got "
            f"{name!r}."
        )
    return name


def read_config(path: Path) -> dict[str, Any]:
    """Return the `config.json` of a run, with its objects `config` and `machinery`.

    Raises:
        DamagedFileError: it is missing, or not of a run; the message names it.
    """
    stored = read_json(path)
    for name in ("config", "machinery"):
        if not isinstance(stored.get(name), dict):
            raise DamagedFileError(f"{path} has no object {name!r}; it is no run's.")
    return stored


def find_run(name: str, root: Path) -> Path:
    """Return the directory of a run, given by its name below `root` or by its path.

    Raises:
        RunError: there is none; the message says which there are.
    """
    for path in (root / name, Path(name)):
        if (path / CONFIG).is_file():
            return path
    runs = sorted(path.parent.name for path in root.glob(f"*/{CONFIG}"))
    there = f"There are: {', '.join(runs)}." if runs else "None is there yet."
    near = difflib.get_close_matches(name, runs, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise RunError(f"There is no run {name!r} in {root}.{hint} {there}")


def replace_json(path: Path, record: Mapping[str, Any]) -> Path:
    """Write a JSON file at once or not at all; return its path."""
    aside = path.with_name(f".{path.name}.writing")
    write_json(aside, plain_json(record))
    aside.replace(path)
    sync(path.parent)
    return path


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return one line for each field that differs, by its dotted name.

    >>> differences({"seed": 0, "ppo": {"rate": 1}}, {"seed": 1, "ppo": {"rate": 1}})
    ['seed is 0 there, 1 here']
    """
    old, new = dict(_leaves(before)), dict(_leaves(after))
    return [
        f"{name} is {old.get(name, 'absent')!r} there, {new.get(name, 'absent')!r} here"
        for name in sorted(old.keys() | new.keys())
        if name not in old or name not in new or old[name] != new[name]
    ]


def _remove_tree(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)


def _leaves(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
