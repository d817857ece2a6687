"""Carrying out a job: score the beginning, learn, score the end, and say all of it in a `Cell`."""

from __future__ import annotations

import dataclasses
import datetime
import os
import platform
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.evaluation import NEUTRAL_KEYWORDS
from agents.experience.rollout import Rollout
from agents.observer import Observer
from agents.tracking import machinery
from agents.transcript import describe_episode
from benchmarks.cell import (
    FINAL,
    START,
    Cell,
    Curve,
    Evaluation,
    Transcript,
    rounded,
    shorten_error,
)
from benchmarks.cell_schema import MalformedRecordError
from benchmarks.job import Job
from benchmarks.language_health import LanguageHealth, measure_language
from benchmarks.outside_player import MalformedReplyError, OwnPlayer, SB3Player
from benchmarks.player import (
    AlgorithmPlayer,
    Goals,
    ModelPlayer,
    Player,
    ScriptPlayer,
)
from chat_envs import anchors
from chat_envs.anchors import Anchors

__all__ = [
    "anchors_of",
    "choose_transcripts",
    "describe_rollout",
    "failed_cell",
    "run_job",
]

_NUM_RANDOM = 2  # transcripts that nobody chose


@dataclass
class _Measured:
    """What is known so far; kept when the rest fails."""

    curve: Curve | None = None
    evaluations: dict[str, Evaluation] = field(default_factory=dict)
    language: dict[str, LanguageHealth] = field(default_factory=dict)
    transcripts: tuple[Transcript, ...] = ()


def run_job(job: Job, observer: Observer | None = None) -> Cell:
    """Return the cell of a job, whatever becomes of it.

    An agent that raises is "failed", one whose replies or results are none "malformed", one that
    wants more memory than there is "killed"; what was measured before is in the cell.
    """
    began = time.perf_counter()
    measured = _Measured()
    status, error = "done", ""
    try:
        _carry_out(job, observer or Observer(), measured)
        return _cell(job, _cost(began), status, error, measured)
    except (MalformedReplyError, MalformedRecordError) as raised:
        status, error = "malformed", _told(raised)
    except (MemoryError, torch.OutOfMemoryError) as raised:
        status, error = "killed", f"out of memory: {_told(raised)}"
    except KeyboardInterrupt:
        raise
    # SystemExit too: an agent that ends its process has failed as one that raises.
    except BaseException as raised:  # noqa: B036
        status, error = "failed", _told(raised)
    return _cell(job, _cost(began), status, error, measured)


def failed_cell(job: Job, status: str, error: str, seconds: float) -> Cell:
    """Return the cell of a job whose process can no longer say what became of it.

    Args:
        job: it.
        status: "failed" or "killed".
        error: what is known.
        seconds: of the wall clock, until it ended.
    """
    return _cell(job, {"wall_seconds": round(seconds, 1)}, status, error, _Measured())


def _carry_out(job: Job, observer: Observer, measured: _Measured) -> None:
    player = _player(job, observer)
    if player.has_start:
        measured.evaluations |= _evaluate(job, player, START, observer, measured)
    if job.family == "sft":  # nothing has changed: the end is the beginning
        for name in list(measured.evaluations):
            measured.evaluations[name.replace(START, FINAL)] = measured.evaluations[
                name
            ]
        measured.language[FINAL] = measured.language[START]
    else:
        measured.curve = player.learn(job.budget)
        measured.evaluations |= _evaluate(job, player, FINAL, observer, measured)
    trials = _play_trials(job, player)
    if trials is not None:
        measured.evaluations[f"{FINAL}_trials"] = trials


def _player(job: Job, observer: Observer) -> Player:
    players: Mapping[str, Callable[[], Player]] = {
        "algorithm": lambda: AlgorithmPlayer(job, observer),
        "sft": lambda: ModelPlayer(job, observer),
        "script": lambda: ScriptPlayer(job),
        "sb3": lambda: SB3Player(job),
        "own": lambda: OwnPlayer(job),
    }
    return players[job.family]()


