"""Wordle: the contract, what is told, what a try costs, and what is a guess."""

from __future__ import annotations

import functools
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs._wordle_word import word_list
from chat_envs.envs.wordle import Wordle, read_word
from chat_envs.message import Role, user
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode
from tests.chat_envs.envs.reader_recall import reader_recalls
from tests.chat_envs.envs.spelling import TIERS, begin, say, shared

UNREAD = "Sorry, I did not get that."


@pytest.mark.parametrize(
    ("tier", "num_ids"), [("easy", 96), ("default", 384), ("hard", 384)]
)
@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(
    tier: str, num_ids: int, split: str
) -> None:
    assert longest_expert_episode(Wordle(tier, split=split)) <= num_ids


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(Wordle, tier=tier), num_episodes=20)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_opening_tells_letters_turns_and_marks(tier: str, split: str) -> None:
    env = shared(tier, split)
    for seed in range(20):
        env.reset(seed=seed)
        rules, question = env.conversation
        assert (rules.role, question.role) == (Role.SYSTEM, Role.USER)
        assert "6 turns" in rules.content
        assert f"{TIERS[tier]} letters" in rules.content
        for mark in ("yes:", "near:", "no:"):
            assert mark in rules.content
        assert ("told:" in rules.content) == (tier == "hard")


def test_a_try_costs_one_and_the_solving_one_nothing() -> None:
    env = shared("default")
    begin(env, "crane")
    for text, answer in (
        ("house", "h no o no u no s no e yes"),
        ("r a n g e", "r near a near n near g no e yes"),
        ("Is it brace?", "b no r yes a yes c near e yes"),
        ("qqqqq", "I do not know that word."),
        ("cranes", "My word has 5 letters."),
    ):
        heard, reward, is_over = say(env, text)
        assert answer in heard, text
        assert (reward, is_over) == (-1.0, False)
    heard, reward, is_over = say(env, "C R A N E!")
    assert (heard, reward, is_over) == ("Yes!", 0.0, True)
    info = env.describe()
    assert (info["success"], info["termination_reason"]) == (True, "found")
    assert info["metrics"] == {"candidates": 1.0, "invalid": 2.0}


@pytest.mark.parametrize("tier", TIERS)
def test_the_sixth_try_ends_it_and_tells_the_word(tier: str) -> None:
    env = shared(tier)
    goal = env.words[0]
    begin(env, goal)
    for turn in range(6):
        heard, reward, is_over = say(env, "hm?" if turn % 2 else env.words[turn + 1])
        assert reward == -1.0
        assert heard.endswith(f"It was {' '.join(goal)}.") == is_over == (turn == 5)
    info = env.describe()
    assert (info["termination_reason"], info["success"]) == ("turn_limit", False)


def test_the_sixth_try_may_solve_it() -> None:
    env = shared("default")
    begin(env, "zebra")
    for _ in range(5):
        say(env, "house")
    assert say(env, "zebra") == ("Yes!", 0.0, True)
    assert env.describe()["termination_reason"] == "found"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("house", "house"),
        ("h o u s e", "house"),
        ("H O U S E", "house"),
        ("h, o, u, s, e.", "house"),
        ("h-o-u-s-e", "house"),
        ("H.O.U.S.E", "house"),
        ("**house**", "house"),
        ('"house"', "house"),
        ("House!", "house"),
        ("I guess house", "house"),
        ("Well, I'll try h o u s e please", "house"),
        ("is it house?", "house"),
        ("guess", "guess"),
        ("guess: guess", "guess"),
        ("right", "right"),
        ("a", "a"),
        ("houses", "houses"),
        ("house house", None),
        ("house mouse", None),
        ("h o u s e m o u s e", "housemouse"),
        ("house or mouse", None),
        ("not house", None),
        ("hou se", None),
        ("house h", None),
        ("house1", None),
        ("1. house", None),
        ("user: house", None),
        ("<|user|>house", None),
        ("h\u00f6use", None),
        ("", None),
        ("?", None),
        ("the word is not house", None),
        ("house" + " " * 1_000_000, None),
        ("h" * 1_000_000, None),
    ],
)
def test_a_guess_is_exactly_one_word(text: str, word: str | None) -> None:
    assert read_word(text) == word


def test_other_ways_to_say_a_guess_are_read() -> None:
    (recall,) = reader_recalls("Wordle")
    assert recall.num_asked == 20
    assert recall.share >= 0.9, recall.missed


@given(st.text(max_size=220))
def test_any_text_is_read_without_an_error(text: str) -> None:
    word = read_word(text)
    assert word is None or set(word) <= set(string.ascii_lowercase)


guesses = st.sampled_from(word_list(5))


@given(guesses, guesses)
def test_two_words_are_never_one_guess(one: str, other: str) -> None:
    begin(shared("default"), one)
    for text in (f"{one} {other}", f"{one}, {other}", f"{one}\n{other}"):
        word = read_word(text)
        if word is not None:  # "guess house" introduces a guess, it lists no two
            assert one in ("guess", "right") or other == "right"
            assert word in (one, other)


@pytest.mark.parametrize("tier", TIERS)
def test_the_list_of_all_words_never_wins(tier: str) -> None:
    env = shared(tier)
    everything = " ".join(env.candidate_replies())
    for goal in env.words[:100]:
        begin(env, goal)
        for text in (everything, everything[:100], f"{goal} {goal}"):
            turn = env._respond(text)
            assert not turn.success
            assert turn.messages == [user(UNREAD)]


@pytest.mark.parametrize(
    "text",
    ["\x00", "\ud800", "\ud83d" * 200, "house" * 150_000, "?" * 1_000_000, "<|end|>"],
)
def test_hostile_text_is_unread(text: str) -> None:
    env = shared("default")
    begin(env, "house")
    turn = env._respond(text)
    assert turn.messages == [user(UNREAD)]
    assert not turn.success


@given(st.text(max_size=60))
def test_any_reply_costs_at_most_one(text: str) -> None:
    env = shared("default")
    begin(env, "vague")
    turn = env._respond(text)
    assert isinstance(turn.reward, dict)
    assert turn.reward["task"] in (-1.0, 0.0)
    assert turn.success == (turn.reward["task"] == 0.0)
