"""The error channel: rates, kinds of error, and independence of the other streams."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from chat_envs.simulators.agenda import Act
from chat_envs.simulators.channel import ErrorChannel

VALUES = {
    "intent": ("refund", "cancel", "status"),
    "name": ("Kim", "Tom", "Eva"),
    "code": ("1", "2", "3", "4"),
}
NAME = Act("inform", "name", "Kim")
INTENT = Act("inform", "intent", "refund")
NUM_DRAWS = 3000


def heard(act: Act, slot_error: float, intent_error: float) -> Counter[Act | None]:
    rng = np.random.default_rng(3)
    channel = ErrorChannel(VALUES, slot_error, intent_error)
    results = (channel.transmit([act], rng) for _ in range(NUM_DRAWS))
    return Counter(result[0] if result else None for result in results)


def test_a_clean_channel_changes_nothing_and_draws_nothing() -> None:
    rng = np.random.default_rng(0)
    acts = [NAME, INTENT, Act("affirm")]
    assert ErrorChannel(VALUES, 0.0, 0.0).transmit(acts, rng) == acts
    assert rng.random() == np.random.default_rng(0).random()


def test_a_third_of_slot_errors_each_swaps_the_value_the_slot_or_drops() -> None:
    counts = heard(NAME, slot_error=1.0, intent_error=0.0)
    swapped = sum(n for act, n in counts.items() if act and act.slot == "name")
    moved = sum(n for act, n in counts.items() if act and act.slot == "code")
    dropped = counts[None]
    assert swapped + moved + dropped == NUM_DRAWS
    for count in (swapped, moved, dropped):
        assert abs(count / NUM_DRAWS - 1 / 3) < 0.035  # four standard errors
    assert NAME not in counts
    assert {act.value for act in counts if act and act.slot == "code"} == set(
        VALUES["code"]
    )


def test_errors_come_at_their_rate() -> None:
    assert abs(heard(NAME, 0.05, 0.0)[NAME] / NUM_DRAWS - 0.95) < 0.016
    assert abs(heard(INTENT, 0.0, 0.2)[INTENT] / NUM_DRAWS - 0.80) < 0.03


def test_an_intent_error_swaps_the_intent_or_the_polarity() -> None:
    assert set(heard(INTENT, 1.0, 1.0)) == {
        Act("inform", "intent", "cancel"),
        Act("inform", "intent", "status"),
    }
    assert set(heard(Act("affirm"), 1.0, 1.0)) == {Act("negate")}


def test_slot_errors_leave_intents_alone_and_intent_errors_slots() -> None:
    assert set(heard(INTENT, 1.0, 0.0)) == {INTENT}
    assert set(heard(NAME, 0.0, 1.0)) == {NAME}


@pytest.mark.parametrize(
    "act", [Act("request", "outcome"), Act("bye"), Act("request", "name")]
)
def test_acts_without_a_value_pass(act: Act) -> None:
    assert set(heard(act, 1.0, 1.0)) == {act}


def test_a_lone_slot_can_only_swap_its_value_or_drop() -> None:
    rng = np.random.default_rng(0)
    channel = ErrorChannel({"name": ("Kim", "Tom")}, 1.0, 0.0)
    results = {tuple(channel.transmit([NAME], rng)) for _ in range(50)}
    assert results == {(), (Act("inform", "name", "Tom"),)}


def test_order_is_kept() -> None:
    acts = [Act("affirm"), NAME, Act("bye")]
    heard = ErrorChannel(VALUES, 0.0, 1.0).transmit(acts, np.random.default_rng(0))
    kinds = [act.kind for act in heard]
    assert kinds == ["negate", "inform", "bye"]


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_a_rate_is_a_probability(rate: float) -> None:
    with pytest.raises(ValueError, match="slot_error"):
        ErrorChannel(VALUES, slot_error=rate)
    with pytest.raises(ValueError, match="intent_error"):
        ErrorChannel(VALUES, intent_error=rate)


def test_a_slot_needs_something_to_be_confused_with() -> None:
    with pytest.raises(ValueError, match="'name'"):
        ErrorChannel({"name": ("Kim",)})
