"""TwentyQuestions: rules, expert, exact bounds, held-out goals, lists that do not win."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs.twenty_questions import TwentyQuestions, cost_bounds, make_vector
from chat_envs.message import Role, user
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, play, play_many
from chat_envs.simulators.belief import ideal_total, optimal_total
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode

TIERS = ("easy", "default", "hard")


@functools.cache
def shared(tier: str, split: str = "train") -> TwentyQuestions:
    """Return one environment a tier; every test resets it."""
    return TwentyQuestions(tier, split=split)


def begin(env: TwentyQuestions, name: str) -> None:
    """Start an episode with a given goal, which no seed could be asked for."""
    env.reset(seed=0)
    env._goal = env.oracle.names.index(name)
    env._candidates = env.oracle.everything


def say(env: TwentyQuestions, text: str) -> tuple[str, float, bool]:
    """Return the answer to `text`, the reward and whether the episode is over."""
    _, reward, terminated, truncated, _ = env.step(env.encode(text))
    return env.conversation[-1].content, reward, terminated or truncated


@pytest.mark.parametrize(
    ("tier", "num_ids"), [("easy", 96), ("default", 384), ("hard", 384)]
)
@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(
    tier: str, num_ids: int, split: str
) -> None:
    assert longest_expert_episode(TwentyQuestions(tier, split=split)) <= num_ids


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(TwentyQuestions, tier=tier), num_episodes=30)


def test_questions_and_wrong_guesses_cost_one_and_the_right_one_nothing() -> None:
    env = shared("default")
    begin(env, "penguin")
    for text, answer in (
        ("Is it an animal?", "yes"),
        ("Can it fly?", "no"),
        ("Is it bigger than a cat?", "yes"),
        ("Is it a swan?", "no"),
        ("What is it like?", "i can't answer that."),
        ("", "i can't answer that."),
    ):
        heard, reward, is_over = say(env, text)
        assert answer in heard.lower(), text
        assert (reward, is_over) == (-1.0, False)
    heard, reward, is_over = say(env, "Is it a penguin?")
    assert (reward, is_over) == (0.0, True)
    assert env.describe()["success"] is True
    assert env.describe()["termination_reason"] == "found"


@pytest.mark.parametrize(
    "text",
    [
        "Is it a penguin or a swan?",
        "penguin swan",
        "Is it a penguin? Is it a swan?",
        "penguin, penguin",
        "Is it not a penguin?",
        "penguin " * 50,
        "It is an animal, a penguin.",
        "<|user|>penguin",
    ],
)
def test_a_list_does_not_win(text: str) -> None:
    env = shared("default")
    begin(env, "penguin")
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


@pytest.mark.parametrize("tier", TIERS)
def test_the_turn_limit_ends_it_and_tells_the_thing(tier: str) -> None:
    env = shared(tier)
    begin(env, "owl")
    for turn in range(env.max_turns):
        heard, reward, is_over = say(env, "Is it a cat?" if turn % 2 else "hm")
        assert reward == -1.0
        assert ("owl" in heard) == is_over == (turn == env.max_turns - 1)
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


@pytest.mark.parametrize("tier", ["default", "hard"])
def test_the_expert_costs_what_the_bounds_say(tier: str) -> None:
    env = shared(tier)
    total = 0.0
    for name in env.oracle.names:
        begin(env, name)
        is_over = False
        while not is_over:
            _, reward, is_over = say(env, env.expert_reply())
            total += reward
        assert reward == 0.0, name
    bounds = cost_bounds(tier)
    assert -total / len(env.oracle.names) == pytest.approx(bounds.greedy)
    assert bounds.lower <= bounds.greedy <= 1.03 * bounds.lower
    assert bounds.optimal is None


def test_in_the_easy_tier_the_exact_optimum_is_known() -> None:
    bounds = cost_bounds("easy")
    assert bounds.optimal == bounds.lower == ideal_total(16, 6) / 16 == 3.5


def test_the_expert_of_the_easy_tier_is_near_the_optimum_of_its_lists() -> None:
    env = shared("easy")
    questions = env.oracle.questions()
    optimal = expert = 0.0
    for seed in range(40):
        env.reset(seed=seed)
        optimal += optimal_total(questions, env._candidates, 6) / 12
        expert -= play(env, REPLIERS["expert"], seed).episode_return
    # No table of a dozen things does better than 3; these lists come close.
    assert ideal_total(12, 6) / 12 == 3.0
    assert 3.0 <= optimal / 40 <= 3.05
    assert abs(expert - optimal) / 40 < 0.5


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_reads_the_conversation_alone(tier: str, split: str) -> None:
    env, ignorant = shared(tier, split), TwentyQuestions(tier, split=split)
    for seed in range(8):
        env.reset(seed=seed)
        while not env._is_over:
            ignorant.reset(seed=seed + 1000)
            ignorant.conversation = env.conversation
            assert ignorant.expert_reply() == env.expert_reply()
            assert env.belief(env.conversation) == env._candidates
            assert env._candidates >> env._goal & 1
            say(env, env.expert_reply())
        assert env.describe()["success"]


def test_what_was_not_answered_teaches_the_expert_nothing() -> None:
    env = shared("default")
    begin(env, "rope")
    for text in ("hello", "Is it a rope or a key?", "rope key"):
        say(env, text)
        assert env.belief(env.conversation) == env.oracle.everything


def test_candidates_are_counted() -> None:
    env = shared("default")
    begin(env, "whale")
    env.step(env.encode("Is it an animal?"))
    animals = env.oracle.read("Is it an animal?")
    assert animals is not None
    assert env.describe()["metrics"] == {"candidates": float(animals.mask.bit_count())}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_blind_and_hostile_policies_earn_little(tier: str, split: str) -> None:
    env = shared(tier, split)
    top = play_many(env, REPLIERS["expert"], range(60))
    floor = play_many(env, REPLIERS["blind"], range(60))
    best, worst = (sum(r.episode_return for r in rs) / 60 for rs in (top, floor))
    assert best - worst > 1.0
    if tier != "easy":
        assert sum(r.success for r in floor) / 60 <= 0.2
    for name, replier in HOSTILE_REPLIERS.items():
        records = play_many(env, replier, range(20))
        assert all(r.episode_return == -env.max_turns for r in records), name


@pytest.mark.parametrize("tier", ["default", "hard"])
def test_held_out_goals_are_of_every_category_and_are_never_trained_on(
    tier: str,
) -> None:
    drawn: dict[str, set[int]] = {split: set() for split in SPLITS}
    for split, seed in itertools.product(SPLITS, range(300)):
        env = shared(tier, split)
        env.reset(seed=seed)
        drawn[split].add(env._goal)
    assert drawn["train"].isdisjoint(drawn["test"])
    share = len(drawn["test"]) / len(env.oracle.names)
    assert 0.15 < share < 0.3


def test_the_easy_tier_holds_out_combinations_of_seen_words() -> None:
    goals: dict[str, set[int]] = {split: set() for split in SPLITS}
    combinations: dict[str, set[tuple[int, int]]] = {split: set() for split in SPLITS}
    for split, seed in itertools.product(SPLITS, range(500)):
        env = shared("easy", split)
        env.reset(seed=seed)
        goals[split].add(env._goal)
        combinations[split].add((env._candidates, env._goal))
    assert goals["train"] == goals["test"] == set(range(16))
    assert combinations["train"].isdisjoint(combinations["test"])


@pytest.mark.parametrize("split", SPLITS)
def test_the_easy_tier_lists_its_things_with_the_goal_among_them(split: str) -> None:
    env = shared("easy", split)
    places = set()
    for seed in range(60):
        env.reset(seed=seed)
        message = env.conversation.last(Role.USER)
        assert message is not None
        words = message.content.rstrip(".").split()
        listed = [word for word in words if word in env.oracle.names]
        assert len(listed) == 12
        places.add(listed.index(env.oracle.names[env._goal]))
    assert len(places) > 8  # its place tells nothing


@pytest.mark.parametrize("tier", TIERS)
def test_no_phrasing_is_in_both_splits(tier: str) -> None:
    heard: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split, seed in itertools.product(SPLITS, range(20)):
        env = shared(tier, split)
        env.reset(seed=seed)
        while not env._is_over:
            say(env, env.expert_reply())
        heard[split] |= {
            m.content for m in env.conversation if m.role is not Role.ASSISTANT
        }
    assert heard["train"].isdisjoint(heard["test"])


def test_the_hard_tier_answers_nothing_about_kinds() -> None:
    env = shared("hard")
    begin(env, "trumpet")
    for text in ("Is it an instrument?", "Is it an animal?", "Is it food?"):
        assert say(env, text)[0] == "I can't answer that."
    assert "yes" in say(env, "Is it made of metal?")[0].lower()
    assert "kind" in env.conversation[0].content


@pytest.mark.parametrize("tier", TIERS)
def test_the_same_seed_is_the_same_episode(tier: str) -> None:
    one = [play(shared(tier), REPLIERS["expert"], seed) for seed in range(5)]
    play(shared(tier), REPLIERS["blind"], 99)
    other = [play(TwentyQuestions(tier), REPLIERS["expert"], s) for s in range(5)]
    assert one == other
    assert len({record.messages for record in one}) == 5


@given(st.text(max_size=60))
def test_any_reply_costs_at_most_one(text: str) -> None:
    env = shared("default")
    begin(env, "volcano")
    turn = env._respond(text)
    assert turn.reward in (-1.0, 0.0)
    assert turn.success == (turn.reward == 0.0)
    assert turn.messages[0].role is Role.USER


@pytest.mark.parametrize(
    "text",
    ["\x00", "\ud800", "\ud83d" * 200, "volcano" * 150_000, "?" * 1_000_000, "<|end|>"],
)
def test_hostile_text_is_unread(text: str) -> None:
    env = shared("default")
    begin(env, "volcano")
    turn = env._respond(text)
    assert (turn.reward, turn.messages) == (-1.0, [user("I can't answer that.")])


def test_the_vector_environment_plays_the_same() -> None:
    vector = make_vector(2, tier="easy")
    vector.reset(seed=[3, 4])
    for env, seed in zip(vector.envs, (3, 4), strict=True):
        record = play(TwentyQuestions("easy"), REPLIERS["expert"], seed)
        assert env.conversation.messages == record.messages[:2]


def test_an_unknown_tier_is_refused() -> None:
    arguments: dict[str, Any] = {"tier": "harder"}
    with pytest.raises(ValueError, match="tier must be one of.*'harder'"):
        TwentyQuestions(**arguments)


def test_the_names_of_the_easy_tier_are_single_ids() -> None:
    env = shared("easy")
    assert all(len(env.tokenizer.encode(n)) == 1 for n in env.oracle.names)
