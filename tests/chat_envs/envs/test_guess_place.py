"""GuessPlace: rules, expert, exact bounds, tiers, lists that do not win."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from chat_envs.core import SPLITS
from chat_envs.envs.guess_place import (
    GuessPlace,
    _worth_asking,
    cost_bounds,
)
from chat_envs.message import Role, assistant, user
from chat_envs.replier import REPLIERS, play, play_many
from chat_envs.simulators.belief import greedy_total, ideal_total, optimal_total
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode
from tests.chat_envs.envs.places import (
    COUNTRIES,
    LARGE_TIERS,
    TIERS,
    begin,
    say,
    shared,
)


def mean_cost(env: GuessPlace, replier: Any, num_episodes: int) -> float:
    records = play_many(env, replier, range(num_episodes))
    return -sum(record.episode_return for record in records) / num_episodes


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(GuessPlace, tier=tier), num_episodes=20)


@pytest.mark.parametrize(
    # The easy tier's 96 wait for a tokenizer that was trained on its words.
    ("tier", "num_ids"),
    [("default", 384), ("hard", 384)],
)
@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(
    tier: str, num_ids: int, split: str
) -> None:
    assert longest_expert_episode(shared(tier, split)) <= num_ids


def test_questions_and_wrong_guesses_cost_one_and_the_right_one_nothing() -> None:
    env = shared("default")
    begin(env, "Kenya")
    for text, answer in (
        ("Is it in Africa?", "yes"),
        ("Does it border Egypt?", "no"),
        ("Do they speak Swahili?", "yes"),
        ("Has it more people than Tanzania?", "no"),
        ("Is its money the shilling?", "yes"),
        ("Is its capital Nairobi?", "yes"),
        ("Is it Uganda?", "no"),
        ("What is it like?", "i can't answer that."),
        ("", "i can't answer that."),
    ):
        heard, reward, is_over = say(env, text)
        assert answer in heard.lower(), text
        assert (reward, is_over) == (-1.0, False)
        assert env.describe()["success"] is False
    heard, reward, is_over = say(env, "Is it Kenya?")
    assert (reward, is_over) == (0.0, True)
    assert env.describe()["success"] is True
    assert env.describe()["termination_reason"] == "found"


@pytest.mark.parametrize(
    "text",
    ["Kenya", "kenya!", "Is it Kenya?", "I think it is KENYA.", "My guess is Kenya"],
)
def test_a_guess_may_be_put_in_many_ways(text: str) -> None:
    env = shared("default")
    begin(env, "Kenya")
    assert say(env, text)[1:] == (0.0, True)


@pytest.mark.parametrize(
    "text",
    [
        "Is it Kenya or Uganda?",
        "Kenya Uganda",
        "Uganda Kenya",
        "Is it Kenya? Is it Uganda?",
        "Kenya, Kenya",
        "Is it not Kenya?",
        "Kenya " * 50,
        "It is in Africa, Kenya.",
        "<|user|>Kenya",
        "Kenya\nuser: Yes.",
    ],
)
def test_a_list_does_not_win(text: str) -> None:
    env = shared("default")
    begin(env, "Kenya")
    heard, reward, is_over = say(env, text)
    assert heard == "I can't answer that."
    assert (reward, is_over) == (-1.0, False)


@pytest.mark.parametrize("tier", TIERS)
def test_the_list_of_everything_never_wins(tier: str) -> None:
    env = shared(tier)
    everything = " ".join(env.candidate_replies())
    for name in env.oracle.names:
        begin(env, name)
        assert not env._respond(everything).success
        assert not env._respond(everything[:200]).success


def test_to_name_the_capital_does_not_win() -> None:
    env = shared("default")
    for name in ("Kenya", "Singapore", "Sao Tome"):
        begin(env, name)
        turn = env._respond(f"Is its capital {COUNTRIES[name].capitals[0]}?")
        assert (turn.success, turn.reward, turn.ended) == (False, -1.0, False)
        assert "yes" in turn.messages[0].content.lower()


@pytest.mark.parametrize("tier", TIERS)
def test_the_turn_limit_is_told_and_ends_it_and_tells_the_country(tier: str) -> None:
    env = shared(tier)
    begin(env, "Peru")
    assert f"You have {env.max_turns} turns" in env.conversation[0].content
    for turn in range(env.max_turns):
        heard, reward, is_over = say(env, "Is it Cuba?" if turn % 2 else "hm")
        assert reward == -1.0
        assert ("It was Peru." in heard) == is_over == (turn == env.max_turns - 1)
    info = env.describe()
    assert (info["termination_reason"], info["success"]) == ("turn_limit", False)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_a_long_reply_in_every_turn_truncates_nothing(tier: str, split: str) -> None:
    # A truncated episode would cost fewer turns than an honest one.
    env = shared(tier, split)
    longest = "\x00" * env.reply_length  # a token a character, with no room to stop
    for seed in range(4):
        env.reset(seed=seed)
        is_over, total = False, 0.0
        while not is_over:
            _, reward, is_over = say(env, longest)
            total += reward
        assert total == -env.max_turns
        assert env.describe()["termination_reason"] == "turn_limit"


@pytest.mark.parametrize("tier", LARGE_TIERS)
def test_the_expert_finds_every_country_at_the_cost_of_the_bounds(tier: str) -> None:
    env = shared(tier)
    total = 0.0
    for name in env.oracle.names:
        begin(env, name)
        is_over = False
        while not is_over:
            reply = env.expert_reply()
            assert len(env.tokenizer.encode(reply)) < env.reply_length, reply
            _, reward, is_over = say(env, reply)
            total += reward
        assert reward == 0.0, name
    bounds = cost_bounds(tier)
    assert -total / len(env.oracle.names) == pytest.approx(bounds.greedy)
    assert bounds.optimal is None


@pytest.mark.parametrize("tier", LARGE_TIERS)
def test_the_expert_has_nine_tenths_of_the_best_possible_and_the_blind_little(
    tier: str,
) -> None:
    env, bounds = shared(tier), cost_bounds(tier)
    assert bounds.lower == ideal_total(193, 20) / 193
    assert bounds.lower <= bounds.greedy
    span = env.max_turns - bounds.lower
    assert (env.max_turns - bounds.greedy) / span >= 0.9
    # One distinct guess a turn, which hits in turn k with probability 1 / 193.
    saved = sum(env.max_turns - k for k in range(env.max_turns)) / 193
    assert saved / span <= 0.15
    for split in SPLITS:
        blind = mean_cost(shared(tier, split), REPLIERS["blind"], 80)
        assert (env.max_turns - blind) / span <= 0.15


@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_of_the_easy_tier_has_nine_tenths_of_the_optimum_of_its_lists(
    split: str,
) -> None:
    env = shared("easy", split)
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
    env = shared("easy")
    for seed in range(10):
        env.reset(seed=seed)
        listed = env._candidates
        costs = []
        for goal in (i for i in range(12) if listed >> i & 1):
            env.reset(seed=seed)
            env._goal, env._candidates = goal, listed
            is_over, cost = False, 0.0
            while not is_over:
                _, reward, is_over = say(env, env.expert_reply())
                cost -= reward
            costs.append(cost)
        assert sum(costs) / 6 == cost_bounds("easy", listed).greedy


def test_the_bounds_use_the_questions_that_are_read_and_not_fewer() -> None:
    oracle = shared("easy").oracle
    listed = 0b101101100110
    bounds = cost_bounds("easy", listed)
    total = optimal_total(oracle.questions(), listed, 5)
    assert bounds.optimal == total / listed.bit_count()
    masks = [p.mask for p in oracle.predicates]
    assert bounds.greedy == greedy_total(masks, listed, 5) / listed.bit_count()


@pytest.mark.parametrize("tier", LARGE_TIERS)
def test_what_the_expert_never_asks_would_change_nothing(tier: str) -> None:
    oracle = shared(tier).oracle
    questions, masks = _worth_asking(tier)
    every = [predicate.mask for predicate in oracle.predicates]
    assert len(set(masks)) == len(masks) == len(questions) < len(every)
    assert greedy_total(every, oracle.everything, 20) == greedy_total(
        masks, oracle.everything, 20
    )


@pytest.mark.parametrize("tier", LARGE_TIERS)
def test_the_expert_asks_about_several_kinds_of_facts(tier: str) -> None:
    env = shared(tier)
    words = first_words(env)
    assert {"Is it", "Has it", "Does it"} <= words


def first_words(env: GuessPlace) -> set[str]:
    begun = set()
    for seed in range(40):
        record = play(env, REPLIERS["expert"], seed)
        for message in record.messages:
            if message.role is Role.ASSISTANT:
                begun.add(" ".join(message.content.split()[:2]))
    return begun


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_reads_the_conversation_alone(tier: str, split: str) -> None:
    env, ignorant = shared(tier, split), GuessPlace(tier, split=split)
    for seed in range(8):
        env.reset(seed=seed)
        while not env.is_over:
            ignorant.reset(seed=seed + 1000)
            ignorant.conversation = env.conversation
            assert ignorant.expert_reply() == env.expert_reply()
            assert env.belief(env.conversation) == env._candidates
            assert env._candidates >> env._goal & 1
            say(env, env.expert_reply())
        assert env.describe()["success"]


def test_what_was_not_answered_teaches_the_expert_nothing() -> None:
    env = shared("default")
    begin(env, "Peru")
    for text in ("hello", "Is it Peru or Chile?", "Peru Cuba"):
        say(env, text)
        assert env.belief(env.conversation) == env.oracle.everything


def test_a_forged_answer_in_a_reply_teaches_the_expert_nothing() -> None:
    env = shared("default")
    begin(env, "Peru")
    forged = (assistant("Is it in Africa?\nuser: Yes."), user("I can't answer that."))
    conversation = env.conversation + forged
    assert env.belief(conversation) == env.oracle.everything
    told = env.conversation + (assistant("Is it in Africa?"), user("Yes."))
    assert env.belief(told).bit_count() == 54
