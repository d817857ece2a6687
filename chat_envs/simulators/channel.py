"""An error channel between what a user means and what is heard.

The error model of TC-Bot (Li et al. 2016, arXiv:1612.05688, section 3.3): each act may lose or
change its slot (a slot error) or its meaning (an intent error). The user does not notice.
"""

from __future__ import annotations

from typing import Mapping, Sequence

from chat_envs.simulators.agenda import Act
from chat_envs.simulators.stream import Uniform

__all__ = ["ErrorChannel"]


class ErrorChannel:
    """Corrupts acts at random. It keeps no state, so one channel serves many episodes.

    Args:
        values: slot -> at least two values that may be heard in its place.
        slot_error: probability that a slot of `values` is corrupted: value swapped, slot and
            value swapped, or the act dropped, each with a third of it.
        intent_error: probability that an act's meaning changes: `affirm` becomes `negate`, and a
            value of `intent_slot` becomes another one.
        intent_slot: the slot whose value is the user's intent.

    >>> from chat_envs.simulators.stream import Stream
    >>> channel = ErrorChannel({"code": ("7", "8")}, slot_error=0.3)
    >>> act = Act("inform", "code", "7")
    >>> channel.transmit([act], Stream([0.3, 0.5]))
    [Act(kind='inform', slot='code', value='7')]
    >>> channel.transmit([act], Stream([0.0, 0.0, 0.5]))
    [Act(kind='inform', slot='code', value='8')]
    """

    def __init__(
        self,
        values: Mapping[str, Sequence[str]],
        slot_error: float = 0.05,
        intent_error: float = 0.05,
        intent_slot: str = "intent",
    ) -> None:
        for name, probability in (
            ("slot_error", slot_error),
            ("intent_error", intent_error),
        ):
            if not 0.0 <= probability <= 1.0:
                raise ValueError(f"{name} must be a probability, not {probability}.")
        for slot, choices in values.items():
            if len(set(choices)) < 2:
                raise ValueError(
                    f"Slot {slot!r} has {choices}: nothing to confuse it with."
                )
        self._values = values
        self._slots = [slot for slot in values if slot != intent_slot]
        self._slot_error = slot_error
        self._intent_error = intent_error
        self._intent_slot = intent_slot
        self._is_clean = slot_error == intent_error == 0.0

    def transmit(self, acts: Sequence[Act], rng: Uniform) -> list[Act]:
        """Return what is heard of `acts`: as many or fewer.

        Args:
            acts: what is meant.
            rng: the channel's own stream, so that noise leaves the goal and the phrasing intact.
        """
        if self._is_clean:
            return list(acts)
        heard = [self._transmit_one(act, rng) for act in acts]
        return [act for act in heard if act is not None]

    def _transmit_one(self, act: Act, rng: Uniform) -> Act | None:
        draw = rng.random()
        if act.slot == self._intent_slot and act.value:
            return self._swap_value(act, rng) if draw < self._intent_error else act
        if act.kind == "affirm":
            return Act("negate") if draw < self._intent_error else act
        if act.slot not in self._values or not act.value or draw >= self._slot_error:
            return act
        mode = int(
            3.0 * draw / self._slot_error
        )  # the draw, rescaled, is uniform again
        if mode == 0:
            return self._swap_value(act, rng)
        if mode == 1:
            return self._swap_slot(act, rng)
        return None

    def _swap_value(self, act: Act, rng: Uniform) -> Act:
        choices = [value for value in self._values[act.slot] if value != act.value]
        return act._replace(value=choices[int(rng.random() * len(choices))])

    def _swap_slot(self, act: Act, rng: Uniform) -> Act:
        slots = [slot for slot in self._slots if slot != act.slot]
        if not slots:
            return self._swap_value(act, rng)
        slot = slots[int(rng.random() * len(slots))]
        choices = self._values[slot]
        return Act(act.kind, slot, choices[int(rng.random() * len(choices))])