def _evaluate(
    job: Job, player: Player, when: str, observer: Observer, measured: _Measured
) -> dict[str, Evaluation]:
    """Return the three evaluations of a model; note its language and its dialogues."""
    plan = job.evaluation
    found: dict[str, Evaluation] = {}
    goals = {
        when: Goals(split="test", number=plan.num_episodes),
        f"{when}_greedy": Goals(
            split="test", number=plan.num_side_episodes, is_greedy=True
        ),
        f"{when}_train": Goals(split="train", number=plan.num_side_episodes),
    }
    if job.family == "script":  # it draws as it draws: there is no likeliest reply
        del goals[f"{when}_greedy"]
    observer.begin(f"evaluation ({when})", len(goals), "evaluations")
    for name, asked in goals.items():
        rollout = player.play(asked)
        observer.advance(len(found) + 1)
        if rollout is None:
            continue
        found[name] = describe_rollout(rollout, asked)
        if name == when:
            measured.language[when] = _language(player, rollout)
            measured.transcripts = choose_transcripts(rollout, job.seed)
    observer.end()
    return found


def _play_trials(job: Job, player: Player) -> Evaluation | None:
    plan = job.evaluation
    if not plan.num_trial_goals or job.family == "script":
        return None
    goals = Goals(split="test", number=plan.num_trial_goals, repeats=plan.num_trials)
    rollout = player.play(goals)
    return None if rollout is None else describe_rollout(rollout, goals)


def describe_rollout(rollout: Rollout, goals: Goals) -> Evaluation:
    """Return the record of an evaluation's episodes."""
    return Evaluation(
        split=goals.split,
        first_seed=0,
        repeats=goals.repeats,
        returns=tuple(rounded(episode.total_reward) for episode in rollout),
        successes=tuple(int(episode.success) for episode in rollout),
        reply_tokens=tuple(rounded(e.reply_lengths.mean()) for e in rollout),
    )


def _language(player: Player, rollout: Rollout) -> LanguageHealth:
    replies = [
        message["content"]
        for episode in rollout
        for message in episode.messages
        if message["role"] == "assistant"
    ]
    return measure_language(
        replies,
        np.concatenate([episode.reply_lengths for episode in rollout]).tolist(),
        np.concatenate([episode.reply_cut for episode in rollout]).tolist(),
        player.mean_log_prob(rollout),
    )


def choose_transcripts(rollout: Rollout, seed: int) -> tuple[Transcript, ...]:
    """Return the best and the worst episode, and some at random: by the seed, not by looking."""
    totals = np.array([episode.total_reward for episode in rollout])
    number = min(_NUM_RANDOM, len(rollout))
    drawn = np.random.default_rng(seed).choice(len(rollout), number, replace=False)
    chosen = [("random", int(i)) for i in drawn]
    if not np.isnan(totals).all():
        chosen += [("best", int(np.nanargmax(totals)))]
        chosen += [("worst", int(np.nanargmin(totals)))]
    return tuple(
        Transcript(kind=kind, record=describe_episode(rollout.episodes[i]))
        for kind, i in chosen
    )


def _cell(
    job: Job,
    cost: Mapping[str, float],
    status: str,
    error: str,
    found: _Measured,
) -> Cell:
    return Cell(
        agent=job.agent,
        env=job.env,
        seed=job.seed,
        kind=job.kind,
        status=status,
        error=shorten_error(error),
        budget={"tokens": job.budget},
        config=job.config(),
        command=job.command,
        anchors=anchors_of(job),
        provenance={**_provenance(job), **cost},
        **{part.name: getattr(found, part.name) for part in dataclasses.fields(found)},
    )


def anchors_of(job: Job) -> Anchors | None:
    """Return the stored anchors; None where a keyword makes another task of the environment."""
    kwargs = {k for k in job.env_kwargs if k not in ("reward", "on_error", "timeout_s")}
    if kwargs - NEUTRAL_KEYWORDS:
        return None
    try:
        return anchors.load(job.env)
    except LookupError:
        return None


def _provenance(job: Job) -> dict[str, Any]:
    found = machinery()
    return {
        "commit": found.pop("git_commit"),
        **found,
        "environment": anchors.version(job.env),
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def _cost(began: float) -> dict[str, float]:
    return {
        "wall_seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time(), 1),
    }


def _told(error: BaseException) -> str:
    """Return an error and where it arose; of a path its end alone, which is of no one machine."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [
        f"  {'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} in {frame.name}"
        for frame in frames
    ]
    words = "".join(traceback.format_exception_only(error)).strip()
    return "\n".join([*places, words])
