"""Negotiation over three issues: utilities, what the other side offers, the expert, tricks."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs._negotiation_package import (
    NEEDS,
    OPENING,
    OTHER_TYPES,
    PACKAGES,
    TURNS,
    OtherType,
    PackageGoal,
    PackageTalk,
    best_utility,
    nearest_package,
    other_values,
    own_values,
)
from chat_envs.envs.negotiation import Negotiation
from chat_envs.replier import REPLIERS, play_many
from chat_envs.simulators.negotiator import pareto_frontier

WEIGHTS = tuple(itertools.permutations((5, 3, 2)))
OTHER = OtherType((2, 3, 5), 0.8, 18)
GOAL = PackageGoal(role="seller", weights=(5, 3, 2), need=12, other=OTHER)
Policy = Callable[[Negotiation], str]


@functools.cache
def shared(split: str = "train") -> Negotiation:
    return Negotiation("hard", split=split)


def index(*levels: int) -> int:
    return PACKAGES.index(levels)


def given_goal(goal: PackageGoal, *_: Any) -> PackageGoal:
    return goal


def spoken(goal: PackageGoal, package: int) -> str:
    price, days, years = goal.values(package)
    return f"price {price}, days {days}, years {years}"


def mean(env: Negotiation, policy: Policy, count: int = 60) -> float:
    records = play_many(env, policy, range(count))  # type: ignore[arg-type]
    return math.fsum(r.episode_return for r in records) / count


@pytest.mark.parametrize("role", ["seller", "buyer"])
def test_values_and_packages_are_one_to_one(role: str) -> None:
    goal = PackageGoal(role=role, weights=(5, 3, 2), need=12, other=OTHER)
    values = [goal.values(package) for package in range(125)]
    assert len(set(values)) == 125
    assert [goal.index(v) for v in values] == list(range(125))
    assert goal.index((0, 3, 3)) is goal.index((3, 6, 3)) is None


def test_a_seller_wants_a_high_price_much_time_and_a_short_warranty() -> None:
    assert GOAL.values(index(4, 4, 4)) == (5, 5, 1)
    assert GOAL.values(OPENING) == (1, 1, 5)
    buyer = PackageGoal(role="buyer", weights=(5, 3, 2), need=12, other=OTHER)
    assert buyer.values(index(4, 4, 4)) == (1, 1, 5)


@given(st.sampled_from(WEIGHTS), st.integers(0, 124))
def test_what_one_side_gains_at_equal_weights_the_other_loses(
    weights: tuple[int, ...], package: int
) -> None:
    assert own_values(weights)[package] + other_values(weights)[package] == 40


@pytest.mark.parametrize("own", WEIGHTS)
@pytest.mark.parametrize("other", WEIGHTS)
@pytest.mark.parametrize("reserve", [14, 18])
def test_the_best_share_is_one_is_reachable_and_is_efficient(
    own: tuple[int, ...], other: tuple[int, ...], reserve: int
) -> None:
    best = best_utility(own, other, reserve)
    assert best > max(NEEDS) + 5
    goal = PackageGoal(
        role="buyer", weights=own, need=10, other=OtherType(other, 1.0, reserve)
    )
    possible = [p for p in range(125) if other_values(other)[p] >= reserve]
    assert max(goal.share(p) for p in possible) == 1.0
    frontier = pareto_frontier(own_values(own), other_values(other))
    assert any(own_values(own)[p] == best for p in possible if p in frontier)


def test_different_weights_leave_more_for_both() -> None:
    assert best_utility((5, 3, 2), (2, 3, 5), 18) > best_utility(
        (5, 3, 2), (5, 3, 2), 18
    )


def test_a_share_counts_from_the_need_and_loses_at_most_one() -> None:
    best = best_utility(GOAL.weights, OTHER.weights, OTHER.reserve)
    assert best == 32
    package = index(4, 0, 1)
    assert GOAL.share(package) == pytest.approx((22 - 12) / 20)
    assert GOAL.share(index(2, 0, 1)) == 0.0
    assert GOAL.share(OPENING) == pytest.approx(-12 / 20)
    poor = PackageGoal(
        role="seller", weights=(5, 3, 2), need=14, other=OtherType((5, 3, 2), 1.0, 18)
    )
    assert poor.share(OPENING) == -1.0


@given(st.sampled_from(WEIGHTS), st.integers(0, 40), st.integers(0, 124))
def test_a_counter_offer_is_worth_enough_and_none_as_good_is_nearer(
    weights: tuple[int, ...], target: int, heard: int
) -> None:
    values = other_values(weights)
    chosen = nearest_package(weights, target, heard)
    assert values[chosen] >= target

    def distance(package: int) -> int:
        pairs = zip(PACKAGES[package], PACKAGES[heard], strict=True)
        return sum(abs(a - b) for a, b in pairs)

    good = [p for p in range(125) if values[p] >= target]
    near = [p for p in good if distance(p) == min(map(distance, good))]
    assert chosen in near
    assert values[chosen] == max(
        values[p] for p in near
    )  # it gives no more than it must
    if values[heard] >= target:
        assert chosen == heard


def test_a_talk_step_by_step() -> None:
    talk = PackageTalk(GOAL, 6)
    briefing, opening = talk.opening()
    assert briefing.fields == {"w0": 5, "w1": 3, "w2": 2, "need": 12}
    assert opening.fields == {"price": 1, "days": 1, "years": 5}
    targets = OTHER.targets(6)
    assert (targets[0], targets[-1]) == (40, 18)
    answer = talk.respond(spoken(GOAL, index(4, 4, 4)))
    assert answer.line.key == "absurd"  # it leaves the other side nothing
    answer = talk.respond(spoken(GOAL, index(4, 4, 3)))  # worth 5 to it
    standing = nearest_package(OTHER.weights, targets[1], index(4, 4, 3))
    expected = dict(zip(("price", "days", "years"), GOAL.values(standing), strict=True))
    assert (answer.line.key, answer.line.fields) == ("counter", expected)
    answer = talk.respond(spoken(GOAL, index(4, 4, 2)) + ", that is fair")
    standing = nearest_package(OTHER.weights, targets[3], index(4, 4, 2))
    assert answer.line.fields["price"] == GOAL.values(standing)[0]
    answer = talk.respond("Deal.")
    assert answer.share == pytest.approx(GOAL.share(standing))


def test_a_package_that_is_no_better_moves_nothing_and_then_ends_it() -> None:
    talk = PackageTalk(GOAL, 6)
    talk.respond(spoken(GOAL, index(4, 4, 2)))
    assert talk.respond(spoken(GOAL, index(2, 4, 4))).line.key == "stalled"
    answer = talk.respond(spoken(GOAL, index(4, 4, 2)))
    assert answer.has_left and answer.share is None


def test_an_offer_that_is_worth_enough_is_taken_with_its_efficiency() -> None:
    talk = PackageTalk(GOAL, 6)
    # Worth 37 to it, 3 to the agent.
    answer = talk.respond(spoken(GOAL, index(0, 1, 0)) + ", that is fair")
    assert answer.share is not None and answer.share < 0.0
    best = max(
        own
        for own, other in zip(own_values(GOAL.weights), other_values(OTHER.weights))
        if other >= 37
    )
    assert answer.pareto == pytest.approx(3 / best)


def test_values_out_of_range_are_unread() -> None:
    talk = PackageTalk(GOAL, 6)
    for text in ("price 0, days 1, years 1", "price 6, days 1, years 1"):
        assert talk.respond(text).line.key == "unread"


@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_is_within_a_tenth_of_all_that_could_be_had(split: str) -> None:
    """The bound is 1: what one earns who knows the other side's weights and reserve."""
    records = play_many(shared(split), REPLIERS["expert"], range(80))
    returns = [r.episode_return for r in records]
    average = math.fsum(returns) / len(returns)
    spread = math.sqrt(math.fsum((r - average) ** 2 for r in returns) / 79 / 80)
    assert average - 1.96 * spread >= 0.9
    assert min(returns) >= 0.0
    assert math.fsum(r.metrics["pareto"] for r in records) / len(records) >= 0.95
    assert all(r.metrics["deal"] == 1.0 for r in records)


