"""Rewards: one function, or a weighted mixture, scores every reply of a batch in one call.

`reward=None`, `"gold"` or `"task"` is the environment's own reward, `"proxy:NAME"` one of the
environment's proxies. Anything else is a function that names what it wants to see, an id,
`"package.module:name"`, an object with `score(batch)`, or a weighted mapping of those:

>>> from chat_envs.reward import reward_function
>>> @reward_function
... def concise(reply: str) -> float:
...     return -len(reply) / 100
>>> scorer = make_scorer({"task": 1.0, concise: 0.5})
>>> scorer.component_names
('task', 'concise')

The values in `RewardOutcome.components` are unweighted; the total is the weighted sum. A weight of
0 records a component without optimising it.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Mapping, Protocol, Sequence, runtime_checkable

from chat_envs.reward.callable import RewardFunction, RewardRequest
from chat_envs.reward.failure import FailurePolicy, RewardError, as_reward, shorten
from chat_envs.reward.registry import OWN_REWARD_IDS, PROXY, resolve_reward
from chat_envs.spelling import nearest

__all__ = ["RewardOutcome", "Scorer", "describe", "make_scorer"]

_LOGGER = logging.getLogger(__name__)
_OPTIONS = ("weight", "on_error", "timeout_s", "retries")


@dataclass(frozen=True, slots=True)
class RewardOutcome:
    """The reward of one reply.

    Attributes:
        total: The reward: the weighted sum of the components that are valid.
        components: Unweighted value of every component, always under the same names.
        is_valid: False where a failed component was masked: leave the turn out of the loss.
    """

    total: float
    components: dict[str, float]
    is_valid: bool


@runtime_checkable
class Scorer(Protocol):
    """What an environment needs of a reward: names once, outcomes for a batch of replies."""

    @property
    def component_names(self) -> tuple[str, ...]:
        """Return the names of all components, the same for every outcome."""
        ...

    def score(self, requests: Sequence[RewardRequest]) -> list[RewardOutcome]:
        """Return one outcome a request, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class _Term:
    """One entry of a weighted mixture; `function` None stands for the task's own reward."""

    function: RewardFunction | None
    weight: float
    policy: FailurePolicy


class _Immutable:
    """Scorers hold no episode state: a copy would only duplicate a reward model's weights."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Immutable:
        return self


class _TaskScorer(_Immutable):
    """The environment's own reward, as fast as it can be."""

    def __init__(self, policy: FailurePolicy, task_names: Sequence[str]) -> None:
        self.component_names = tuple(task_names)
        self._policy = policy

    def score(self, requests: Sequence[RewardRequest]) -> list[RewardOutcome]:
        outcomes = []
        names = self.component_names
        for request in requests:
            task, is_valid = request.task, True
            if task is None or not math.isfinite(task):
                task, is_valid = _settle_task(request, self._policy)
                components = dict.fromkeys(names, 0.0)
            else:
                given = request.task_components
                components = {name: float(given.get(name, 0.0)) for name in names}
            outcomes.append(RewardOutcome(float(task), components, is_valid))
        return outcomes


class _MixtureScorer(_Immutable):
    """A weighted sum of components, each computed for the whole batch at once."""

    def __init__(self, terms: Sequence[_Term], task_names: Sequence[str]) -> None:
        self._terms = tuple(terms)
        self._task_names = tuple(task_names)
        names: list[str] = []
        for term in self._terms:
            names += self._task_names if term.function is None else [term.function.name]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(
                f"two reward components are called {repeated[0]!r}; give one another name with "
                "@reward_function(name=...)"
            )
        self.component_names = tuple(names)

    def score(self, requests: Sequence[RewardRequest]) -> list[RewardOutcome]:
        totals = [0.0] * len(requests)
        validity = [True] * len(requests)
        components: list[dict[str, float]] = [{} for _ in requests]
        for term in self._terms:
            if term.function is None:
                values = [_settle_task(r, term.policy) for r in requests]
            else:
                values = _settle_function(term.function, term.policy, requests)
            for index, (value, is_valid) in enumerate(values):
                totals[index] += term.weight * value
                validity[index] &= is_valid
                if term.function is not None:
                    components[index][term.function.name] = value
                    continue
                given = requests[index].task_components if is_valid else {}
                for name in self._task_names:
                    components[index][name] = float(given.get(name, 0.0))
        for request, total in zip(requests, totals):
            if not math.isfinite(total):
                raise RewardError(
                    f"the weighted sum of rewards is {total} at turn {request.turn}: "
                    "the weights or values are too large"
                )
        return [RewardOutcome(*row) for row in zip(totals, components, validity)]


