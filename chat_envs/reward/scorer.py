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

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from chat_envs.reward.callable import RewardFunction, construct
from chat_envs.reward.failure import FailurePolicy, RewardError, shown
from chat_envs.reward.isolated import IsolatedFunction, isolate
from chat_envs.reward.option import read_options
from chat_envs.reward.registry import OWN_REWARD_IDS, PROXY, resolve_reward
from chat_envs.reward.request import RewardRequest
from chat_envs.reward.settlement import settle_failure, task_result
from chat_envs.reward.term import FunctionTerm, TaskTerm, Term

__all__ = [
    "RewardOutcome",
    "Scorer",
    "StatefulScorer",
    "TaskScorer",
    "describe",
    "make_scorer",
]

_STATE_VERSION = 1


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


@runtime_checkable
class StatefulScorer(Scorer, Protocol):
    """A scorer that learns: what `make_scorer` makes, for checkpoints and metrics.

    A scorer of somebody else's need not be one.
    """

    def statistics(self) -> dict[str, dict[str, float]]:
        """Return counts since the start by entry; the environment's own reward alone has none."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what was learned of the rewards (normalisation, failures) as plain JSON."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of a scorer with the same entries.

        Raises:
            ValueError: If it is none; the scorer is then unchanged.
        """
        ...


