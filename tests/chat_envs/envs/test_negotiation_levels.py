"""Negotiation: the optimal expert over one price, and tricks that do not pay."""

from __future__ import annotations

import functools
import itertools
import math

import pytest

from chat_envs.core import SPLITS
from chat_envs.envs._negotiation_price import (
    PRICE_TIERS,
    PriceGoal,
    PriceTalk,
)
from chat_envs.envs.negotiation import Negotiation
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, play, play_many
from tests.chat_envs.envs.bargain import (
    PRICED,
    TIERS,
    Policy,
    first_offer,
    given_goal,
    mean,
    optimum,
    say,
    shared,
    sign,
)
from tests.chat_envs.envs.episode_length import longest_expert_episode


@pytest.mark.parametrize(("tier", "least"), [("easy", 0.8), ("default", 0.8)])
def test_the_optimum_is_known(tier: str, least: float) -> None:
    assert least < optimum(tier) < 1.0


@pytest.mark.parametrize(
    ("tier", "role"), [("easy", "seller"), ("easy", "buyer"), ("default", "buyer")]
)
def test_the_expert_earns_the_optimum_over_all_types(tier: str, role: str) -> None:
    env = shared(tier, role=role)
    settings = PRICE_TIERS[tier]
    ladders = settings.ladders(env.max_turns)
    total = 0.0
    for limit, steps in itertools.product(settings.limits, ladders):
        # The expert reads the opening, so the goal is put in before it is spoken.
        goal = PriceGoal(
            role=role,
            item="cup",
            unit=1,
            base=settings.bases[role][3],
            limit=limit,
            ladder=steps,
        )
        total += play_goal(env, goal)
    expected = optimum(tier)
    assert total / (len(settings.limits) * len(ladders)) == pytest.approx(expected)


