"""TwentyQuestions: what is its own beside `test_question_game`."""

from __future__ import annotations

import pytest

from chat_envs.envs.twenty_questions import TwentyQuestions, cost_bounds
from chat_envs.replier import REPLIERS
from chat_envs.simulators.belief import ideal_total, optimal_total
from tests.chat_envs.envs.quiz import LARGE_TIERS, begin, mean_cost, say, shared


@pytest.mark.parametrize("tier", LARGE_TIERS)
def test_the_expert_comes_near_what_is_best_for_any_table(tier: str) -> None:
    bounds = cost_bounds(tier)
    assert bounds.lower == ideal_total(245, 20) / 245
    assert bounds.lower <= bounds.greedy <= 1.03 * bounds.lower


def test_in_the_easy_tier_the_exact_optimum_is_known() -> None:
    bounds = cost_bounds("easy")
    assert bounds.optimal == bounds.lower == ideal_total(16, 6) / 16 == 3.5


def test_the_expert_of_the_easy_tier_is_near_the_optimum_of_its_lists() -> None:
    env = shared(TwentyQuestions, "easy")
    questions = env.oracle.questions()
    optimal = 0.0
    for seed in range(40):
        env.reset(seed=seed)
        optimal += optimal_total(questions, env._candidates, 6) / 12
    # No table of a dozen things does better than 3; these lists come close.
    assert ideal_total(12, 6) / 12 == 3.0
    assert 3.0 <= optimal / 40 <= 3.05
    assert abs(mean_cost(env, REPLIERS["expert"], 40) - optimal / 40) < 0.5


def test_candidates_are_counted() -> None:
    env = shared(TwentyQuestions, "default")
    begin(env, "whale")
    env.step(env.encode("Is it an animal?"))
    animals = env.oracle.read("Is it an animal?")
    assert animals is not None
    assert env.describe()["metrics"] == {"candidates": float(animals.mask.bit_count())}


def test_the_hard_tier_answers_what_a_thing_is_made_of() -> None:
    env = shared(TwentyQuestions, "hard")
    begin(env, "trumpet")
    assert say(env, "Is it an instrument?")[0] == "I can't answer that."
    assert "yes" in say(env, "Is it made of metal?")[0].lower()


def test_the_names_of_the_easy_tier_are_single_ids() -> None:
    env = shared(TwentyQuestions, "easy")
    assert all(len(env.tokenizer.encode(n)) == 1 for n in env.oracle.names)
