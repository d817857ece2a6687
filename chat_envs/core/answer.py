"""What an author's `_respond` returned, checked: a class keeps to the names that it declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chat_envs.message import Turn

__all__ = ["as_turn", "task_components"]


def as_turn(answer: Any, owner: str, metric_names: frozenset[str]) -> Turn:
    """Return `answer` if it is a turn with no other metrics than those declared.

    Args:
        answer: what `_respond` returned.
        owner: name of the class, for the error.
        metric_names: those that the class declares.

    Raises:
        TypeError: if it is no turn.
        ValueError: if it has an undeclared metric.
    """
    if not isinstance(answer, Turn):
        raise TypeError(f"{owner}._respond returned {answer!r}, expected a Turn.")
    if not answer.metrics.keys() <= metric_names:
        raise ValueError(
            f"{owner} gave metrics {sorted(answer.metrics)}; metric_names declares "
            f"{sorted(metric_names)}."
        )
    return answer


def task_components(
    reward: float | Mapping[str, float] | None, owner: str, names: tuple[str, ...]
) -> dict[str, float] | None:
    """Return the task's own reward by component, None where it is left to the plugged reward.

    Args:
        reward: of a turn.
        owner: name of the class, for the error.
        names: the components that the class declares; those left out are 0.

    Raises:
        ValueError: if the reward has an undeclared component, or one number is given for several.
    """
    if reward is None:
        return None
    if isinstance(reward, Mapping):
        if not reward.keys() <= set(names):
            raise ValueError(
                f"{owner} gave reward components {sorted(reward)}; component_names declares "
                f"{list(names)}."
            )
        return {name: float(reward.get(name, 0.0)) for name in names}
    if len(names) != 1:
        raise ValueError(
            f"{owner} gave one float for the reward components {list(names)}; give a mapping."
        )
    return {names[0]: float(reward)}
