"""Results that nobody trained: cells with known truths, for the tests of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cell import Cell, Curve, Evaluation, Transcript
from benchmarks.language_health import LanguageHealth
from benchmarks.result_folder import write_cell
from chat_envs import anchors
from chat_envs.anchors import Anchors, SplitAnchors

OWN = Anchors("v1", SplitAnchors(2.0, 1.0, 0.5), SplitAnchors(2.0, 1.0, 0.5))
"""Of an id that is not registered; a score x is the return 1 + x."""


def evaluation(
    returns: Sequence[float | None], *, split: str = "test", first_seed: int = 0
) -> Evaluation:
    """Return an evaluation; a return of 1.5 or more is a success."""
    return Evaluation(
        split=split,
        first_seed=first_seed,
        returns=tuple(returns),
        successes=tuple(int(r is not None and r >= 1.5) for r in returns),
    )


def cell(
    agent: str = "ppo",
    env: str = "own/Task-v0",
    seed: int = 0,
    score: float = 0.5,
    **fields: Any,
) -> Cell:
    """Return a cell whose final score is exactly `score`; `start` is that of its start."""
    start = fields.pop("start", 0.0)
    status = fields.pop("status", "done")
    evaluations = fields.pop("evaluations", None)
    if evaluations is None:
        evaluations = {"start": evaluation([1.0 + start] * 2)}
        if status == "done":
            evaluations["final"] = evaluation([1.0 + score] * 2)
    usual: dict[str, Any] = {
        "anchors": OWN,
        "budget": {"tokens": 1000},
        "command": f"chat-envs bench --only {agent} {env} {seed}",
        "provenance": {"commit": "abc", "machine": "m", "versions": {}},
    }
    return Cell(
        agent=agent,
        env=env,
        seed=seed,
        status=status,
        evaluations=evaluations,
        **usual | fields,
    )


def transcript(
    kind: str, seed: int = 0, value: float = 0.5, **fields: Any
) -> Transcript:
    """Return a dialogue of two replies."""
    record = {
        "seed": seed,
        "return": value,
        "success": value > 0,
        "termination_reason": "done",
        "rewards": [0.0, value],
        "components": {"task": [0.0, value], "courtesy": [0.125, 0.0]},
        "messages": [
            {"role": "user", "content": "My lamp is broken."},
            {"role": "assistant", "content": "May I have the order number?"},
            {"role": "user", "content": "42"},
            {"role": "assistant", "content": "It is refunded."},
        ],
    }
    return Transcript(kind=kind, record=record | fields)


def write_grid(
    folder: Path,
    agents: Sequence[str],
    envs: Sequence[str],
    num_seeds: int,
    num_episodes: int = 20,
) -> None:
    """Write done cells with everything that a cell can hold, of any ids."""
    for a, agent in enumerate(agents):
        for e, env in enumerate(envs):
            for seed in range(num_seeds):
                rng = np.random.default_rng([a, e, seed])
                write_cell(folder, _full_cell(agent, env, seed, a, rng, num_episodes))


_LANGUAGE = {
    "start": LanguageHealth(distinct_1=0.4, reply_length=7.0),
    "final": LanguageHealth(distinct_1=0.3, reply_length=6.0, perplexity=3.5),
}
CHOSEN = {"random": 0.25, "best": 1.0, "worst": -1.0}


def _full_cell(
    agent: str, env: str, seed: int, a: int, rng: np.random.Generator, number: int
) -> Cell:
    try:
        own = anchors.load(env)
    except (LookupError, ValueError):
        own = OWN
    level = np.clip(0.4 + 0.05 * a + rng.normal(0.0, 0.1), -0.2, 1.1)

    def played(score: float, split: str) -> Evaluation:
        on = own.on(split)
        scores = score + rng.normal(0.0, 0.2, number)
        returns = on.blind + (on.expert - on.blind) * scores
        return Evaluation(
            split=split,
            first_seed=0,
            returns=tuple(returns.tolist()),
            successes=tuple((scores > 0.5).astype(int).tolist()),
            reply_tokens=tuple(rng.uniform(3.0, 9.0, number).round(2).tolist()),
        )

    share, on = np.linspace(0.05, 1.0, 20), own.train
    climbing = on.blind + (on.expert - on.blind) * (0.2 + (level - 0.2) * share)
    return Cell(
        agent=agent,
        env=env,
        seed=seed,
        status="done",
        budget={"tokens": 100_000},
        config={"agent": agent, "seed": seed},
        command=f"chat-envs bench --agents {agent} --envs {env} --seeds {seed}",
        anchors=own,
        curve=Curve(
            split="train",
            turns=tuple((share * 10_000).tolist()),
            tokens=tuple((share * 100_000).tolist()),
            seconds=tuple((share * 60 * (1 + a)).tolist()),
            mean_return=tuple(climbing.tolist()),
            kl=tuple((share**2).tolist()),
            gold=tuple((share * (1.0 - share)).tolist()),
            proxy=tuple(share.tolist()),
        ),
        evaluations={
            "start": played(0.2, "test"),
            "start_train": played(0.2, "train"),
            "final": played(level, "test"),
            "final_greedy": played(level + 0.05, "test"),
            "final_train": played(level + 0.1, "train"),
            "final_trials": replace(played(level, "test"), repeats=2),
        },
        language=_LANGUAGE,
        transcripts=tuple(
            transcript(kind, place, score)
            for place, (kind, score) in enumerate(CHOSEN.items())
        ),
        provenance={"commit": "abc", "machine": "m", "versions": {"numpy": "2"}},
    )