def play_goal(env: Negotiation, goal: PriceGoal) -> float:
    """Return what the expert earns for a goal."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "chat_envs.envs.negotiation.draw_price_goal",
            functools.partial(given_goal, goal),
        )
        return play(env, REPLIERS["expert"], 0).episode_return


@pytest.mark.parametrize("tier", PRICED)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_earns_the_optimum_on_either_split(tier: str, split: str) -> None:
    returns = [
        r.episode_return
        for r in play_many(shared(tier, split), REPLIERS["expert"], range(150))
    ]
    center = math.fsum(returns) / 150
    spread = math.sqrt(math.fsum((r - center) ** 2 for r in returns) / 149 / 150)
    assert abs(center - optimum(tier)) <= 3.3 * spread
    assert min(returns) >= -0.5


@pytest.mark.parametrize("tier", TIERS)
def test_the_expert_reads_the_conversation_alone(tier: str) -> None:
    env, ignorant = shared(tier), Negotiation(tier)
    for seed in range(8):
        env.reset(seed=seed)
        while not env.is_over:
            ignorant.reset(seed=seed + 1000)
            ignorant.conversation = env.conversation
            assert ignorant.expert_reply() == env.expert_reply()
            say(env, env.expert_reply())


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("slip", ["hm", "40 or 50", "I ask 9999.", "No."])
def test_the_expert_goes_on_after_a_slip(tier: str, slip: str) -> None:
    env = shared(tier)
    returns = []
    for seed in range(30):
        env.reset(seed=seed)
        info = say(env, slip)
        if sign(env) == -1 and "9999" in slip:
            continue  # a buyer has bought
        while not info["over"]:
            info = say(env, env.expert_reply())
        returns.append(info["reward"])
    assert math.fsum(returns) / len(returns) > 0.4


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_expert_replies_and_episodes_are_short(tier: str, split: str) -> None:
    env = shared(tier, split)
    assert longest_expert_episode(env) < env.context_length
    for seed in range(20):
        env.reset(seed=seed)
        while not env.is_over:
            reply = env.expert_reply()
            assert len(reply.split()) <= 10
            say(env, reply)


def accept_first(env: Negotiation) -> str:
    return "Deal."


def absurd(env: Negotiation) -> str:
    return "99999" if sign(env) == 1 else "1"


def repeated(gain: int, words: str = "") -> Policy:
    def reply(env: Negotiation) -> str:
        unit = env._talk.goal.unit  # type: ignore[attr-defined]
        return f"{first_offer(env) + sign(env) * gain * unit}{words}"

    return reply


def constant(text: str) -> Policy:
    return lambda env: text


def several(env: Negotiation) -> str:
    unit = env._talk.goal.unit  # type: ignore[attr-defined]
    return " ".join(str(first_offer(env) + sign(env) * g * unit) for g in range(4, 9))


@pytest.mark.parametrize("tier", PRICED)
@pytest.mark.parametrize("split", SPLITS)
def test_lazy_strategies_do_not_pay(tier: str, split: str) -> None:
    env = shared(tier, split)
    assert mean(env, accept_first, 40) <= 0.0
    assert mean(env, absurd, 40) == 0.0
    assert mean(env, several, 40) == 0.0


def share_of_one_number(goal: PriceGoal, tier: str, reply: str) -> float:
    settings = PRICE_TIERS[tier]
    talk = PriceTalk(goal, highest=settings.highest, step=settings.step)
    for _ in range(settings.turns):
        answer = talk.respond(reply)
        if answer.share is not None or answer.has_left:
            return answer.share or 0.0
    return 0.0


@pytest.mark.parametrize("tier", PRICED)
@pytest.mark.parametrize("words", ["", ", a fair price"])
def test_no_number_repeated_pays(tier: str, words: str) -> None:
    """Every number of the grid, against every type: so the means are exact."""
    settings = PRICE_TIERS[tier]
    ladders = settings.ladders(settings.turns)
    for gain in range(settings.step, settings.highest + 1, settings.step):
        shares = [
            share_of_one_number(
                PriceGoal(
                    role="seller",
                    item="cup",
                    unit=1,
                    base=50,
                    limit=limit,
                    ladder=steps,
                ),
                tier,
                f"{50 + gain}{words}",
            )
            for limit, steps in itertools.product(settings.limits, ladders)
        ]
        assert math.fsum(shares) / len(shares) <= 0.25 * optimum(tier), gain


def stubborn_then_yes(env: Negotiation) -> str:
    """Say one number twice, then take what stands."""
    if env.turn < 2:
        return repeated(PRICE_TIERS[env.tier].highest, ", a fair price")(env)
    return "Deal."


def patient(env: Negotiation) -> str:
    """Wait for the other side to come down by itself, and take what stands at the end."""
    return "Deal." if env.is_last_turn or env.turn == env.max_turns - 1 else "hm"


@pytest.mark.parametrize("tier", PRICED)
def test_waiting_does_not_pay(tier: str) -> None:
    env = shared(tier)
    top = mean(env, REPLIERS["expert"])  # type: ignore[arg-type]
    assert mean(env, patient) <= 0.0
    assert mean(env, stubborn_then_yes) <= 0.25 * top


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_blind_and_hostile_policies_earn_nothing(tier: str, split: str) -> None:
    env = shared(tier, split)
    top = mean(env, REPLIERS["expert"], 60)  # type: ignore[arg-type]
    floor = mean(env, REPLIERS["blind"], 300 if tier == "easy" else 20)  # type: ignore[arg-type]
    assert 0.0 <= floor <= 0.15 * top
    for name, replier in HOSTILE_REPLIERS.items():
        records = play_many(env, replier, range(20))
        assert all(r.episode_return <= 0.0 for r in records), name
        assert not any(r.success for r in records), name


@pytest.mark.parametrize("tier", PRICED)
def test_no_number_that_is_chosen_blindly_pays(tier: str) -> None:
    env = shared(tier, role="any")
    for price in (1, 5, 20, 45, 70, 95, 120, 400, 900):
        assert mean(env, constant(str(price)), 60) <= 0.05, price
