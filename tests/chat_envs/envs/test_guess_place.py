"""GuessPlace: what is its own beside `test_question_game`: capitals, phrasing, exact bounds."""

from __future__ import annotations

import pytest

from chat_envs.core import SPLITS
from chat_envs.envs.guess_place import GuessPlace, cost_bounds
from chat_envs.message import Role
from chat_envs.replier import REPLIERS, play
from chat_envs.simulators.belief import greedy_total, ideal_total, optimal_total
from tests.chat_envs.envs.places import COUNTRIES
from tests.chat_envs.envs.quiz import (
    LARGE_TIERS,
    begin,
    mean_cost,
    play_expert,
    say,
    shared,
)


@pytest.mark.parametrize(
    "text",
    ["Kenya", "kenya!", "Is it Kenya?", "I think it is KENYA.", "My guess is Kenya"],
)
def test_a_guess_may_be_put_in_many_ways(text: str) -> None:
    env = shared(GuessPlace, "default")
    begin(env, "Kenya")
    assert say(env, text)[1:] == (0.0, True)


def test_to_name_the_capital_does_not_win() -> None:
    env = shared(GuessPlace, "default")
    for name in ("Kenya", "Singapore", "Sao Tome"):
        begin(env, name)
        turn = env._respond(f"Is its capital {COUNTRIES[name].capitals[0]}?")
        assert (turn.success, turn.reward, turn.ended) == (False, -1.0, False)
        assert "yes" in turn.messages[0].content.lower()


def test_candidates_are_counted() -> None:
    env = shared(GuessPlace, "default")
    begin(env, "Chad")
    env.step(env.encode("Is it in Africa?"))
    assert env.describe()["metrics"] == {"candidates": 54.0}
    env.step(env.encode("Is it landlocked?"))
    assert env.describe()["metrics"] == {"candidates": 16.0}
    env.step(env.encode("Is it next to the moon?"))
    assert env.describe()["metrics"] == {"candidates": 16.0}


@pytest.mark.parametrize("tier", LARGE_TIERS)
def test_the_expert_has_nine_tenths_of_the_best_possible_and_the_blind_little(
    tier: str,
) -> None:
    env, bounds = shared(GuessPlace, tier), cost_bounds(tier)
    assert bounds.lower == ideal_total(193, 20) / 193
    assert bounds.lower <= bounds.greedy
    span = env.max_turns - bounds.lower
    assert (env.max_turns - bounds.greedy) / span >= 0.9
    # One distinct guess a turn, which hits in turn k with probability 1 / 193.
    saved = sum(env.max_turns - k for k in range(env.max_turns)) / 193
    assert saved / span <= 0.15
    for split in SPLITS:
        blind = mean_cost(shared(GuessPlace, tier, split), REPLIERS["blind"], 80)
        assert (env.max_turns - blind) / span <= 0.15


@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_of_the_easy_tier_has_nine_tenths_of_the_optimum_of_its_lists(
    split: str,
) -> None:
    env = shared(GuessPlace, "easy", split)
    optimal = expert = 0.0
    for seed in range(60):
        env.reset(seed=seed)
        bounds = cost_bounds("easy", env._candidates)
        assert bounds.optimal is not None
        assert ideal_total(6, 5) / 6 == bounds.lower <= bounds.optimal <= bounds.greedy
        optimal += bounds.optimal / 60
        expert += bounds.greedy / 60
    assert (env.max_turns - expert) / (env.max_turns - optimal) >= 0.9


def test_the_costs_of_the_easy_expert_are_those_of_its_episodes() -> None:
    env = shared(GuessPlace, "easy")
    for seed in range(10):
        env.reset(seed=seed)
        listed = env._candidates
        costs = []
        for goal in (i for i in range(12) if listed >> i & 1):
            env.reset(seed=seed)
            env._goal, env._candidates = goal, listed
            costs.append(play_expert(env))
        assert sum(costs) / 6 == cost_bounds("easy", listed).greedy


def test_the_bounds_use_the_questions_that_are_read_and_not_fewer() -> None:
    oracle = shared(GuessPlace, "easy").oracle
    listed = 0b101101100110
    bounds = cost_bounds("easy", listed)
    total = optimal_total(oracle.questions(), listed, 5)
    assert bounds.optimal == total / listed.bit_count()
    masks = [p.mask for p in oracle.predicates]
    assert bounds.greedy == greedy_total(masks, listed, 5) / listed.bit_count()


@pytest.mark.parametrize("tier", LARGE_TIERS)
def test_the_expert_asks_about_several_kinds_of_facts(tier: str) -> None:
    env, begun = shared(GuessPlace, tier), set()
    for seed in range(40):
        record = play(env, REPLIERS["expert"], seed)
        for message in record.messages:
            if message.role is Role.ASSISTANT:
                begun.add(" ".join(message.content.split()[:2]))
    assert {"Is it", "Has it", "Does it"} <= begun


def test_the_expert_of_the_hard_tier_asks_about_no_region() -> None:
    questions = shared(GuessPlace, "hard")._game.questions.values()
    assert all("Is it in " not in question for question in questions)


def test_without_regions_the_search_is_no_shorter() -> None:
    assert cost_bounds("hard").greedy >= cost_bounds("default").greedy
    assert cost_bounds("hard").lower == cost_bounds("default").lower


def test_the_countries_of_the_easy_tier_are_single_words() -> None:
    names = shared(GuessPlace, "easy").oracle.names
    assert len(names) == 12
    assert all(name.isalpha() and len(name) <= 5 for name in names)
