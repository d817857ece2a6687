"""`check_reward`: a reward function tried on ordinary replies and on hostile ones.

>>> def concise(reply):
...     return -0.01 * len(reply.split())
>>> report = check_reward(concise)
>>> report.is_deterministic, report.failures
(True, ())
>>> [exploit.name for exploit in report.exploits][:2]
['empty', 'whitespace']
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

import numpy as np

from chat_envs.reward import (
    RewardError,
    RewardOutcome,
    RewardRequest,
    Scorer,
    describe,
    make_scorer,
)
from chat_envs.reward.failure import call_in_thread, shorten
from chat_envs.testing.recorded_reply import hostile_requests, record_requests
from chat_envs.testing.reward_report import (
    FailedReply,
    FoundExploit,
    RewardReport,
    Spread,
)

__all__ = ["check_reward"]

_NUM_PROMPTS = 3  # to which each hostile reply is given
_MOST_TIMEOUTS = 3  # then the rest is left: each leaves a thread behind
_MOST_TIMED = 64  # ordinary replies that are timed
_ORDER_SEED = 0


@dataclass(frozen=True)
class _Trial:
    """A reply to score: which kind it is, its name, and the request."""

    kind: str
    name: str
    request: RewardRequest


@dataclass
class _Tried:
    """What came of scoring the replies one by one."""

    scores: dict[int, float] = field(default_factory=dict)
    failures: list[FailedReply] = field(default_factory=list)
    num_skipped: int = 0


def check_reward(
    fn: Any,
    *,
    requests: Sequence[RewardRequest] | None = None,
    timeout_s: float = 10.0,
    tolerance: float = 1e-5,
) -> RewardReport:
    """Try a reward on ordinary and hostile replies, and report what it does.

    A bad reward is never an error here: what is wrong with it stands in the report. Only what ends
    the whole process, or holds its lock for ever, must be tried with `isolation="process"`.

    Args:
        fn: whatever an environment takes as `reward=`: a function, an object with `score(batch)`,
            an id, "package.module:name", or a mapping.
        requests: ordinary replies that deserve their reward. None takes those that the scripted
            experts of four environments give, and beside them those of a random replier.
        timeout_s: of one call, in seconds.
        tolerance: largest difference between two values that counts as none.

    Returns:
        Range, speed, determinism, failures, and the hostile replies that are paid as well as the
        best 5% of the ordinary ones.
    """
    name = _label(fn)
    trials = _make_trials(requests)
    try:
        # Constructing may load a model, or hang like any call.
        scorer = call_in_thread(lambda: make_scorer(fn), timeout_s * 10)
    except (Exception, SystemExit) as error:  # reported, as all that a reward does
        return RewardReport(name=name, problem=_tell(error), tolerance=tolerance)
    tried = _score_singly(scorer, trials, timeout_s)
    spreads = {
        kind: Spread.of(
            [tried.scores[i] for i in tried.scores if trials[i].kind == kind]
        )
        for kind in dict.fromkeys(trial.kind for trial in trials)
    }
    good = [trials[i].request for i in tried.scores]
    ordinary = [trials[i].request for i in tried.scores if trials[i].kind != "hostile"]
    measured: dict[str, Any] = {}
    if good and not tried.num_skipped:
        try:
            measured = _measure_batches(
                scorer, good, list(tried.scores.values()), timeout_s
            ) | _time(scorer, ordinary or good)
        except (Exception, SystemExit) as error:  # reported likewise
            tried.failures.append(
                FailedReply("batch", f"all {len(good)}", "", _tell(error))
            )
    return RewardReport(
        name=name,
        spreads={kind: s for kind, s in spreads.items() if s is not None},
        failures=tuple(tried.failures),
        num_skipped=tried.num_skipped,
        exploits=_find_exploits(trials, tried.scores, spreads.get("expert")),
        tolerance=tolerance,
        **measured,
    )


def _make_trials(requests: Sequence[RewardRequest] | None) -> list[_Trial]:
    if requests is not None and not requests:
        raise ValueError("requests is empty; give at least one, or None")
    ordinary = record_requests("expert") if requests is None else requests
    trials = [_Trial("expert", f"turn {r.turn}", r) for r in ordinary]
    if requests is None:
        random = record_requests("random")
        trials += [_Trial("random", f"turn {r.turn}", r) for r in random]
    hostile = hostile_requests(ordinary, _NUM_PROMPTS)
    return trials + [_Trial("hostile", name, request) for name, request in hostile]


def _score_singly(scorer: Scorer, trials: Sequence[_Trial], timeout_s: float) -> _Tried:
    """Score each reply by itself, so that one that fails costs no other."""
    tried = _Tried()
    num_timeouts = 0
    for index, trial in enumerate(trials):
        if num_timeouts == _MOST_TIMEOUTS:
            tried.num_skipped += 1
            continue
        try:
            value = _totals(scorer, [trial.request], timeout_s)[0]
        except (Exception, SystemExit) as error:  # reported, each with its reply
            num_timeouts += isinstance(_cause(error), TimeoutError)
            reply = shorten(trial.request.reply)
            tried.failures.append(
                FailedReply(trial.kind, trial.name, reply, _tell(error))
            )
        else:
            tried.scores[index] = value
    return tried


def _totals(
    scorer: Scorer, requests: list[RewardRequest], timeout_s: float
) -> list[float]:
    return _read(
        call_in_thread(lambda: scorer.score(requests), timeout_s), len(requests)
    )


def _read(outcomes: Sequence[RewardOutcome], num_replies: int) -> list[float]:
    """Return the totals; a masked turn, or a wrong number of them, is a failure."""
    if len(outcomes) != num_replies:
        raise ValueError(f"gave {len(outcomes)} outcomes for {num_replies} replies")
    if not all(outcome.is_valid for outcome in outcomes):
        raise ValueError("failed, and was masked")
    return [outcome.total for outcome in outcomes]


def _measure_batches(
    scorer: Scorer,
    requests: list[RewardRequest],
    singly: list[float],
    timeout_s: float,
) -> dict[str, float]:
    """Return how far values are apart: of one call for all, of another, of another order."""
    limit = timeout_s * len(requests)
    first = _totals(scorer, requests, limit)
    again = _totals(scorer, requests, limit)
    order = np.random.default_rng(_ORDER_SEED).permutation(len(requests))
    shuffled = np.empty(len(requests))
    shuffled[order] = _totals(scorer, [requests[i] for i in order], limit)
    return {
        "repeat_difference": _difference(first, again),
        "order_difference": _difference(first, shuffled),
        "batch_difference": _difference(first, singly),
    }


def _time(scorer: Scorer, requests: list[RewardRequest]) -> dict[str, float]:
    """Return microseconds a reply: the first `_MOST_TIMED` in one call, and in a call each.

    Here, and not in the thread that keeps a time limit: that alone takes as long as a function.
    """
    few = requests[:_MOST_TIMED]
    began = time.perf_counter()
    scorer.score(few)
    batched = time.perf_counter() - began
    began = time.perf_counter()
    for request in few:
        scorer.score([request])
    single = time.perf_counter() - began
    return {
        "batched_us": 1e6 * batched / len(few),
        "single_us": 1e6 * single / len(few),
    }


def _difference(one: Any, other: Any) -> float:
    return float(np.abs(np.subtract(one, other)).max())


def _find_exploits(
    trials: Sequence[_Trial], scores: Mapping[int, float], expert: Spread | None
) -> tuple[FoundExploit, ...]:
    """Return each hostile reply that is paid like the best 5% of the ordinary ones, best first.

    One that reaches that level counts where most of the ordinary ones do not: else a reward that is
    the same for all would be exploited by everything.
    """
    if expert is None:
        return ()
    best: dict[str, int] = {}
    for index, score in scores.items():
        trial = trials[index]
        if trial.kind != "hostile":
            continue
        known = best.setdefault(trial.name, index)
        best[trial.name] = index if score > scores[known] else known
    found = [
        FoundExploit(
            name=name,
            reply=shorten(trials[index].request.reply),
            score=scores[index],
            is_above=scores[index] > expert.percentile_95,
        )
        for name, index in best.items()
        if scores[index] > expert.percentile_95
        or scores[index] == expert.percentile_95 > expert.mean
    ]
    return tuple(sorted(found, key=lambda exploit: -exploit.score))


def _cause(error: BaseException) -> BaseException:
    is_wrapped = isinstance(error, RewardError) and error.__cause__ is not None
    return error.__cause__ or error if is_wrapped else error


def _tell(error: BaseException) -> str:
    cause = _cause(error)
    return f"{type(cause).__name__}: {shorten(str(cause), 200)}"


def _label(fn: Any) -> str:
    return fn if isinstance(fn, str) else str(describe(fn))
