"""TwentyQuestions and GuessPlace: rules, expert, exact bounds, tiers, lists that do not win."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.message import Role, assistant, user
from chat_envs.replier import REPLIERS, play
from chat_envs.simulators.belief import greedy_total
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode
from tests.chat_envs.envs.quiz import (
    LARGE_TIERS,
    QUIZZES,
    TIERS,
    UNREAD,
    Quiz,
    begin,
    play_expert,
    say,
    shared,
)

each_quiz = pytest.mark.parametrize("quiz", QUIZZES, ids=str)


@pytest.mark.parametrize(
    ("tier", "num_ids"), [("easy", 96), ("default", 384), ("hard", 384)]
)
@pytest.mark.parametrize("split", SPLITS)
@each_quiz
def test_a_small_model_has_room_for_an_episode(
    quiz: Quiz, tier: str, num_ids: int, split: str
) -> None:
    env = shared(quiz.env_class, tier, split)
    assert longest_expert_episode(env) <= num_ids


@pytest.mark.parametrize("tier", TIERS)
@each_quiz
def test_it_keeps_the_contract(quiz: Quiz, tier: str) -> None:
    check_chat_env(functools.partial(quiz.env_class, tier=tier), num_episodes=30)


@each_quiz
def test_questions_and_wrong_guesses_cost_one_and_the_right_one_nothing(
    quiz: Quiz,
) -> None:
    env = shared(quiz.env_class, "default")
    begin(env, quiz.goal)
    for text, answer in quiz.talk:
        heard, reward, is_over = say(env, text)
        assert answer.lower() in heard.lower(), text
        assert (reward, is_over) == (-1.0, False)
        assert env.describe()["success"] is False
    guess = env.oracle.guesses[env._goal]
    assert quiz.goal in guess
    heard, reward, is_over = say(env, guess)
    assert (reward, is_over) == (0.0, True)
    assert env.describe()["success"] is True
    assert env.describe()["termination_reason"] == "found"


@pytest.mark.parametrize(
    ("quiz", "text"), [(quiz, text) for quiz in QUIZZES for text in quiz.lists], ids=str
)
def test_a_list_does_not_win(quiz: Quiz, text: str) -> None:
    env = shared(quiz.env_class, "default")
    begin(env, quiz.goal)
    heard, reward, is_over = say(env, text)
    assert heard == UNREAD
    assert (reward, is_over) == (-1.0, False)


@pytest.mark.parametrize("tier", TIERS)
@each_quiz
def test_the_list_of_everything_never_wins(quiz: Quiz, tier: str) -> None:
    env = shared(quiz.env_class, tier)
    everything = " ".join(env.candidate_replies())
    for name in env.oracle.names:
        assert name in everything
        begin(env, name)
        assert not env._respond(everything).success
        assert not env._respond(everything[:200]).success


@pytest.mark.parametrize("tier", TIERS)
@each_quiz
def test_the_turn_limit_is_told_and_ends_it_and_tells_the_goal(
    quiz: Quiz, tier: str
) -> None:
    env = shared(quiz.env_class, tier)
    begin(env, quiz.small_goal)
    assert f"You have {env.max_turns} turns" in env.conversation[0].content
    for turn in range(env.max_turns):
        heard, reward, is_over = say(env, quiz.wrong_guess if turn % 2 else "hm")
        assert reward == -1.0
        is_last = turn == env.max_turns - 1
        assert heard.endswith(quiz.lost) == (quiz.lost in heard) == is_last == is_over
    info = env.describe()
    assert (info["termination_reason"], info["success"]) == ("turn_limit", False)


@each_quiz
def test_another_turn_limit_is_told_and_kept(quiz: Quiz) -> None:
    env = quiz.env_class("default", max_turns=3)
    env.reset(seed=0)
    assert "You have 3 turns" in env.conversation[0].content
    assert [say(env, "hm")[2] for _ in range(3)] == [False, False, True]


@each_quiz
def test_the_last_answer_is_true_and_the_goal_is_told_after_it(quiz: Quiz) -> None:
    env = quiz.env_class("default", max_turns=1)
    begin(env, quiz.small_goal)
    heard, _, is_over = say(env, quiz.kinds[0])
    assert "yes" in heard.lower() and heard.endswith(quiz.lost)
    assert is_over


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
@each_quiz
def test_a_long_reply_in_every_turn_truncates_nothing(
    quiz: Quiz, tier: str, split: str
) -> None:
    # A truncated episode would cost fewer turns than an honest one.
    env = shared(quiz.env_class, tier, split)
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
@each_quiz
def test_the_expert_finds_everything_at_the_cost_of_the_bounds(
    quiz: Quiz, tier: str
) -> None:
    env = shared(quiz.env_class, tier)
    total = 0.0
    for name in env.oracle.names:
        begin(env, name)
        total += play_expert(env)
        for message in env.conversation:
            if message.role is Role.ASSISTANT:
                assert len(env.tokenizer.encode(message.content)) < env.reply_length
    bounds = quiz.cost_bounds(tier)
    assert total / len(env.oracle.names) == pytest.approx(bounds.greedy)
    assert bounds.lower <= bounds.greedy
    assert bounds.optimal is None


@pytest.mark.parametrize("tier", LARGE_TIERS)
@each_quiz
def test_what_the_expert_never_asks_would_change_nothing(quiz: Quiz, tier: str) -> None:
    env = shared(quiz.env_class, tier)
    everything, asked = env.oracle.everything, env._game.questions
    every = [predicate.mask for predicate in env.oracle.predicates]
    assert len(asked) < len(every)
    assert set(asked) <= set(every)
    assert all(everything & ~mask not in asked for mask in asked)
    assert greedy_total(every, everything, 20) == greedy_total(
        list(asked), everything, 20
    )


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
@each_quiz
def test_the_expert_reads_the_conversation_alone(
    quiz: Quiz, tier: str, split: str
) -> None:
    env = shared(quiz.env_class, tier, split)
    ignorant = quiz.env_class(tier, split=split)
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


@each_quiz
def test_what_was_not_answered_teaches_the_expert_nothing(quiz: Quiz) -> None:
    env = shared(quiz.env_class, "default")
    begin(env, quiz.small_goal)
    for text in quiz.unreadable:
        say(env, text)
        assert env.belief(env.conversation) == env.oracle.everything


@each_quiz
def test_a_forged_answer_in_a_reply_teaches_the_expert_nothing(quiz: Quiz) -> None:
    env = shared(quiz.env_class, "default")
    begin(env, quiz.small_goal)
    question = quiz.kinds[0]
    forged = (assistant(f"{question}\nuser: Yes."), user(UNREAD))
    assert env.belief(env.conversation + forged) == env.oracle.everything
    told = env.conversation + (assistant(question), user("Yes."))
    query = env.oracle.read(question)
    assert query is not None
    assert env.belief(told) == query.mask


@each_quiz
def test_the_hard_tier_answers_nothing_about_kinds(quiz: Quiz) -> None:
    env = shared(quiz.env_class, "hard")
    begin(env, quiz.goal)
    for text in quiz.kinds:
        assert say(env, text)[0] == UNREAD
    assert "yes" in say(env, quiz.plain)[0].lower()
    assert quiz.kind_word in env.conversation[0].content


@pytest.mark.parametrize("tier", TIERS)
@each_quiz
def test_every_answer_is_yes_or_no_and_not_both(quiz: Quiz, tier: str) -> None:
    phrases = shared(quiz.env_class, tier)._game.phrases
    for is_true, by_split in phrases.answers.items():
        for text in [*by_split["train"], *by_split["test"]]:
            assert phrases.is_yes[text] is is_true
            assert ("yes" in text.lower()) is is_true
            assert ("no" in text.lower()) is not is_true


@each_quiz
@given(text=st.text(max_size=60))
def test_any_reply_costs_at_most_one(quiz: Quiz, text: str) -> None:
    env = shared(quiz.env_class, "default")
    begin(env, quiz.goal)
    turn = env._respond(text)
    assert turn.reward in (-1.0, 0.0)
    assert turn.success == (turn.reward == 0.0)
    assert turn.messages[0].role is Role.USER


@each_quiz
@given(
    place=st.integers(0, 1000),
    choices=st.lists(st.integers(0, 1000), max_size=19),
)
def test_true_answers_never_exclude_the_goal(
    quiz: Quiz, place: int, choices: list[int]
) -> None:
    env = shared(quiz.env_class, "default")
    env.reset(seed=1)
    goal = env._goal = place % len(env.oracle.names)
    before = env._candidates = env.oracle.everything
    questions = list(env._game.questions.values())
    for choice in choices:
        env._respond(questions[choice % len(questions)])
        assert env._candidates >> goal & 1
        assert env._candidates & ~before == 0
        before = env._candidates


@pytest.mark.parametrize(
    "text",
    ["\x00", "\ud800", "\ud83d" * 200, "{}" * 200_000, "?" * 1_000_000, "<|end|>"],
)
@each_quiz
def test_hostile_text_is_unread(quiz: Quiz, text: str) -> None:
    env = shared(quiz.env_class, "default")
    begin(env, quiz.goal)
    turn = env._respond(text.replace("{}", quiz.goal))
    assert (turn.reward, turn.messages) == (-1.0, [user(UNREAD)])


@each_quiz
def test_the_vector_environment_plays_the_same(quiz: Quiz) -> None:
    vector = quiz.make_vector(2, tier="easy")
    vector.reset(seed=[3, 4])
    for env, seed in zip(vector.envs, (3, 4), strict=True):
        record = play(quiz.env_class("easy"), REPLIERS["expert"], seed)
        assert env.conversation.messages == record.messages[:2]


@each_quiz
def test_an_unknown_tier_is_refused(quiz: Quiz) -> None:
    arguments: dict[str, Any] = {"tier": "harder"}
    with pytest.raises(ValueError, match="tier must be one of.*'harder'"):
        quiz.env_class(**arguments)
    with pytest.raises(ValueError, match="tier must be one of.*'harder'"):
        quiz.cost_bounds("harder")
