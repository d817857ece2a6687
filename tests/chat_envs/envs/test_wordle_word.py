"""Wordle's words and marks: the lists, what is held out, and marks against marks by hand."""

from __future__ import annotations

import itertools
import string
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs._wordle_word import (
    answer_matrix,
    data,
    game,
    marks_of,
    split_words,
    word_list,
)
from tests.chat_envs.envs.spelling import TIERS, hints_in, marked, say, shared


@pytest.mark.parametrize("num_letters", [3, 5])
def test_the_words_are_plain_distinct_and_sorted(num_letters: int) -> None:
    words = word_list(num_letters)
    assert sorted(set(words)) == list(words)
    for word in words:
        assert len(word) == num_letters
        assert set(word) <= set(string.ascii_lowercase)
    assert len(words) == {3: 62, 5: 1296}[num_letters]


def test_the_easy_words_have_ten_letters_between_them() -> None:
    assert len(set("".join(word_list(3)))) == 10


@pytest.mark.parametrize("num_letters", [3, 5])
def test_held_out_words_are_unseen_combinations_of_seen_letters(
    num_letters: int,
) -> None:
    pools = split_words(num_letters)
    train, test = pools["train"], pools["test"]
    assert set(train).isdisjoint(test)
    assert sorted((*train, *test)) == list(word_list(num_letters))
    seen = {pair for word in train for pair in enumerate(word)}
    assert all(pair in seen for word in test for pair in enumerate(word))
    assert 0.15 < len(test) / len(word_list(num_letters)) < 0.3


@pytest.mark.parametrize("tier", TIERS)
def test_each_split_draws_its_own_goals_and_all_of_them(tier: str) -> None:
    pools = split_words(TIERS[tier])
    for split in SPLITS:
        env = shared(tier, split)
        drawn = set()
        for seed in range(300):
            env.reset(seed=seed)
            drawn.add(env._goal)
        assert drawn <= set(pools[split])
        if tier == "easy":
            assert drawn == set(pools[split])


@pytest.mark.parametrize(
    ("guess", "goal", "marks"),
    [
        ("crane", "crane", [2, 2, 2, 2, 2]),
        ("crane", "hotel", [0, 0, 0, 0, 1]),
        ("speed", "abide", [0, 0, 1, 0, 1]),
        ("speed", "erase", [1, 0, 1, 1, 0]),
        ("speed", "steal", [2, 0, 2, 0, 0]),
        ("speed", "crepe", [0, 1, 2, 1, 0]),
        ("llama", "label", [2, 1, 1, 0, 0]),
        ("eerie", "where", [1, 0, 1, 0, 2]),
        ("tot", "ton", [2, 2, 0]),
        ("ton", "not", [1, 2, 1]),
    ],
)
def test_marks_of_known_pairs(guess: str, goal: str, marks: list[int]) -> None:
    assert marked(guess, goal) == marks
    answers = answer_matrix([guess, goal])
    assert marks_of(int(answers[0, 1]), len(guess)) == marks


few_letters = st.text("abc", min_size=4, max_size=4)


@given(st.lists(few_letters, min_size=1, max_size=6))
def test_a_letter_is_marked_as_often_as_the_goal_has_it(words: list[str]) -> None:
    answers = answer_matrix(words)
    for (i, guess), (j, goal) in itertools.product(enumerate(words), repeat=2):
        marks = marks_of(int(answers[i, j]), 4)
        assert marks == marked(guess, goal)
        told = Counter(letter for letter, mark in zip(guess, marks) if mark)
        assert told == Counter(guess) & Counter(goal)


@pytest.mark.parametrize("num_letters", [3, 5])
def test_the_whole_table_is_as_a_person_would_mark_it(num_letters: int) -> None:
    words, answers = word_list(num_letters), game(num_letters).answers
    pairs = np.random.default_rng(5).integers(0, len(words), (3000, 2)).tolist()
    for i, j in pairs:
        assert marks_of(int(answers[i, j]), num_letters) == marked(words[i], words[j])


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_every_letter_of_a_guess_is_marked(tier: str, split: str) -> None:
    env = shared(tier, split)
    names = data()["marks"]
    for seed in range(25):
        env.reset(seed=seed)
        guess = env.words[(7 * seed) % len(env.words)]
        heard, _, is_over = say(env, guess)
        if not is_over:
            expected = [(a, names[m]) for a, m in zip(guess, marked(guess, env._goal))]
            assert hints_in(heard) == expected
