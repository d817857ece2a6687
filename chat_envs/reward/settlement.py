"""What stands in for a reward that failed, and what the task itself paid."""

from __future__ import annotations

import logging
import math

from chat_envs.reward.failure import (
    FailurePolicy,
    NotCalledError,
    RewardError,
    error_kind,
    error_text,
    shorten,
    shortened,
)
from chat_envs.reward.request import RewardRequest

__all__ = ["settle_failure", "task_result"]

_LOGGER = logging.getLogger(__name__)


def task_result(request: RewardRequest) -> float | ValueError:
    """Return the task's own reward, or why it has none."""
    if request.task is None:
        return ValueError(
            "the environment gave no reward for this turn and leaves it to a reward function: "
            "pass reward=..., or return a reward from _respond"
        )
    if not math.isfinite(request.task):
        return ValueError(f"the environment's own reward is {request.task}")
    return float(request.task)


def settle_failure(
    policy: FailurePolicy, name: str, request: RewardRequest, error: Exception
) -> tuple[float, bool]:
    """Return the stand-in for a failed reward and its validity.

    Raises:
        RewardError: If that is the policy.
    """
    attempts = (
        f" after {policy.num_attempts} attempts" if policy.num_attempts > 1 else ""
    )
    message = (
        f"reward {name!r} failed{attempts} at turn {request.turn}, for the reply "
        f"{shorten(request.reply)!r}: {error_kind(error)}: {error_text(error)}"
    )
    if policy.on_error in ("raise", "retry"):
        raise RewardError(message) from shortened(error)
    # What was not called has been warned of when it failed.
    level = logging.DEBUG if isinstance(error, NotCalledError) else logging.WARNING
    _LOGGER.log(level, message)
    if policy.fallback is not None:
        return policy.fallback, True
    return 0.0, False
