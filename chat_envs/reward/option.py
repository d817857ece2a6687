"""The options of a reward's entry in a mapping: read once, checked, and plain JSON."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chat_envs.reward.failure import FailurePolicy, as_reward, shown
from chat_envs.spelling import nearest

__all__ = ["EntryOptions", "ISOLATION", "OPTIONS", "WHEN", "read_options", "time_limit"]

ISOLATION = ("inline", "process")
"""Where a function runs: in this process, or in one of its own."""

WHEN = ("turn", "end")
"""When a function is called: after every turn, or after an episode's last one."""

_POLICY = ("on_error", "timeout_s", "retries")
_PROCESS = ("memory_mb", "cpu_s", "max_processes", "workers")
OPTIONS = (
    "weight",
    *_POLICY,
    "kwargs",
    "isolation",
    "clip",
    "normalize",
    "when",
    "breaker_after",
    "max_error_rate",
    *_PROCESS,
)
"""What an entry may say of its reward."""

_PROCESS_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class EntryOptions:
    """How one entry of a reward mapping is computed and paid.

    Attributes:
        policy: What a failure does.
        weight: What the value is multiplied by in the total; of a vector reward, of all its parts
            or of each by name.
        kwargs: What the target is called with once, to make the reward; None for no call.
        isolation: Where it runs, one of `ISOLATION`.
        clip: The least and the greatest value that the total counts.
        normalize: Whether the total counts standard deviations from the running mean.
        when: When it is computed, one of `WHEN`.
        breaker_after: Failed requests in a row after which it is left alone for a while.
        max_error_rate: The share of failed requests above which a run is given up.
        memory_mb, cpu_s, max_processes, workers: The limits and the number of its processes.
    """

    policy: FailurePolicy = FailurePolicy()
    weight: float | Mapping[str, float] = 1.0
    kwargs: Mapping[str, Any] | None = None
    isolation: str = "inline"
    clip: tuple[float, float] | None = None
    normalize: bool = False
    when: str = "turn"
    breaker_after: int | None = 50
    max_error_rate: float | None = None
    memory_mb: int | None = 4096
    cpu_s: int | None = None
    max_processes: int = 32
    workers: int = 1


def read_options(
    label: str, given: Mapping[str, Any], inherited: Mapping[str, Any]
) -> EntryOptions:
    """Return the options of the entry `label`, checked.

    Args:
        label: The entry's target, for errors.
        given: What the entry says.
        inherited: What holds where it says nothing: the author's options, the environment's.

    Raises:
        ValueError: If an option is unknown, or is not what it must be.
    """
    for option in given:
        if option not in OPTIONS:
            raise ValueError(
                f"reward option {option!r} of {label!r} is unknown."
                f"{nearest(str(option), OPTIONS)}"
            )
    options = {**inherited, **given}
    weight = _weight(options.get("weight", 1.0), label)
    try:
        read = EntryOptions(
            policy=FailurePolicy(**{k: options[k] for k in _POLICY if k in options}),
            weight=weight,
            kwargs=_kwargs(options.get("kwargs")),
            isolation=_choice(options, "isolation", ISOLATION),
            clip=_clip(options.get("clip")),
            normalize=_flag(options, "normalize"),
            when=_choice(options, "when", WHEN),
            breaker_after=_count(options, "breaker_after", 50, is_optional=True),
            max_error_rate=_rate(options.get("max_error_rate")),
            memory_mb=_count(options, "memory_mb", 4096, is_optional=True),
            cpu_s=_count(options, "cpu_s", None, is_optional=True),
            max_processes=_count(options, "max_processes", 32) or 0,
            workers=_count(options, "workers", 1) or 0,
        )
    except ValueError as error:
        raise ValueError(f"reward {label!r}: {error}") from error
    if read.isolation == "inline":
        for option in _PROCESS:
            if option in given:
                raise ValueError(
                    f"reward {label!r}: {option} limits a process of its own; it needs "
                    "isolation='process'"
                )
    return read


def time_limit(options: EntryOptions) -> float | None:
    """Return the time limit of a call: a process of its own always has one."""
    if options.policy.timeout_s is None and options.isolation == "process":
        return _PROCESS_TIMEOUT_S
    return options.policy.timeout_s


def _weight(value: Any, label: str) -> float | dict[str, float]:
    parts = value if isinstance(value, Mapping) else {"": value}
    weights = {str(name): as_reward(part) for name, part in parts.items()}
    if not weights or any(isinstance(weight, Exception) for weight in weights.values()):
        raise ValueError(
            f"weight of reward {label!r} must be a finite number, or those of a vector reward's "
            f"parts by name, not {shown(value)}"
        )
    read = {name: float(weight) for name, weight in weights.items()}  # type: ignore[arg-type]
    return read if isinstance(value, Mapping) else read[""]


def _kwargs(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        is_mapping = isinstance(value, Mapping) and all(
            isinstance(key, str) for key in value
        )
        text = json.dumps(dict(value), allow_nan=False) if is_mapping else ""
    except (TypeError, ValueError) as error:
        raise ValueError(f"kwargs must be JSON: {error}") from error
    if not text:
        raise ValueError(
            f"kwargs must be a mapping from names to JSON, not {shown(value)}"
        )
    return dict(json.loads(text))


def _choice(options: Mapping[str, Any], option: str, choices: tuple[str, ...]) -> str:
    value = options.get(option, choices[0])
    if value not in choices:
        raise ValueError(f"{option} must be one of {choices}, not {shown(value)}")
    return str(value)


def _flag(options: Mapping[str, Any], option: str) -> bool:
    value = options.get(option, False)
    if not isinstance(value, bool):
        raise ValueError(f"{option} must be true or false, not {shown(value)}")
    return value


def _clip(value: Any) -> tuple[float, float] | None:
    if value is None:
        return None
    if isinstance(value, (list, tuple)) and len(value) == 2:
        low, high = map(as_reward, value)
        if isinstance(low, float) and isinstance(high, float) and low <= high:
            return low, high
    raise ValueError(
        f"clip must be [low, high], two finite numbers in order, not {shown(value)}"
    )


def _rate(value: Any) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1 or math.isnan(value):
        raise ValueError(f"max_error_rate must be in [0, 1], not {shown(value)}")
    return float(value)


def _count(
    options: Mapping[str, Any],
    option: str,
    default: int | None,
    is_optional: bool = False,
) -> int | None:
    value = options.get(option, default)
    if value is None and is_optional:
        return None
    is_count = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_count or value < 1:
        raise ValueError(
            f"{option} must be an integer of at least 1{' or null' * is_optional}, not "
            f"{shown(value)}"
        )
    return int(value)
