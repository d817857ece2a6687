"""Shaping that keeps the optimum: what a turn adds to a potential of the dialogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chat_envs.message import Message
from chat_envs.reward.failure import as_reward, shown
from chat_envs.reward.registry import resolve_reward

__all__ = ["PotentialShaping"]


class PotentialShaping:
    """Pays `discount * potential(after) - potential(before)` for every turn.

    Such a reward, added to another, leaves the best policy the best (Ng, Harada and Russell 1999,
    "Policy invariance under reward transformations"): over an episode it sums to a constant, minus
    the potential of the opening. To that end the potential after a turn that ends the task is 0;
    where an episode is only cut, it stays.

    Args:
        potential: A function of a dialogue's messages, or `"package.module:name"` of one.
        discount: The discount of the algorithm, in [0, 1]; with another one the optimum may move.

    >>> from chat_envs.message import assistant, user
    >>> shaping = PotentialShaping(len)
    >>> before = (user("Hi"),)
    >>> shaping(before, (*before, assistant("Yes?"), user("Bye")), terminated=False)
    2.0
    """

    name = "potential_shaping"

    def __init__(
        self,
        potential: Callable[[Sequence[Message]], Any] | str,
        discount: float = 1.0,
    ) -> None:
        found: Any = potential
        if isinstance(potential, str):
            found = resolve_reward(potential)
        if not callable(found) or isinstance(found, type):
            raise TypeError(
                f"potential must be a function of messages, not {shown(potential)}"
            )
        number = as_reward(discount)
        if isinstance(number, Exception) or not 0.0 <= number <= 1.0:
            raise ValueError(f"discount must be in [0, 1], not {shown(discount)}")
        self._potential = found
        self._discount = number

    def __call__(
        self,
        prompt: tuple[Message, ...],
        messages: tuple[Message, ...],
        terminated: bool,
    ) -> float:
        """Return what a turn adds to the potential."""
        before = self._value(prompt)
        after = 0.0 if terminated else self._value(messages)
        return self._discount * after - before

    def _value(self, messages: tuple[Message, ...]) -> float:
        value = as_reward(self._potential(messages))
        if isinstance(value, Exception):
            raise type(value)(f"its potential {value}")
        return value
