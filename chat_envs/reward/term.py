"""One entry of a weighted mixture: its values, what failed of them, and what they pay."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from chat_envs.reward.breaker import CircuitBreaker, ErrorRateLimit
from chat_envs.reward.callable import Result, RewardFunction
from chat_envs.reward.failure import NotCalledError, shown
from chat_envs.reward.isolated import IsolatedFunction
from chat_envs.reward.normalizer import RunningMoments
from chat_envs.reward.option import EntryOptions, time_limit
from chat_envs.reward.request import RewardRequest, groups_of, is_last
from chat_envs.reward.settlement import settle_failure, task_result
from chat_envs.spelling import nearest

__all__ = ["FunctionTerm", "TaskTerm", "Term"]


class Term:
    """What the entries of a mixture share: what they count, and how a value becomes a payment.

    Attributes:
        name: The entry's name, in statistics and states.
        names: The names of its components.
        needs_groups: Whether it must see all replies to one prompt in one call.
    """

    needs_groups = False

    def __init__(self, name: str, names: Sequence[str], options: EntryOptions) -> None:
        self.name = name
        self.names = tuple(names)
        self.policy = options.policy
        self._clip = options.clip
        self._is_end_only = options.when == "end"
        self._breaker = CircuitBreaker(options.breaker_after)
        self._rate_limit = (
            None
            if options.max_error_rate is None
            else ErrorRateLimit(options.max_error_rate)
        )
        self._num_requests = self._num_failures = self._num_refused = 0
        self._seconds = 0.0
        self._weights: tuple[float, ...] = ()
        self._moments: tuple[RunningMoments, ...] = ()
        self._is_plain = False

    def _set_weights(
        self, options: EntryOptions, parts: Sequence[str] | None, scale: float
    ) -> None:
        """Read the weights: one, or one for each part of a vector reward."""
        weight = options.weight
        weights = (
            [weight] * len(parts or "1") if not isinstance(weight, Mapping) else []
        )
        if isinstance(weight, Mapping):
            if parts is None:
                raise ValueError(
                    f"weight of reward {self.name!r} must be one number, for it has no parts"
                )
            for name in weight:
                if name not in parts:
                    raise ValueError(
                        f"reward {self.name!r} has no part {name!r} to weigh."
                        f"{nearest(name, parts)}"
                    )
            weights = [weight.get(part, 0.0) for part in parts]
        self._weights = tuple(scale * weight for weight in weights)
        if options.normalize:
            self._moments = tuple(RunningMoments() for _ in self._weights)
        is_adjusted = options.normalize or options.clip or self._is_end_only
        self._is_plain = parts is None and not is_adjusted

    def add(
        self,
        requests: Sequence[RewardRequest],
        totals: list[float],
        components: list[dict[str, float]],
        validity: list[bool],
    ) -> None:
        """Score the requests, and add what this entry pays to what is there."""
        chosen: Sequence[int] = range(len(requests))
        active = requests
        if self._is_end_only:
            for index, request in enumerate(requests):
                self._record(components[index], request, None)
            chosen = [index for index in chosen if is_last(requests[index])]
            active = [requests[index] for index in chosen]
        if not active:
            return
        results, num_failed = self._count(active)
        if self._is_plain and not num_failed:
            self._add_plain(requests, results, totals, components)
            return
        settled = [
            self._settle(request, result) for request, result in zip(active, results)
        ]
        if self._moments:
            self._learn(results)
        for index, (values, is_valid) in zip(chosen, settled):
            validity[index] &= is_valid
            self._record(components[index], requests[index], values)
            if values is not None:
                totals[index] += self._paid(values)

    def _add_plain(
        self,
        requests: Sequence[RewardRequest],
        results: Sequence[Any],
        totals: list[float],
        components: list[dict[str, float]],
    ) -> None:
        """Add one weighted number a request: the same as above, for the usual case."""
        weight, name = self._weights[0], self.names[0]
        for index, value in enumerate(results):
            components[index][name] = value
            totals[index] += weight * value

    def _count(self, requests: Sequence[RewardRequest]) -> tuple[list[Result], int]:
        """Compute the results, count the failures, and give up where they are too many."""
        start = time.perf_counter()
        results = self._compute(requests)
        self._seconds += time.perf_counter() - start
        failed = [isinstance(result, Exception) for result in results]
        num_failed = sum(failed)
        self._num_requests += len(failed)
        self._num_failures += num_failed
        if self._rate_limit is not None:
            self._rate_limit.note(failed, self.name)
        return results, num_failed

    def _compute(self, requests: Sequence[RewardRequest]) -> list[Result]:
        raise NotImplementedError

    def _record(
        self,
        components: dict[str, float],
        request: RewardRequest,
        values: tuple[float, ...] | None,
    ) -> None:
        """Write the components; `values` is None where they are 0: masked, or not computed."""
        components.update(zip(self.names, values or [0.0] * len(self.names)))

    def _settle(
        self, request: RewardRequest, result: Result
    ) -> tuple[tuple[float, ...] | None, bool]:
        """Return a request's values and whether it is valid, by the failure policy."""
        if isinstance(result, Exception):
            value, is_valid = settle_failure(self.policy, self.name, request, result)
            return ((value,) * len(self._weights) if is_valid else None), is_valid
        return (result if isinstance(result, tuple) else (result,)), True

    def _learn(self, results: Sequence[Result]) -> None:
        """Count the values into the running moments; stand-ins are none."""
        for result in results:
            if not isinstance(result, Exception):
                values = result if isinstance(result, tuple) else (result,)
                for moments, value in zip(self._moments, values):
                    moments.add(value)

    def _paid(self, values: Sequence[float]) -> float:
        """Return what the values add to the total: normalised, clipped, weighted."""
        if self._moments:
            values = [m.normalized(v) for m, v in zip(self._moments, values)]
        if self._clip is not None:
            low, high = self._clip
            values = [min(max(value, low), high) for value in values]
        if len(values) == 1:
            return self._weights[0] * values[0]
        return math.fsum(w * v for w, v in zip(self._weights, values))

    def statistics(self) -> dict[str, float]:
        """Return counts since the start: times are for metrics, and never enter `info`."""
        count = max(1, self._num_requests)
        return {
            "requests": self._num_requests,
            "failures": self._num_failures,
            "refused": self._num_refused,
            "error_rate": self._num_failures / count,
            "mean_seconds": self._seconds / count,
            "worker_kills": 0,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what the entry has learned, as plain JSON."""
        limit = self._rate_limit
        return {
            "moments": [moments.state_dict() for moments in self._moments],
            "breaker": self._breaker.state_dict(),
            "error_rate": None if limit is None else limit.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state.

        Raises:
            ValueError: If it is none of this entry's.
        """
        moments, breaker, rate = (
            state.get(key) for key in ("moments", "breaker", "error_rate")
        )
        if not isinstance(moments, list) or len(moments) != len(self._moments):
            raise ValueError(
                f"its state has not {len(self._moments)} running moments: {shown(moments)}"
            )
        for own, other in zip(self._moments, moments):
            own.load_state_dict(_as_mapping(other))
        self._breaker.load_state_dict(_as_mapping(breaker))
        if self._rate_limit is not None and rate is not None:
            self._rate_limit.load_state_dict(_as_mapping(rate))


class TaskTerm(Term):
    """The task's own reward as an entry; its components are the environment's."""

    def __init__(
        self, options: EntryOptions, task_names: Sequence[str], scale: float = 1.0
    ) -> None:
        super().__init__("task", task_names, options)
        self._set_weights(options, None, scale)

    def _compute(self, requests: Sequence[RewardRequest]) -> list[Result]:
        return [task_result(request) for request in requests]

    def _add_plain(
        self,
        requests: Sequence[RewardRequest],
        results: Sequence[Any],
        totals: list[float],
        components: list[dict[str, float]],
    ) -> None:
        weight, names = self._weights[0], self.names
        for index, value in enumerate(results):
            given, written = requests[index].task_components, components[index]
            for name in names:
                written[name] = float(given.get(name, 0.0))
            totals[index] += weight * value

    def _record(
        self,
        components: dict[str, float],
        request: RewardRequest,
        values: tuple[float, ...] | None,
    ) -> None:
        is_unknown = values is None or isinstance(task_result(request), Exception)
        given = {} if is_unknown else request.task_components
        for name in self.names:
            components[name] = float(given.get(name, 0.0))


class FunctionTerm(Term):
    """A reward function as an entry, called for the whole batch at once."""

    def __init__(
        self,
        function: RewardFunction | IsolatedFunction,
        options: EntryOptions,
        scale: float = 1.0,
    ) -> None:
        name, parts = function.name, function.names
        names = [name] if parts is None else [f"{name}/{part}" for part in parts]
        super().__init__(name, names, options)
        self.needs_groups = function.needs_groups
        self._function = function
        self._timeout_s = time_limit(options)
        self._set_weights(options, parts, scale)

    def statistics(self) -> dict[str, float]:
        """Return counts since the start, those of its processes among them."""
        return super().statistics() | {"worker_kills": self._function.num_kills}

    def _compute(self, requests: Sequence[RewardRequest]) -> list[Result]:
        """Return the results, but leave the function alone where its breaker is open."""
        results: list[Result] = []
        while (done := len(results)) < len(requests):
            rest = len(requests) - done
            refused = self._breaker.refuse(rest)
            if refused:
                # Part of a group is none: then the whole rest waits.
                refused = rest if self.needs_groups else refused
                self._num_refused += refused
                results += [self._breaker.reason] * refused
                continue
            is_trial = self._breaker.is_on_trial and not self.needs_groups
            part = requests[done : done + 1 if is_trial else len(requests)]
            found = _without_unheard(self._attempt(part))
            self._breaker.note([isinstance(result, Exception) for result in found])
            results += found
        return results

    def _attempt(self, requests: Sequence[RewardRequest]) -> list[Result]:
        """Return the results after retries. Only requests that failed are tried again."""
        patience = self._breaker.patience
        results: dict[int, Result] = {}
        pending = list(range(len(requests)))
        for _ in range(self.policy.num_attempts):
            if not pending:
                break
            asked = self._with_groups(requests, pending)
            found = self._function.attempt(
                [requests[i] for i in asked], self._timeout_s, patience=patience
            )
            if asked is pending and not results and _are_sound(found):
                return found
            answers = dict(zip(asked, found))
            results.update({index: answers[index] for index in pending})
            pending = [i for i in pending if isinstance(results[i], Exception)]
        return [results[index] for index in range(len(requests))]

    def _with_groups(
        self, requests: Sequence[RewardRequest], pending: list[int]
    ) -> list[int]:
        """Return which requests to ask for: of a group reward, whole groups."""
        if not self.needs_groups or len(pending) == len(requests):
            return pending
        groups = [group for group in groups_of(requests) if set(group) & set(pending)]
        return sorted(index for group in groups for index in group)


def _without_unheard(results: list[Result]) -> list[Result]:
    """Return the results before those at the end for which nothing was called.

    It was found out within this batch that the function keeps failing: the rest is for the breaker,
    as if it had come in batches of one.
    """
    end = len(results)
    while end > 1 and isinstance(results[end - 1], NotCalledError):
        end -= 1
    return results[:end]


def _are_sound(results: Sequence[Result]) -> bool:
    return not any(isinstance(result, Exception) for result in results)


def _as_mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{shown(value)} is no state")
    return value
