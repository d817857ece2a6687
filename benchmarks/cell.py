"""One cell of a benchmark: what one trained run is, how it went and what it scored, raw.

Whoever trains runs writes one `Cell` a run with `benchmarks.result_folder.write_cell`; all tables,
intervals and pages are made from these files by `chat-envs report`, and from nothing else. A file
holds returns, not scores; the anchors that make scores of them stand beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Self

from benchmarks.cell_schema import CELL_VERSION, MalformedRecordError, validate
from benchmarks.language_health import LanguageHealth
from chat_envs.anchors import Anchors, SplitAnchors

__all__ = [
    "Cell",
    "Curve",
    "Evaluation",
    "FINAL",
    "KINDS",
    "START",
    "STATUSES",
    "Transcript",
    "rounded",
    "shorten_error",
]

STATUSES = ("done", "failed", "killed", "malformed")
KINDS = ("learner", "control", "script")
FINAL, START = "final", "start"
_MAX_ERROR = 2_000  # characters

Numbers = tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The episodes of one evaluation of one model.

    Attributes:
        split: "train" or "test".
        first_seed: of the first episode; those after it follow on.
        repeats: episodes of each seed, one after the other: the trials of pass^k.
        returns: (E,) undiscounted; None where a reward is unknown.
        successes: (E,) 0 or 1.
        reply_tokens: (E,) mean tokens a reply; empty where nobody counted.
    """

    split: str
    first_seed: int
    repeats: int = 1
    returns: Numbers
    successes: tuple[int, ...]
    reply_tokens: Numbers = ()

    def __post_init__(self) -> None:
        if len(self.returns) != len(self.successes):
            raise MalformedRecordError(
                f"{len(self.returns)} returns and {len(self.successes)} successes"
            )
        if self.reply_tokens and len(self.reply_tokens) != len(self.returns):
            raise MalformedRecordError(
                f"{len(self.returns)} returns and {len(self.reply_tokens)} reply_tokens"
            )
        if len(self.returns) % self.repeats:
            raise MalformedRecordError(
                f"{len(self.returns)} returns are no multiple of {self.repeats} repeats"
            )

    @property
    def seeds(self) -> tuple[int, ...]:
        """(E,) the seed of each episode.

        >>> Evaluation(
        ...     split="test", first_seed=5, repeats=2, returns=(1, 0), successes=(1, 0)
        ... ).seeds
        (5, 5)
        """
        return tuple(
            self.first_seed + i // self.repeats for i in range(len(self.returns))
        )

    @property
    def num_unknown(self) -> int:
        """How many returns are unknown."""
        return sum(value is None for value in self.returns)

    @cached_property
    def mean_return(self) -> float:
        """The mean of the known returns; NaN where none is known."""
        known = [value for value in self.returns if value is not None]
        return math.fsum(known) / len(known) if known else math.nan

    def trials(self) -> tuple[list[int], list[int]]:
        """Return successes and trials of each seed."""
        chunks = range(0, len(self.successes), self.repeats)
        won = [sum(self.successes[i : i + self.repeats]) for i in chunks]
        return won, [self.repeats] * len(won)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """How a run went on its way; every field but `split` has one entry a point.

    Attributes:
        split: the goals that `mean_return` is of: "test" of evaluations on the way, "train" of the
            training episodes themselves.
        turns: played so far.
        tokens: generated so far.
        seconds: of the wall clock so far.
        mean_return: None where it is unknown.
        kl: nats a reply between policy and start, summed over tokens; empty where nobody measured.
        gold: mean return of the task's own reward, where another is paid; else empty.
        proxy: mean return of what is paid instead; else empty.
    """

    split: str
    turns: tuple[float, ...]
    tokens: tuple[float, ...]
    seconds: tuple[float, ...]
    mean_return: Numbers
    kl: Numbers = ()
    gold: Numbers = ()
    proxy: Numbers = ()

    def __post_init__(self) -> None:
        for axis in ("turns", "tokens", "seconds"):
            steps = getattr(self, axis)
            if any(b < a for a, b in zip(steps, steps[1:], strict=False)):
                raise MalformedRecordError(f"the {axis} of the curve fall")
        for name in ("tokens", "seconds", "mean_return", "kl", "gold", "proxy"):
            values = getattr(self, name)
            is_left_out = name in ("kl", "gold", "proxy") and not values
            if not is_left_out and len(values) != len(self.turns):
                raise MalformedRecordError(
                    f"the curve has {len(self.turns)} turns and {len(values)} {name}"
                )


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """One evaluation episode as people read it: what `agents.transcript.describe_episode` returns.

    Attributes:
        kind: "best" and "worst" by return; "random" by a seed that was fixed before anybody looked.
        record: seed, return, success, termination_reason, rewards, components and messages.
    """

    kind: str
    record: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of one agent on one task, whatever became of it.

    Attributes:
        agent: the name under which it is reported.
        env: full id of the environment.
        seed: of the training run.
        kind: "learner"; "control" for a negative control (shuffled rewards, no learning rate);
            "script" for what is not trained, hostile repliers among them. Learners alone are
            aggregated.
        status: "done", or why there is no score: "failed" (it raised), "killed" (it hung, or ran
            out of time or memory), "malformed" (its replies or results were none).
        error: what happened, shortened by `shorten_error`; "" if it is done.
        budget: what the run could spend, e.g. `{"tokens": 200_000}`; cells of one task must agree.
        config: everything that reruns the cell.
        command: the command line that does.
        anchors: of the environment when the run was made; None where it has none.
        curve: None where nobody kept one.
        evaluations: by name: "final" (sampled, held-out goals; needed where `status` is "done"),
            "final_greedy", "final_train", "final_trials" (with repeats, for pass^k), and likewise
            "start", "start_greedy", "start_train" of the model before learning.
        language: "final" and "start" -> health of the replies.
        transcripts: best, worst and some random ones.
        provenance: versions, commit, machine, date.
    """

    agent: str
    env: str
    seed: int
    kind: str = "learner"
    status: str
    error: str = ""
    budget: Mapping[str, float]
    config: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    anchors: Anchors | None = None
    curve: Curve | None = None
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    language: Mapping[str, LanguageHealth] = field(default_factory=dict)
    transcripts: tuple[Transcript, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status != "done":
            return
        final = self.evaluations.get(FINAL)
        if final is None or final.num_unknown == len(final.returns):
            raise MalformedRecordError(
                f"it is done, but its evaluation {FINAL!r} has no known return"
            )

    def score(self, name: str = FINAL) -> float | None:
        """Return the normalised score of one of the evaluations.

        None where it was not made, or there are no anchors. 0 is the policy that reads nothing, 1
        the scripted expert; each split has its own anchors.
        """
        evaluation = self.evaluations.get(name)
        if evaluation is None:
            return None
        value = self.normalise(evaluation.mean_return, evaluation.split)
        return None if value is None or math.isnan(value) else value

    def normalise(self, value: float, split: str) -> float | None:
        """Return the score of a return on a split, by the cell's own anchors."""
        if self.anchors is None:
            return None
        anchors = self.anchors.on(split)
        span = anchors.expert - anchors.blind
        return (value - anchors.blind) / span if span > 0 else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON of `benchmarks.cell_schema.SCHEMA`; an unknown number is null."""
        record = {
            part.name: getattr(self, part.name)
            for part in fields(self)
            if part.name not in ("evaluations", "language", "transcripts")
        }
        record |= {
            "version": CELL_VERSION,
            "anchors": None if self.anchors is None else asdict(self.anchors),
            "curve": None if self.curve is None else asdict(self.curve),
            "evaluations": {k: asdict(v) for k, v in self.evaluations.items()},
            "language": {k: v.as_dict() for k, v in self.language.items()},
            "transcripts": [{"kind": t.kind, **t.record} for t in self.transcripts],
        }
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Return the cell that a file holds.

        Raises:
            MalformedRecordError: the record is not of the schema; the message names the field.
        """
        validate(record)
        values = {k: v for k, v in record.items() if k != "version"}
        anchors, curve = record["anchors"], record["curve"]
        values["anchors"] = anchors and Anchors(
            version=anchors["version"],
            train=SplitAnchors(**anchors["train"]),
            test=SplitAnchors(**anchors["test"]),
        )
        values["curve"] = curve and Curve(**_tuples(curve))
        values["evaluations"] = {
            name: Evaluation(**_tuples(value))
            for name, value in record["evaluations"].items()
        }
        values["language"] = {
            name: LanguageHealth(**value) for name, value in record["language"].items()
        }
        values["transcripts"] = tuple(
            Transcript(
                kind=t["kind"], record={k: v for k, v in t.items() if k != "kind"}
            )
            for t in record["transcripts"]
        )
        return cls(**values)


def rounded(value: float) -> float | None:
    """Return a measurement as files hold it: in nine digits, all that float32 has.

    Sums of floats would otherwise fill files with the digits of rounding errors.

    >>> rounded(0.1 + 0.2), rounded(math.nan)
    (0.3, None)
    """
    return float(f"{value:.9g}") if math.isfinite(value) else None


def shorten_error(text: str, limit: int = _MAX_ERROR) -> str:
    """Return an error's text, its middle left out if it is long: a traceback says most at its ends.

    >>> shorten_error("abcdefghij" * 10, limit=40)
    'abcdefgh [... 84 characters ...] cdefghij'
    """
    if len(text) <= limit:
        return text
    kept = (limit - 24) // 2
    return f"{text[:kept]} [... {len(text) - 2 * kept} characters ...] {text[-kept:]}"


def _tuples(record: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
