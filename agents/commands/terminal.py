"""What the commands share of the terminal: exit codes, progress, what may be printed.

Standard output is the result, for people or, with `--json`, for programs; all else goes to standard
error. Exit codes: 0 done, 1 the work failed, 2 bad usage or input, 130 interrupted.
"""

from __future__ import annotations

import functools
import json
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Self

import yaml
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

import chat_envs.reward
from agents.checkpoint import DamagedFileError
from agents.engine.process_group import OtherProcessError
from agents.observer import Observer
from agents.tracking import RunError
from chat_envs.reward import RewardError

__all__ = [
    "BadInput",
    "TerminalObserver",
    "bad_input",
    "command",
    "parse_yaml",
    "print_json",
    "printable",
    "say",
]

_SPARSE_SECONDS = 15.0
_OURS = tuple(map(Path, chat_envs.reward.__path__))
# YAML 1.1 reads `1e-4` as a string; people write step sizes so.
_FLOAT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+")


class BadInput(Exception):
    """The user asked for something that cannot be; the message says what to do."""


def command(run: Callable[[Sequence[str]], int]) -> Callable[[Sequence[str]], int]:
    """Decorate a command's `run`: what it raises becomes a message and an exit code.

    What is neither bad input nor a failure that the user can understand is a defect of ours and
    keeps its traceback.
    """

    @functools.wraps(run)
    def guarded(argv: Sequence[str]) -> int:
        try:
            return run(argv)
        except (BadInput, RunError, DamagedFileError) as error:
            say(f"error: {error}")
            return 2
        except OtherProcessError:
            return 1  # the process that has the error says which
        except RewardError as error:
            say(f"failed: {error}{_place_of(error.__cause__)}")
            return 1
        except BrokenPipeError:
            raise  # whoever read our output has gone: `chat-envs` itself knows what to do
        except (OSError, FloatingPointError, MemoryError) as error:
            say(f"failed: {type(error).__name__}: {error}")
            return 1
        except KeyboardInterrupt:
            say("interrupted.")
            return 130

    return guarded


def _place_of(error: BaseException | None) -> str:
    """Return the line of a reward function that raised, for who wrote it; "" if none did."""
    frames = traceback.extract_tb(error.__traceback__ if error is not None else None)
    if not frames or Path(frames[-1].filename).parent in _OURS:
        return ""
    return f" ({frames[-1].filename}:{frames[-1].lineno})"


@contextmanager
def bad_input() -> Iterator[None]:
    """Turn what is raised while arguments are being understood into `BadInput`."""
    try:
        yield
    except (
        ValueError,
        TypeError,
        LookupError,
        ImportError,
        NotImplementedError,
        OSError,
    ) as error:
        # str() of a KeyError is the repr of its message.
        text = error.args[0] if isinstance(error, KeyError) else error
        raise BadInput(str(text)) from error


def parse_yaml(text: str) -> Any:
    """Return what a YAML text says, numbers like 1e-4 among it.

    >>> parse_yaml("{learning_rate: 1e-4, script: careless}")
    {'learning_rate': 0.0001, 'script': 'careless'}

    Raises:
        ValueError: it is not YAML.
    """
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Builds plain data only."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def say(text: str) -> None:
    """Write a line to standard error."""
    print(printable(text), file=sys.stderr, flush=True)


def print_json(record: Mapping[str, Any]) -> None:
    """Write one JSON object to standard output."""
    print(json.dumps(record, indent=2, allow_nan=False))


def printable(text: str) -> str:
    r"""Return `text` with what could command a terminal made visible; lines and tabs stay.

    >>> printable("plain \x1b[2J")
    'plain \\x1b[2J'
    """
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode()
        for c in text
    )


class _Rate(ProgressColumn):
    """Units a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} {task.fields['unit']}/s")


class TerminalObserver(Observer):
    """Shows progress on standard error: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._progress: Progress | None = None
        self._stage, self._total, self._unit = "", 0, ""
        self._began = self._last_line = 0.0

    def begin(self, stage: str, total: int, unit: str) -> None:
        """Show that a stage begins."""
        self._stage, self._total, self._unit = stage, total, unit
        self._began = self._last_line = time.monotonic()
        if not self._console.is_terminal:
            say(f"{stage}: {total} {unit}")
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[words]}"),
            console=self._console,
        )
        self._progress.start()
        self._progress.add_task(stage, total=total, unit=unit, words="")

    def advance(self, done: int, words: str = "") -> None:
        """Show how far the stage is."""
        now = time.monotonic()
        if self._progress is not None:
            self._progress.update(
                self._progress.task_ids[0], completed=done, words=words
            )
        elif now - self._last_line >= _SPARSE_SECONDS:
            self._last_line = now
            said = f"; {words}" if words else ""
            say(f"{self._stage}: {done} of {self._total} {self._unit}{said}")

    def end(self) -> None:
        """Show that the stage is over."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        else:
            say(f"{self._stage}: done in {time.monotonic() - self._began:.0f} s")

    def remark(self, text: str) -> None:
        """Show a remark."""
        say(f"note: {text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        # Give the terminal back, whatever happened.
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
