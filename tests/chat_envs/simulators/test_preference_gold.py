"""The gold rule: what it gives each reply, and that the splits share parts but no whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.simulators.combination import is_held_out
from chat_envs.simulators.preference_gold import draw_pairs, load_catalogue
from chat_envs.simulators.stream import Stream

CATALOGUE = load_catalogue()


@pytest.mark.parametrize(
    ("reply", "gold"),
    [
        ("Your cat needs fish.", 1.0),
        ("GIVE YOUR CAT MILK", 1.0),
        ("It likes fish and milk.", 1.0),
        ("Try fish.", 0.8),  # two words
        ("Your cat wants fish.", 0.8),  # no advice
        ("Give fish fish.", 0.8),  # a word twice
        ("fish", 0.6),
        ("fish fish fish", 0.6),
        ("fish and milk or sun in the house of the cat now", 0.6),
        ("", 0.0),
        ("Your cat needs love.", 0.0),
        ("Your dog needs a bone.", 0.0),
        ("Your cat needs fish, not a bone.", 0.0),
        ("Your cat needs fishes.", 0.0),
        ("fish " * 401, 0.0),
    ],
)
def test_what_the_rule_gives(reply: str, gold: float) -> None:
    assert CATALOGUE.gold("cat", reply) == pytest.approx(gold)


@given(st.text(max_size=300), st.sampled_from(CATALOGUE.topics))
def test_gold_is_one_of_four_values(reply: str, topic: str) -> None:
    assert CATALOGUE.gold(topic, reply) in (0.0, 0.6, 0.8, 1.0)


def test_no_word_helps_two_topics_and_none_is_a_topic() -> None:
    words = [word for helpful in CATALOGUE.helpful.values() for word in helpful]
    assert len(words) == len(set(words)) == 3 * len(CATALOGUE.topics)
    assert not set(words) & set(CATALOGUE.topics)
    assert not set(words) & set(CATALOGUE.noise)


@pytest.mark.parametrize("split", SPLITS)
def test_a_good_reply_is_good_for_every_draw(split: str) -> None:
    for topic in CATALOGUE.topics:
        grid = [(k + 0.5) / 12 for k in range(12)]
        replies = {
            CATALOGUE.draw_good_reply(topic, Stream([a, b, 0.0]), split)
            for a in grid
            for b in grid
        }
        assert len(replies) == (6 if split == "test" else 12)
        assert {CATALOGUE.gold(topic, reply) for reply in replies} == {1.0}


def test_good_replies_of_the_test_split_are_unseen() -> None:
    replies: dict[str, set[str]] = {split: set() for split in SPLITS}
    grid = [(k + 0.5) / 12 for k in range(12)]
    for split in SPLITS:
        for topic in CATALOGUE.topics:
            replies[split] |= {
                CATALOGUE.draw_good_reply(topic, Stream([a, b, 0.0]), split)
                for a in grid
                for b in grid
            }
    assert replies["train"].isdisjoint(replies["test"])
    words = {
        s: {w.strip(".") for reply in replies[s] for w in reply.split()} for s in SPLITS
    }
    assert words["test"] == words["train"]


def test_prompts_of_the_test_split_are_unseen_combinations() -> None:
    prompts: dict[str, set[str]] = {split: set() for split in SPLITS}
    topics: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        draws = Stream([0.1, 0.2])
        for _ in range(3000):
            topic, text = CATALOGUE.draw_prompt(draws, split)
            assert CATALOGUE.topic_of(text) == topic
            assert CATALOGUE.gold(topic, text) == 0.0
            prompts[split].add(text)
            topics[split].add(topic)
    assert prompts["train"].isdisjoint(prompts["test"])
    assert topics["train"] == topics["test"] == set(CATALOGUE.topics)
    assert is_held_out([0, 0, 0, 0])


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("My CAT!", "cat"),
        ("catalogue", None),
        ("cat or dog", None),
        ("", None),
        ("x" * 2000 + " cat", None),
    ],
)
def test_one_topic_is_found(text: str, topic: str | None) -> None:
    assert CATALOGUE.topic_of(text) == topic


@pytest.mark.parametrize("split", SPLITS)
def test_pairs_are_labelled_by_the_rule(split: str) -> None:
    pairs = draw_pairs(300, 7, split)
    assert len(pairs) == 300
    for pair in pairs:
        topic = CATALOGUE.topic_of(pair.prompt)
        assert topic is not None
        chosen, rejected = (
            CATALOGUE.gold(topic, reply) for reply in (pair.chosen, pair.rejected)
        )
        assert chosen > rejected
    assert pairs == draw_pairs(300, 7, split)
    assert pairs != draw_pairs(300, 8, split)


def test_pairs_are_of_many_kinds() -> None:
    kinds = set()
    for pair in draw_pairs(600, 7, "train"):
        topic = CATALOGUE.topic_of(pair.prompt)
        assert topic is not None
        kinds.add(
            (CATALOGUE.gold(topic, pair.chosen), CATALOGUE.gold(topic, pair.rejected))
        )
    assert kinds == {(a, b) for a in (0.6, 0.8, 1.0) for b in (0.0, 0.6, 0.8) if a > b}
