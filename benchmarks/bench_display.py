"""What one sees of a benchmark on its way: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from agents.commands.terminal import printable, say
from benchmarks.job import Job
from benchmarks.runner import Ended, Running

__all__ = ["BenchDisplay", "Estimator", "duration"]

_MOST_ROWS = 24


def duration(seconds: float) -> str:
    """Return a time as people say it.

    >>> duration(59), duration(600), duration(7_300)
    ('59 s', '10 min', '2 h 02 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return (
        f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
    )


@dataclass
class Estimator:
    """How long jobs take, from those that have ended.

    Attributes:
        seconds: of each ended job, by agent and environment.
    """

    seconds: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def note(self, agent: str, env: str, seconds: float) -> None:
        """Note how long a job took."""
        self.seconds.setdefault((agent, env), []).append(seconds)

    def of(self, job: Job) -> float | None:
        """Return the mean of the jobs that are most like it; None where there is none."""
        for likeness in (
            lambda agent, env: (agent, env) == (job.agent, job.env),
            lambda agent, env: env == job.env,
            lambda agent, env: True,
        ):
            alike = [s for key, v in self.seconds.items() if likeness(*key) for s in v]
            if alike:
                return sum(alike) / len(alike)
        return None

    def left(
        self, running: Iterable[Running], waiting: Iterable[Job], num_seats: int
    ) -> float | None:
        """Return the seconds that are left, if seats are never empty; None where nobody knows."""
        total = 0.0
        for job, done in [(r.job, r.seconds) for r in running] + [
            (job, 0.0) for job in waiting
        ]:
            expected = self.of(job)
            if expected is None:
                return None
            total += max(expected - done, 0.0)
        return total / num_seats


class BenchDisplay:
    """Tells on standard error how a benchmark goes; use it as a context manager.

    Args:
        num_jobs: of the whole benchmark.
        num_finished: of those, finished before.
        num_seats: jobs at a time.
        estimator: knows how long jobs took before.
        console: of the terminal; None takes standard error.
    """

    def __init__(
        self,
        num_jobs: int,
        num_finished: int,
        num_seats: int,
        estimator: Estimator,
        console: Console | None = None,
    ) -> None:
        self._num_jobs, self._num_over = num_jobs, num_finished
        self._num_seats, self._estimator = num_seats, estimator
        self._counts: Counter[str] = Counter()
        self._console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._running: Sequence[Running] = ()
        self._waiting: Sequence[Job] = ()
        self._shown = 0.0

    def __enter__(self) -> BenchDisplay:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:  # give the terminal back, whatever happened
            self._live.stop()
            self._live = None

    def ended(self, ended: Ended) -> None:
        """Say that a job is over."""
        job = ended.job
        self._num_over += 1
        self._counts[ended.status] += 1
        took = "by another runner"
        if ended.seconds is not None:
            took = f"in {duration(ended.seconds)}"
            if ended.status == "done":
                self._estimator.note(job.agent, job.env, ended.seconds)
        left = self._left()
        line = (
            f"[{self._num_over}/{self._num_jobs}] {ended.status} {took}: {job.agent}, "
            f"{_short(job.env)}, seed {job.seed}{left}"
        )
        if self._live is None:
            say(line)
        elif ended.status != "done":  # stays above the table
            self._live.console.print(Text(printable(line), style="red"))

    def show(self, running: Sequence[Running], waiting: Sequence[Job]) -> None:
        """Redraw the table, twice a second at the most."""
        self._running, self._waiting = running, waiting
        now = time.monotonic()
        if self._live is not None and now - self._shown >= 0.5:
            self._shown = now
            self._live.update(self.render(), refresh=True)

    def render(self) -> Group:
        """Return the table of the jobs at work, and the line of the whole."""
        table = Table(box=None, pad_edge=False)
        for heading in ("agent", "task", "seed", "time", "now"):
            table.add_column(heading, no_wrap=True)
        for one in self._running[:_MOST_ROWS]:
            words = one.last_words().rpartition("\n")[2]
            cells = (one.job.agent, _short(one.job.env), str(one.job.seed))
            texts = (*cells, duration(one.seconds), printable(words))
            table.add_row(*map(Text, texts))
        told = ", ".join(f"{n} {status}" for status, n in sorted(self._counts.items()))
        line = (
            f"{self._num_over} of {self._num_jobs} runs are over"
            + (f" ({told})" if told else "")
            + f"; {len(self._running)} at work{self._left()}"
        )
        return Group(table, Text(line, style="bold"))

    def _left(self) -> str:
        seconds = self._estimator.left(self._running, self._waiting, self._num_seats)
        return "" if seconds is None else f"; about {duration(seconds)} left"


def _short(env: str) -> str:
    return env.removeprefix("chat_envs/")
