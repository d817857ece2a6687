"""Negotiation: held-out goals and phrasings, streams, determinism, secrets."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import pytest

from chat_envs.core import SPLITS
from chat_envs.envs._negotiation_price import (
    PRICE_TIERS,
    PriceGoal,
)
from chat_envs.envs._negotiation_talk import data, phrasings
from chat_envs.envs.negotiation import Negotiation
from chat_envs.replier import REPLIERS, play
from chat_envs.simulators.negotiator import ladder
from tests.chat_envs.envs.bargain import (
    PRICED,
    TIERS,
    given_goal,
    say,
    shared,
)


def known_goal(env: Negotiation) -> tuple[Any, ...]:
    goal = env._talk.goal  # type: ignore[attr-defined]
    return (goal.role, goal.item, goal.base, goal.limit)


@pytest.mark.parametrize("tier", PRICED)
def test_held_out_goals_are_unseen_combinations_of_seen_values(tier: str) -> None:
    goals: dict[str, set[tuple[Any, ...]]] = {split: set() for split in SPLITS}
    ladders: dict[str, set[tuple[int, ...]]] = {split: set() for split in SPLITS}
    for split, seed in itertools.product(SPLITS, range(800)):
        env = shared(tier, split)
        env.reset(seed=seed)
        goals[split].add(known_goal(env))
        ladders[split].add(env._talk.goal.ladder)  # type: ignore[attr-defined]
    assert goals["train"].isdisjoint(goals["test"])
    assert len(goals["test"]) < len(goals["train"])
    for place in range(4):
        seen = {goal[place] for goal in goals["train"]}
        assert {goal[place] for goal in goals["test"]} <= seen
    assert ladders["train"] == ladders["test"]


@pytest.mark.parametrize("tier", TIERS)
def test_held_out_phrasings_are_unseen_combinations_of_seen_parts(tier: str) -> None:
    train, test = (phrasings(tier, split) for split in SPLITS)
    for key, parts in data()["parts"][tier].items():
        assert not set(train[key]) & set(test[key]), key
        count = math.prod(len(choices) for choices in parts)
        assert len(train[key]) + len(test[key]) == count
        assert train[key] and test[key]
        for part in itertools.chain(*parts):
            assert any(part.lower() in text.lower() for text in train[key]), part
    for key in data()["fixed"][tier]:
        assert train[key] == test[key]


def test_each_part_is_met_in_training() -> None:
    # A part that is "" or "." lies in every text; so count which combinations training has.
    for tier in TIERS:
        for key, parts in data()["parts"][tier].items():
            kept = [
                indices
                for indices in itertools.product(*(range(len(p)) for p in parts))
                if sum(indices) % 3
            ]
            for place, choices in enumerate(parts):
                assert {c[place] for c in kept} == set(range(len(choices))), key


@pytest.mark.parametrize("tier", TIERS)
def test_phrasing_and_behaviour_leave_the_goal_as_it_is(
    tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = Negotiation(tier)
    env.reset(seed=5)
    goal = env._talk.goal  # type: ignore[attr-defined]
    for _ in range(200):
        env._phrasing_rng.random()
    env.reset(seed=5)
    assert env._talk.goal == goal  # type: ignore[attr-defined]
    # More draws for the behaviour: the goal that the agent knows stays.
    name = "draw_package_goal" if tier == "hard" else "draw_price_goal"
    draw = getattr(__import__("chat_envs.envs.negotiation", fromlist=[name]), name)

    def draw_later(*args: Any) -> Any:
        for _ in range(3):
            args[-1].random()
        return draw(*args)

    monkeypatch.setattr(f"chat_envs.envs.negotiation.{name}", draw_later)
    env.reset(seed=5)
    other = env._talk.goal  # type: ignore[attr-defined]
    assert env.conversation[1].content and other.role == goal.role
    if tier == "hard":
        assert (other.weights, other.need) == (goal.weights, goal.need)
    else:
        known = (goal.item, goal.base, goal.limit)
        assert (other.item, other.base, other.limit) == known


@pytest.mark.parametrize("tier", TIERS)
def test_the_same_seed_is_the_same_episode(tier: str) -> None:
    one = [play(shared(tier), REPLIERS["expert"], seed) for seed in range(5)]
    play(shared(tier), REPLIERS["blind"], 99)
    other = [play(Negotiation(tier), REPLIERS["expert"], seed) for seed in range(5)]
    assert one == other
    assert len({record.messages for record in one}) == 5


@pytest.mark.parametrize("tier", PRICED)
def test_the_reservation_price_is_no_part_of_what_is_seen(tier: str) -> None:
    """Goals that differ in the ladder's end alone look the same until it gives it away."""
    env = shared(tier, role="seller")
    widths = PRICE_TIERS[tier].widths
    seen = set()
    for width in (widths[0], widths[-1]):
        goal = PriceGoal(
            role="seller",
            item="cup",
            unit=1,
            base=50,
            limit=2,
            ladder=ladder(width, env.max_turns + 1, 0.1),
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "chat_envs.envs.negotiation.draw_price_goal",
                functools.partial(given_goal, goal),
            )
            _, info = env.reset(seed=3)
            step = say(env, f"{50 + PRICE_TIERS[tier].highest}")
        texts = tuple(m.content for m in env.conversation)
        seen.add((texts, str(info["metrics"]), str(step["metrics"])))
    assert len(seen) == 1
