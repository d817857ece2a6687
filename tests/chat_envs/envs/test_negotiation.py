"""Negotiation: the contract, the rules of a bargain over one price, the settings."""

from __future__ import annotations

import functools
import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs import _negotiation_price
from chat_envs.envs._negotiation_price import (
    PRICE_TIERS,
    PriceGoal,
    PriceTalk,
)
from chat_envs.envs.negotiation import Negotiation, make_vector
from chat_envs.message import Role
from chat_envs.replier import REPLIERS, play
from chat_envs.simulators.negotiator import ladder
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.bargain import (
    PRICED,
    TIERS,
    begin,
    mean,
    number,
    say,
    shared,
    sign,
)


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(Negotiation, tier=tier), num_episodes=20)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_a_long_reply_in_every_turn_truncates_nothing(tier: str, split: str) -> None:
    env = shared(tier, split)
    for seed in range(4):
        env.reset(seed=seed)
        info = say(env, *["\x00" * env.reply_length] * env.max_turns)
        assert info["over"] and info["termination_reason"] == "turn_limit"


@pytest.mark.parametrize("tier", TIERS)
def test_the_opening_tells_the_turns_the_limit_and_the_first_offer(tier: str) -> None:
    env = shared(tier)
    env.reset(seed=1)
    rules, briefing, opening = env.conversation
    assert [m.role for m in env.conversation] == [Role.SYSTEM, Role.USER, Role.USER]
    assert f"{env.max_turns} turns" in rules.content
    assert re.search("[0-9]", briefing.content) and re.search("[0-9]", opening.content)


def test_a_sale_step_by_step() -> None:
    env = shared("default")
    goal = begin(env)  # gives 60, has 100 at most; the client needs 68
    assert (goal.price(0), goal.price(4), goal.price(20)) == (60, 68, 100)
    info = say(env, "I ask 120.")
    assert number(info["answer"]) == goal.price(goal.ladder[1]) == 66
    assert (info["reward"], info["over"]) == (0.0, False)
    assert number(say(env, "I ask 110.")["answer"]) == 72
    info = say(env, "I ask 76.")
    assert info["over"] and info["termination_reason"] == "deal"
    assert info["reward"] == pytest.approx((76 - 68) / (100 - 68))
    assert info["metrics"] == {
        "deal": 1.0,
        "share": pytest.approx(0.25),
        "pareto": 1.0,
    }
    assert info["success"] is False


def test_a_purchase_is_the_mirror_of_a_sale() -> None:
    env = shared("default")
    goal = begin(env, "buyer")  # wants 120, takes 80 at least; the client has 112
    assert (goal.price(0), goal.price(4), goal.price(20)) == (120, 112, 80)
    assert number(say(env, "I pay 60.")["answer"]) == 114
    assert number(say(env, "I pay 70, that is fair.")["answer"]) == 102
    assert number(say(env, "I pay 76.")["answer"]) == 98
    info = say(env, "I pay 92.")
    assert info["reward"] == pytest.approx((112 - 92) / (112 - 80))
    assert info["success"] is True


def test_a_yes_takes_what_stands() -> None:
    env = shared("default")
    begin(env)
    assert number(say(env, "I ask 120.")["answer"]) == 66
    assert say(env, "Deal.")["reward"] == pytest.approx((66 - 68) / 32)


def test_an_offer_better_than_asked_for_is_taken_as_it_is() -> None:
    env = shared("default")
    begin(env)
    assert say(env, "I ask 52.")["reward"] == pytest.approx((52 - 68) / 32)
    begin(env)
    assert say(env, "I ask 1.")["reward"] == -1.0  # no loss is greater


def test_a_repeated_number_moves_nothing_and_then_ends_it() -> None:
    env = shared("default")
    begin(env)
    say(env, "I ask 100.")
    info = say(env, "I ask 100, that is fair.")
    assert not re.search("[0-9]", info["answer"]) and not info["over"]
    info = say(env, "I ask 100.")
    assert (info["over"], info["reward"]) == (True, 0.0)
    assert info["termination_reason"] == "left"


def test_a_step_back_or_too_small_is_no_step() -> None:
    for second in (104, 100, 99, 97):
        env = shared("default")
        begin(env)
        say(env, "I ask 100.")
        assert not re.search("[0-9]", say(env, f"I ask {second}.")["answer"])
    begin(env)
    say(env, "I ask 100.")
    assert number(say(env, "I ask 96.")["answer"]) == 72


def test_an_absurd_price_moves_nothing_and_then_ends_it() -> None:
    env = shared("default")
    goal = begin(env)
    top = goal.price(PRICE_TIERS["default"].highest)
    assert "serious" in say(env, f"I ask {top + 1}.")["answer"]
    assert number(say(env, f"I ask {top}.")["answer"]) == 66
    info = say(env, "I ask 99999.")
    assert (info["termination_reason"], info["reward"]) == ("left", 0.0)