def make_scorer(
    reward: Any = None,
    *,
    on_error: str | float = "raise",
    timeout_s: float | None = None,
    task_names: Sequence[str] = ("task",),
    proxies: Mapping[str, Any] | None = None,
    owner: str = "the environment",
) -> Scorer:
    """Return the scorer that `reward` describes.

    Args:
        reward: None, `"gold"` or `"task"`; `"proxy:NAME"`; an id; `"package.module:name"`; a
            callable; an object with `score(batch)`; a mapping from any of those to a weight, or
            to a mapping of `weight`, `on_error`, `timeout_s` and `retries`; or a scorer, which
            is returned as it is.
        on_error: Failure policy of functions that do not set their own (see `FailurePolicy`).
        timeout_s: Time limit in seconds, likewise.
        task_names: Names of the task's own components, which `"gold"` and `"task"` expand to.
        proxies: The environment's proxies: name to anything that `reward` may be.
        owner: Name of the environment, for errors.

    Raises:
        ValueError: If a name or an option is unknown, or a weight is not finite.
        TypeError: If `reward` is none of the above.
    """
    policy = FailurePolicy(on_error, timeout_s)
    if isinstance(reward, str) and reward.startswith(PROXY):
        reward = _find_proxy(reward, proxies, owner)
    if reward is None or (isinstance(reward, str) and reward in OWN_REWARD_IDS):
        return _TaskScorer(policy, task_names)
    if _is_scorer(reward):
        scorer: Scorer = reward
        return scorer
    if not isinstance(reward, Mapping):
        return _MixtureScorer([_make_term(reward, 1.0, policy)], task_names)
    if not reward:
        raise ValueError(
            "reward={} has no component; use None for the task's own reward"
        )
    terms = [
        term
        for target, value in reward.items()
        for term in _make_terms(target, value, policy, proxies, owner)
    ]
    return _MixtureScorer(terms, task_names)


def describe(reward: Any) -> Any:
    """Return `reward` in JSON-able form, for run records and command lines.

    >>> describe({"task": 1, "mypkg.rewards:concise": {"weight": 0.1, "on_error": "mask"}})
    {'task': 1, 'mypkg.rewards:concise': {'weight': 0.1, 'on_error': 'mask'}}
    """
    if reward is None:
        return "task"
    if isinstance(reward, str):
        return reward
    if isinstance(reward, Mapping):
        return {
            str(describe(target)): dict(value) if isinstance(value, Mapping) else value
            for target, value in reward.items()
        }
    if _is_scorer(reward):
        return list(reward.component_names)
    function = reward.function if isinstance(reward, RewardFunction) else reward
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def _is_scorer(reward: Any) -> bool:
    return not isinstance(reward, type) and isinstance(reward, Scorer)


def _find_proxy(reward: str, proxies: Mapping[str, Any] | None, owner: str) -> Any:
    """Return what `"proxy:NAME"` stands for."""
    name = reward.removeprefix(PROXY)
    known = {} if proxies is None else proxies
    if not known:
        raise ValueError(
            f"reward {reward!r}: {owner} declares no proxies; name a function as "
            "'package.module:name'."
        )
    if name not in known:
        raise ValueError(
            f"reward {reward!r}: {owner} has no proxy {name!r}, only {sorted(known)}."
        )
    return known[name]