def test_the_expert_earns_as_much_from_every_type() -> None:
    env = shared()
    worst = 1.0
    for other in OTHER_TYPES:
        goal = PackageGoal(role="buyer", weights=(3, 5, 2), need=12, other=other)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "chat_envs.envs.negotiation.draw_package_goal",
                functools.partial(given_goal, goal),
            )
            (record,) = play_many(env, REPLIERS["expert"], [0])
        worst = min(worst, record.episode_return)
    assert worst >= 0.5


def constant(package: tuple[int, ...], words: str = "") -> Policy:
    def reply(env: Negotiation) -> str:
        goal = env._talk.goal  # type: ignore[attr-defined]
        return spoken(goal, PACKAGES.index(package)) + words

    return reply


LAZY: dict[str, Policy] = {
    "accept the first offer": lambda env: "Deal.",
    "everything for me": constant((4, 4, 4)),
    "several": lambda env: "price 1 2 3, days 1 2 3, years 1 2 3",
    "the middle of all values": lambda env: "price 3, days 3, years 3, the fair middle",
    "wait": lambda env: "Deal." if env.turn == env.max_turns - 1 else "hm",
}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", LAZY)
def test_lazy_strategies_do_not_pay(name: str, split: str) -> None:
    assert mean(shared(split), LAZY[name]) <= 0.15