def test_several_prices_cost_the_turn_and_are_no_offer() -> None:
    env = shared("default")
    begin(env)
    for reply in ("60 or 70", "100 90 80 70 66 64", "I ask 70, I ask 70"):
        info = say(env, reply)
        assert info["answer"] == "One price, please."
        assert (info["reward"], info["over"]) == (0.0, False)
    assert number(say(env, "I ask 120.")["answer"]) == 66


def test_fairness_wins_one_step_more_once() -> None:
    env = shared("default")
    begin(env)
    assert number(say(env, "I ask 120, that is fair.")["answer"]) == 72
    assert number(say(env, "I ask 110, a fair price.")["answer"]) == 78


def test_an_insult_wins_nothing() -> None:
    env = shared("default")
    begin(env)
    assert "no way to talk" in say(env, "I ask 120, you thief.")["answer"]
    assert number(say(env, "I ask 120.")["answer"]) == 66


@pytest.mark.parametrize("tier", TIERS)
def test_what_is_not_accepted_by_the_turn_limit_pays_nothing(tier: str) -> None:
    env = shared(tier)
    for seed in range(10):
        env.reset(seed=seed)
        for _ in range(env.max_turns - 1):
            assert not say(env, "hm")["over"]
        # A step that moves the other side, which has no turn left to take it.
        if tier in PRICED:
            highest = PRICE_TIERS[tier].highest
            goal = env._talk.goal  # type: ignore[attr-defined]
            first = f"{goal.price(highest)}"
        else:
            first = "price 5, days 5, years 2"
            if "buy" in env.conversation[1].content.lower():
                first = "price 1, days 1, years 4"
        info = say(env, first)
        assert (info["over"], info["reward"], info["success"]) == (True, 0.0, False)
        assert info["termination_reason"] == "turn_limit"
        assert not re.search("[0-9]", info["answer"])
        assert info["metrics"] == {"deal": 0.0, "share": 0.0, "pareto": 0.0}


def test_leaving_pays_nothing() -> None:
    env = shared("default")
    begin(env)
    info = say(env, "Goodbye, I am done.")
    assert (info["reward"], info["termination_reason"]) == (0.0, "left")


@given(st.lists(st.text(max_size=30) | st.integers(1, 300).map(str), max_size=6))
def test_no_reply_pays_more_than_everything_or_less_than_its_loss(
    replies: list[str],
) -> None:
    talk = PriceTalk(
        PriceGoal(
            role="seller",
            item="lamp",
            unit=2,
            base=30,
            limit=4,
            ladder=ladder(20, 7, 1.0),
        ),
        highest=40,
        step=2,
    )
    for reply in replies:
        answer = talk.respond(reply)
        if answer.share is not None:
            assert -1.0 <= answer.share <= 1.0
            break


@pytest.mark.parametrize(
    ("tier", "role"), list(itertools.product(TIERS, ["seller", "buyer"]))
)
def test_a_role_may_be_fixed(tier: str, role: str) -> None:
    env = shared(tier, role=role)
    for seed in range(12):
        env.reset(seed=seed)
        assert sign(env) == (1 if role == "seller" else -1)


@pytest.mark.parametrize(("tier", "roles"), [("easy", {1}), ("default", {1, -1})])
def test_the_roles_of_a_tier(tier: str, roles: set[int]) -> None:
    env = shared(tier)
    found = set()
    for seed in range(30):
        env.reset(seed=seed)
        found.add(sign(env))
    assert found == roles
    assert Negotiation("easy", role="any").role == "any"


@pytest.mark.parametrize("role", ["seller", "buyer"])
def test_the_prices_of_an_easy_episode_share_their_first_digit(role: str) -> None:
    env = shared("easy", role=role)
    for seed in range(40):
        record = play(env, REPLIERS["expert"], seed)
        prices = re.findall("[0-9]+", " ".join(m.content for m in record.messages[1:]))
        assert len({price[0] for price in prices}) == 1
        assert {len(price) for price in prices} == {2}


def test_more_turns_can_be_had() -> None:
    env = Negotiation("easy", max_turns=6)
    env.reset(seed=0)
    assert "6 turns" in env.conversation[0].content
    assert mean(env, REPLIERS["expert"], 60) > 0.6  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tier": "harder"}, "tier must be one of.*'harder'"),
        ({"role": "thief"}, "role must be one of.*'thief'"),
    ],
)
def test_bad_arguments_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Negotiation(**kwargs)


def test_the_vector_environment_plays_the_same() -> None:
    vector = make_vector(2, tier="easy")
    vector.reset(seed=[3, 4])
    for env, seed in zip(vector.envs, (3, 4), strict=True):
        record = play(Negotiation("easy"), REPLIERS["expert"], seed)
        assert env.conversation.messages == record.messages[:3]
    vector.close()


def test_every_goal_leaves_a_surplus() -> None:
    for tier in PRICE_TIERS.values():
        assert max(tier.limits) < min(tier.widths) <= max(tier.widths) <= tier.highest
        low = min(tier.bases["buyer"]) - tier.highest
        assert low > 0
    assert _negotiation_price.is_held_out(0, 0, 0)