def _make_terms(
    target: Any,
    value: Any,
    default: FailurePolicy,
    proxies: Mapping[str, Any] | None,
    owner: str,
) -> list[_Term]:
    """Return the terms for one entry of a mixture: several for a proxy that is a mixture."""
    if not isinstance(target, str) or not target.startswith(PROXY):
        return [_make_term(target, value, default)]
    found = _find_proxy(target, proxies, owner)
    if not isinstance(found, Mapping):
        return [_make_term(found, value, default)]
    weight, policy = _read_options(target, value, default, {})
    inner = [_make_term(t, v, policy) for t, v in found.items()]
    return [replace(term, weight=weight * term.weight) for term in inner]


def _make_term(target: Any, value: Any, default: FailurePolicy) -> _Term:
    """Return the mixture's term for one entry: target and weight, or target and options."""
    if isinstance(target, str) and target in OWN_REWARD_IDS:
        return _Term(None, *_read_options(target, value, default, {}))
    found = resolve_reward(target) if isinstance(target, str) else target
    # An id is the name its users know; a plain function keeps its own name.
    alias = target if isinstance(target, str) and ":" not in target else None
    function = RewardFunction.of(found, alias)
    return _Term(
        function, *_read_options(target, value, default, function.policy_options)
    )


def _read_options(
    target: Any, value: Any, default: FailurePolicy, own: Mapping[str, Any]
) -> tuple[float, FailurePolicy]:
    """Return weight and policy of an entry: its options over the function's over the default."""
    options = dict(value) if isinstance(value, Mapping) else {"weight": value}
    for option in options:
        if option not in _OPTIONS:
            raise ValueError(
                f"reward option {option!r} of {describe(target)!r} is unknown."
                f"{nearest(str(option), _OPTIONS)}"
            )
    weight = as_reward(options.pop("weight", 1.0))
    if isinstance(weight, Exception):
        raise ValueError(
            f"weight of reward {describe(target)!r} must be a finite number, not {value!r}"
        )
    return weight, FailurePolicy(**(asdict(default) | dict(own) | options))


def _settle_task(request: RewardRequest, policy: FailurePolicy) -> tuple[float, bool]:
    """Return the task's own reward and whether it is valid."""
    if request.task is not None and math.isfinite(request.task):
        return float(request.task), True
    if request.task is None:
        error: Exception = ValueError(
            "the environment gave no reward for this turn and leaves it to a reward function: "
            "pass reward=..., or return a reward from _respond"
        )
    else:
        error = ValueError(f"the environment's own reward is {request.task}")
    return _apply(policy, "task", request, error)


def _settle_function(
    function: RewardFunction, policy: FailurePolicy, requests: Sequence[RewardRequest]
) -> list[tuple[float, bool]]:
    """Return value and validity of every request, after retries and the failure policy.

    Only requests that failed are tried again.
    """
    results: dict[int, float | Exception] = {}
    pending = list(range(len(requests)))
    for _ in range(policy.num_attempts):
        if not pending:
            break
        found = function.attempt([requests[i] for i in pending], policy.timeout_s)
        results.update(zip(pending, found))
        pending = [i for i in pending if isinstance(results[i], Exception)]
    settled = []
    for index, request in enumerate(requests):
        result = results[index]
        if isinstance(result, Exception):
            settled.append(_apply(policy, function.name, request, result))
        else:
            settled.append((result, True))
    return settled


def _apply(
    policy: FailurePolicy, name: str, request: RewardRequest, error: Exception
) -> tuple[float, bool]:
    """Return the stand-in for a failed reward and its validity, or raise."""
    attempts = (
        f" after {policy.num_attempts} attempts" if policy.num_attempts > 1 else ""
    )
    message = (
        f"reward {name!r} failed{attempts} at turn {request.turn}, for the reply "
        f"{shorten(request.reply)!r}: {type(error).__name__}: {error}"
    )
    if policy.on_error in ("raise", "retry"):
        raise RewardError(message) from error
    _LOGGER.warning(message)
    if policy.fallback is not None:
        return policy.fallback, True
    return 0.0, False