@pytest.mark.parametrize("words", ["", ", that is fair"])
def test_no_package_repeated_pays(words: str) -> None:
    """Every package, against every type: so the means are exact."""
    goals = [
        PackageGoal(role="seller", weights=(5, 3, 2), need=12, other=other)
        for other in OTHER_TYPES
    ]
    for levels in itertools.product((0, 1, 2, 3, 4), repeat=3):
        reply = spoken(goals[0], PACKAGES.index(levels)) + words
        total = 0.0
        for goal in goals:
            talk = PackageTalk(goal, TURNS)
            for _ in range(TURNS):
                answer = talk.respond(reply)
                if answer.share is not None or answer.has_left:
                    break
            total += answer.share or 0.0
        assert total / len(goals) <= 0.15, levels


def known(env: Negotiation) -> tuple[Any, ...]:
    goal = env._talk.goal  # type: ignore[attr-defined]
    return goal.role, goal.weights, goal.need


def test_held_out_goals_are_unseen_combinations_of_seen_values() -> None:
    goals: dict[str, set[tuple[Any, ...]]] = {split: set() for split in SPLITS}
    others: dict[str, set[OtherType]] = {split: set() for split in SPLITS}
    for split, seed in itertools.product(SPLITS, range(600)):
        env = shared(split)
        env.reset(seed=seed)
        goals[split].add(known(env))
        others[split].add(env._talk.goal.other)  # type: ignore[attr-defined]
    assert goals["train"].isdisjoint(goals["test"])
    assert len(goals["test"]) < len(goals["train"])
    assert len(goals["train"] | goals["test"]) == 2 * 6 * len(NEEDS)
    for place in range(3):
        values = {goal[place] for goal in goals["train"]}
        assert values == {goal[place] for goal in goals["test"]}
    assert others["train"] == others["test"] == set(OTHER_TYPES)


def test_the_weights_of_the_other_side_are_not_told() -> None:
    env = shared()
    texts = set()
    for weights in WEIGHTS:
        goal = PackageGoal(
            role="seller", weights=(5, 3, 2), need=12, other=OtherType(weights, 0.8, 18)
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "chat_envs.envs.negotiation.draw_package_goal",
                functools.partial(given_goal, goal),
            )
            _, info = env.reset(seed=0)
        texts.add(tuple(m.content for m in env.conversation))
        assert set(info["metrics"].values()) == {0.0}
    assert len(texts) == 1
