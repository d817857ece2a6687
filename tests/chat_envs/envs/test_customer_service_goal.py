"""Goals: what is held out, what the policy makes of them, and that streams do not mix."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import pytest

from chat_envs.envs import customer_service
from chat_envs.envs._customer_service_goal import (
    TIERS,
    Scenario,
    Tier,
    draw_scenario,
    is_held_out,
)

ENTITIES = customer_service._data()["entities"]


def draw(tier: Tier, seed: int, split: str = "train") -> Scenario:
    return draw_scenario(tier, ENTITIES, split, np.random.default_rng(seed))


def combination(tier: Tier, scenario: Scenario) -> tuple[int, int, int, int]:
    errand = scenario.errands[0]
    c = errand.constraints
    first = int(c["code"]) - (0 if tier.language == "easy" else 10)
    return (
        tier.intents.index(c["intent"]),
        ENTITIES["item"].index(c["item"]),
        ENTITIES["name"].index(c["name"]),
        first,
    )


@pytest.mark.parametrize("name", list(TIERS))
def test_splits_share_no_combination(name: str) -> None:
    tier = TIERS[name]
    train = {combination(tier, draw(tier, seed)) for seed in range(300)}
    test = {combination(tier, draw(tier, seed, "test")) for seed in range(300)}
    assert train.isdisjoint(test)
    assert not any(is_held_out(*c) for c in train)
    assert all(is_held_out(*c) for c in test)


def test_every_pair_of_values_occurs_in_training() -> None:
    sizes = (4, 8, 8, 10)
    seen = [c for c in product(*map(range, sizes)) if not is_held_out(*c)]
    for i, j in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]:
        assert len({(c[i], c[j]) for c in seen}) == sizes[i] * sizes[j]
    assert len(seen) / np.prod(sizes) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("name", list(TIERS))
def test_facts_and_change_follow_from_the_policy(name: str) -> None:
    tier = TIERS[name]
    for seed in range(200):
        scenario = draw(tier, seed)
        for errand in scenario.errands:
            intent = errand.constraints["intent"]
            order = scenario.world.find(errand.target)
            assert set(errand.requests) == set(errand.facts)
            if intent == "status":
                assert errand.facts["status"] == order.status and errand.change is None
                continue
            is_allowed = scenario.world.is_allowed(intent, order)
            assert errand.facts["outcome"] == ("done" if is_allowed else "refused")
            assert (errand.change is not None) == is_allowed
            assert errand.facts.get("amount", order.price) == order.price
        assert len(scenario.goal) == sum(bool(e.change) for e in scenario.errands)
        assert scenario.world.changes == {} and scenario.world.checked == set()


@pytest.mark.parametrize("name", list(TIERS))
def test_the_identifiers_open_exactly_the_customers_order(name: str) -> None:
    tier = TIERS[name]
    for seed in range(100):
        scenario = draw(tier, seed)
        for errand in scenario.errands:
            matches = [
                order
                for order in scenario.world.orders
                if all(
                    getattr(order, s) == errand.constraints[s] for s in tier.identifiers
                )
            ]
            assert [getattr(order, tier.target_slot) for order in matches] == [
                errand.target
            ]


def test_a_mistaken_order_is_somebody_elses() -> None:
    tier = TIERS["hard"]
    mistakes = [e for seed in range(200) for e in draw(tier, seed).errands if e.mistake]
    assert mistakes
    assert all(e.mistake["order"] != e.constraints["order"] for e in mistakes)


def shares(tier: Tier, read: Any, num_draws: int = 1500) -> dict[Any, float]:
    counts = Counter(read(draw(tier, seed)) for seed in range(num_draws))
    return {key: count / num_draws for key, count in counts.items()}


def test_rates_are_those_of_the_tier() -> None:
    tier = TIERS["default"]
    pushing = shares(tier, lambda s: bool(s.errands[0].plea))[True]
    mistaken = shares(tier, lambda s: bool(s.errands[0].mistake))[True]
    assert (
        abs(pushing - 0.3) < 0.05 and abs(mistaken - 0.15) < 0.04
    )  # four standard errors


def test_all_intents_come_and_most_are_allowed() -> None:
    tier = TIERS["default"]
    by_intent = shares(tier, lambda s: s.errands[0].constraints["intent"])
    assert set(by_intent) == set(tier.intents)
    assert all(abs(share - 1 / 6) < 0.04 for share in by_intent.values())
    refused = shares(tier, lambda s: s.errands[0].facts.get("outcome") == "refused")[
        True
    ]
    assert 0.15 < refused < 0.35


def test_the_easy_tier_is_clean() -> None:
    tier = TIERS["easy"]
    for seed in range(200):
        (errand,) = draw(tier, seed).errands
        assert not errand.plea and not errand.mistake and len(errand.requests) == 1
        assert len(errand.constraints["code"]) == 1
    assert tier.slot_error == tier.intent_error == 0.0


def test_the_hard_tier_has_two_errands_half_the_time_and_many_limits() -> None:
    tier = TIERS["hard"]
    double = shares(tier, lambda s: len(s.errands))
    assert set(double) == {1, 2} and abs(double[2] - 0.5) < 0.06
    assert set(shares(tier, lambda s: s.world.refund_limit)) == set(tier.refund_limits)
    for seed in range(100):
        targets = [errand.target for errand in draw(tier, seed).errands]
        assert len(set(targets)) == len(targets)


def test_the_same_stream_gives_the_same_scenario() -> None:
    one, two = (draw(TIERS["hard"], 11) for _ in range(2))
    assert one.errands == two.errands and list(one.world.orders) == list(
        two.world.orders
    )