class _Immutable:
    """Scorers hold no episode state: a copy would only duplicate a reward model's weights."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Immutable:
        return self


class TaskScorer(_Immutable):
    """The environment's own reward, as fast as it can be."""

    needs_groups = False

    def __init__(self, policy: FailurePolicy, task_names: Sequence[str]) -> None:
        self.component_names = tuple(task_names)
        self._policy = policy

    def score(self, requests: Sequence[RewardRequest]) -> list[RewardOutcome]:
        """Return one outcome a request, in their order."""
        return [
            self.pay(request.task, request.task_components) or self._fail(request)
            for request in requests
        ]

    def pay(
        self, task: float | None, components: Mapping[str, float]
    ) -> RewardOutcome | None:
        """Return the outcome of a turn without a request; None if only `score` can settle it."""
        if task is None or not math.isfinite(task):
            return None
        paid = {name: float(components.get(name, 0.0)) for name in self.component_names}
        return RewardOutcome(float(task), paid, True)

    def _fail(self, request: RewardRequest) -> RewardOutcome:
        error = task_result(request)
        assert isinstance(error, Exception)
        task, is_valid = settle_failure(self._policy, "task", request, error)
        components = dict.fromkeys(self.component_names, 0.0)
        return RewardOutcome(float(task), components, is_valid)

    def statistics(self) -> dict[str, dict[str, float]]:
        """Return nothing: what the task pays is not counted."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return a state without entries: nothing is learned."""
        return {"version": _STATE_VERSION, "components": {}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raise a `ValueError` unless `state` is such a state."""
        _components_of(state, [])


class _MixtureScorer(_Immutable):
    """A weighted sum of components, each computed for the whole batch at once."""

    def __init__(self, terms: Sequence[Term]) -> None:
        self._terms = tuple(terms)
        names = [name for term in self._terms for name in term.names]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(
                f"two reward components are called {repeated[0]!r}; give one another name with "
                "@reward_function(name=...)"
            )
        self.component_names = tuple(names)
        self.needs_groups = any(term.needs_groups for term in self._terms)

    def score(self, requests: Sequence[RewardRequest]) -> list[RewardOutcome]:
        totals = [0.0] * len(requests)
        validity = [True] * len(requests)
        components: list[dict[str, float]] = [{} for _ in requests]
        for term in self._terms:
            term.add(requests, totals, components, validity)
        for request, total in zip(requests, totals):
            if not math.isfinite(total):
                raise RewardError(
                    f"the weighted sum of rewards is {total} at turn {request.turn}: "
                    "the weights or values are too large"
                )
        return [RewardOutcome(*row) for row in zip(totals, components, validity)]

    def statistics(self) -> dict[str, dict[str, float]]:
        """Return each entry's counts by its name, for metrics."""
        return {term.name: term.statistics() for term in self._terms}

    def state_dict(self) -> dict[str, Any]:
        """Return what was learned of the rewards (normalisation, failures) as plain JSON."""
        states = {term.name: term.state_dict() for term in self._terms}
        return {"version": _STATE_VERSION, "components": states}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of a scorer with the same entries.

        Raises:
            ValueError: If it is none; the scorer is then unchanged.
        """
        states = _components_of(state, [term.name for term in self._terms])
        before = [term.state_dict() for term in self._terms]
        for term in self._terms:
            try:
                term.load_state_dict(states[term.name])
            except ValueError as error:
                for each, old in zip(self._terms, before):
                    each.load_state_dict(old)
                raise ValueError(
                    f"state of reward {term.name!r} cannot be restored: {error}"
                ) from error


def _components_of(state: Any, names: Sequence[str]) -> Mapping[str, Any]:
    """Return the states by component, which must be of `names`."""
    is_mapping = isinstance(state, Mapping)
    version = state.get("version") if is_mapping else None
    states = state.get("components") if is_mapping else None
    if version != _STATE_VERSION or not isinstance(states, Mapping):
        raise ValueError(
            f"{shown(state)} is no state of rewards of version {_STATE_VERSION}"
        )
    if set(states) != set(names):
        raise ValueError(
            f"the state is of the rewards {sorted(map(str, states))}, not of {sorted(names)}"
        )
    for name, entry in states.items():
        if not isinstance(entry, Mapping):
            raise ValueError(f"state of reward {name!r} is no mapping: {shown(entry)}")
    return states


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
            callable; a class; an object with `score(batch)`; a mapping from any of those to a
            weight, or to a mapping of options (see `chat_envs.reward.option.EntryOptions`); or a
            scorer, which is returned as it is.
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
    defaults = {"on_error": on_error, "timeout_s": timeout_s}
    if isinstance(reward, str) and reward.startswith(PROXY):
        reward = _find_proxy(reward, proxies, owner)
    if reward is None or (isinstance(reward, str) and reward in OWN_REWARD_IDS):
        return TaskScorer(policy, task_names)
    if _is_scorer(reward):
        scorer: Scorer = reward
        return scorer
    if not isinstance(reward, Mapping):
        return _MixtureScorer([_make_term(reward, 1.0, defaults, task_names)])
    if not reward:
        raise ValueError(
            "reward={} has no component; use None for the task's own reward"
        )
    terms = [
        term
        for target, value in reward.items()
        for term in _make_terms(target, value, defaults, task_names, proxies, owner)
    ]
    return _MixtureScorer(terms)


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
            str(describe(target)): _as_json(value) for target, value in reward.items()
        }
    if _is_scorer(reward):
        return list(reward.component_names)
    function = reward.function if isinstance(reward, RewardFunction) else reward
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def _as_json(value: Any) -> Any:
    """Return the options of an entry as JSON reads them back."""
    if isinstance(value, Mapping):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


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
    defaults: Mapping[str, Any],
    task_names: Sequence[str],
    proxies: Mapping[str, Any] | None,
    owner: str,
) -> list[Term]:
    """Return the terms for one entry of a mixture: several for a proxy that is a mixture."""
    if not isinstance(target, str) or not target.startswith(PROXY):
        return [_make_term(target, value, defaults, task_names)]
    found = _find_proxy(target, proxies, owner)
    if not isinstance(found, Mapping):
        return [_make_term(found, value, defaults, task_names)]
    given = _as_options(value)
    outer = read_options(target, given, defaults)
    if outer.kwargs is not None or isinstance(outer.weight, Mapping):
        raise ValueError(
            f"reward {target!r} is a mixture: it takes one number as weight, and no kwargs"
        )
    inner = {**defaults, **given}
    inner.pop("weight", None)
    return [
        _make_term(t, v, inner, task_names, scale=outer.weight)
        for t, v in found.items()
    ]


def _make_term(
    target: Any,
    value: Any,
    defaults: Mapping[str, Any],
    task_names: Sequence[str],
    scale: float = 1.0,
) -> Term:
    """Return the mixture's term for one entry: target and weight, or target and options."""
    label = str(describe(target))
    given = _as_options(value)
    if isinstance(target, str) and target in OWN_REWARD_IDS:
        options = read_options(label, given, defaults)
        for option in ("kwargs", "isolation"):
            if option in given:
                raise ValueError(
                    f"reward {label!r} is the environment's own: it takes no {option}"
                )
        return TaskTerm(options, task_names, scale)
    # An id is the name its users know; a plain function keeps its own name.
    alias = target if isinstance(target, str) and ":" not in target else None
    found = resolve_reward(target) if isinstance(target, str) else target
    own = found.policy_options if isinstance(found, RewardFunction) else {}
    options = read_options(label, given, {**defaults, **own})
    function: RewardFunction | IsolatedFunction
    if options.isolation == "process":
        function = isolate(target, options, alias, label)
    else:
        made = construct(found, options.kwargs, label)
        if _is_scorer(made):
            raise TypeError(f"reward {label!r} is a scorer, which stands alone")
        function = RewardFunction.of(made, alias)
    if function.policy_options and not own:  # what was made has options of its own
        made_with = {**function.policy_options, "isolation": options.isolation}
        options = read_options(label, given, {**defaults, **made_with})
    return FunctionTerm(function, options, scale)


def _as_options(value: Any) -> dict[str, Any]:
    """Return an entry's options: a mapping as it is, else the weight."""
    return dict(value) if isinstance(value, Mapping) else {"weight": value}
