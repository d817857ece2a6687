"""The user of `SocialChat`: goals, words, what it credits, what it answers, when it leaves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs._social_chat_companion import Companion
from chat_envs.envs._social_chat_language import combine, data, language
from chat_envs.envs._social_chat_partner import (
    TIERS,
    draw_topics,
    is_held_out,
)
from chat_envs.message import Conversation, assistant, user
from chat_envs.simulators.stream import split_streams
from tests.chat_envs.envs.chatter import drawn, expecting, hear, say, steady

LANGUAGES = ["easy", "default"]


# Goals and phrases ---------------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_topics_belong_to_their_split_and_none_comes_twice(
    tier: str, split: str
) -> None:
    words = language(TIERS[tier].language, split)
    seen = set()
    for seed in range(300):
        (rng,) = split_streams(np.random.default_rng(seed), 1)
        topics = draw_topics(TIERS[tier], words, split, rng)
        assert len(topics) == TIERS[tier].num_topics
        assert len({topic.thing for topic in topics}) == len(topics)
        assert len({topic.emotion for topic in topics}) == len(topics)
        low, high = TIERS[tier].interest
        for topic in topics:
            thing = words.things.index(topic.thing)
            emotion = words.emotions.index(topic.emotion)
            assert is_held_out(thing, emotion) == (split == "test")
            assert low <= topic.interest <= high
            assert set(topic.facts) == set(words.aspects)
            seen.add((thing, emotion))
    pairs = itertools.product(range(len(words.things)), range(len(words.emotions)))
    assert seen == {pair for pair in pairs if is_held_out(*pair) == (split == "test")}


@pytest.mark.parametrize("name", LANGUAGES)
def test_held_out_pairs_are_of_things_and_emotions_seen_in_training(name: str) -> None:
    words = language(name, "train")
    pairs = list(
        itertools.product(range(len(words.things)), range(len(words.emotions)))
    )
    train = [pair for pair in pairs if not is_held_out(*pair)]
    assert {thing for thing, _ in train} == set(range(len(words.things)))
    assert {emotion for _, emotion in train} == set(range(len(words.emotions)))
    assert len(train) / len(pairs) == pytest.approx(0.75)


parts = st.lists(
    st.lists(
        st.text("abc", min_size=1, max_size=3), min_size=1, max_size=3, unique=True
    ),
    min_size=1,
    max_size=3,
)


@given(parts)
def test_the_splits_share_out_all_combinations(pieces: list[list[str]]) -> None:
    joined = ["".join(picks) for picks in itertools.product(*pieces)]
    both = [*combine(pieces, "train"), *combine(pieces, "test")]
    assert sorted(both) == sorted(joined)


@pytest.mark.parametrize("name", LANGUAGES)
def test_held_out_phrases_are_combinations_of_seen_parts(name: str) -> None:
    train, test = language(name, "train"), language(name, "test")
    reader = train.reader
    for emotion in train.emotions:
        one, other = set(train.bodies[emotion]), set(test.bodies[emotion])
        assert one and other and one.isdisjoint(other)
        known = {w for text in one for w in reader.words(text)}
        assert {w for text in other for w in reader.words(text)} <= known
        for cue in train.cues[emotion]:
            assert any(cue in text for text in one)
    assert train.openings and test.openings
    assert set(train.openings).isdisjoint(test.openings)


@pytest.mark.parametrize("name", LANGUAGES)
def test_no_text_of_the_user_names_an_emotion_praises_in_the_body_or_asks(
    name: str,
) -> None:
    for split in SPLITS:
        words = language(name, split)
        facts = [a for entry in words.aspects.values() for a in entry["answers"]]
        bodies = [text for texts in words.bodies.values() for text in texts]
        names = {w for ws in data()["emotions"].values() for w in ws}
        texts = [*facts, *bodies, *words.openings, *words.rivals]
        for text in [*texts, *words.farewells.values(), words.unread]:
            reading = words.reader.read(text)
            assert names.isdisjoint(reading.words), text
            assert not reading.has_praise and not reading.asked, text
        for reactions in words.reactions.values():
            for text in reactions:
                assert names.isdisjoint(words.reader.words(text))


@pytest.mark.parametrize("name", LANGUAGES)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_reads_every_body(name: str, split: str) -> None:
    words = language(name, split)
    companion = Companion(words)
    for emotion, thing in itertools.product(words.emotions, words.things):
        for body in words.bodies[emotion]:
            talk = Conversation.of(user(body.format(thing=thing)))
            assert companion.emotion(talk) == emotion
            assert companion.thing(talk) == thing


# Behaviour -----------------------------------------------------------------------------------


def test_interest_fades_with_each_turn_on_a_topic_and_no_other() -> None:
    partner = steady()
    first, second = partner.topics[:2]
    start = first.interest, second.interest
    hear(partner, "I see.")
    hear(partner, "I see.")
    assert first.interest == pytest.approx(start[0] * 0.85**2)
    assert second.interest == start[1]


@pytest.mark.parametrize(("draw", "leaves"), [(0.0, True), (0.999, False)])
def test_the_draw_decides_whether_the_user_leaves(draw: float, leaves: bool) -> None:
    partner = steady(draw=draw)
    assert partner.hear(language("default", "train").reader.read("I see.")) is leaves


def test_the_user_leaves_as_often_as_its_engagement_says() -> None:
    reading = language("default", "train").reader.read("I see.")
    left = expected = 0.0
    for seed in range(2000):
        partner = drawn("default", "train", seed)
        left += partner.hear(reading)
        engagement = partner.affect.engagement
        expected += 1.0 / (1.0 + np.exp(-8.0 * (0.25 - engagement)))
    assert left / 2000 == pytest.approx(expected / 2000, abs=4 * 0.5 / 2000**0.5)


@pytest.mark.parametrize("aspect", sorted(language("default", "train").aspects))
def test_the_question_of_an_aspect_is_answered_by_its_fact(aspect: str) -> None:
    partner = steady()
    topic = partner.current
    form = language("default", "train").aspects[aspect]["question"]
    assert topic.facts[aspect] in say(partner, form.format(thing=topic.thing))
    assert topic.told == [aspect]


def test_an_open_question_is_answered_by_something_new_as_long_as_there_is() -> None:
    partner = steady()
    topic = partner.current
    answers = [say(partner, f"Tell me about your {topic.thing}.") for _ in range(6)]
    for fact, text in zip(topic.facts.values(), answers):
        assert fact in text
    assert next(iter(topic.facts.values())) in answers[5]


def test_what_is_not_asked_is_not_told() -> None:
    partner = steady()
    for text in ("I see.", "You are sad.", "Where is it?", "Your dog and your cat?"):
        answer = say(partner, text)
        for topic in partner.topics:
            assert all(fact not in answer for fact in topic.facts.values())


@pytest.mark.parametrize("text", ["", "...", "?!", "\ud800"])
def test_what_has_no_words_was_not_understood(text: str) -> None:
    assert say(steady(), text).startswith("Sorry, I did not get that. ")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("That is wonderful!", "praised"),
        ("You are sad. Where is your dog?", "warm"),
        ("The table is far away from the moon.", "cold"),
    ],
)
def test_reactions_show_how_a_reply_was_taken(text: str, kind: str) -> None:
    answer = say(expecting("sad"), text)
    reactions = data()["tiers"]["default"]["reactions"]
    assert answer.startswith(tuple(reactions[kind]))
    others = [t for k, ts in reactions.items() for t in ts if t and k != kind]
    assert not answer.startswith(tuple(others))


def test_a_user_in_the_easy_tier_goes_on_by_itself() -> None:
    partner = steady("easy")
    said = [partner.begin(), *(say(partner, "I see.") for _ in range(3))]
    for topic, text in zip(partner.topics, said, strict=True):
        assert topic.thing in language("easy", "train").reader.words(text)
    # All were spoken of once, so all interests are equal again: the first comes back.
    again = say(partner, "I see.")
    assert partner.topics[0].thing in again


def test_the_user_stays_on_what_it_is_asked_about() -> None:
    partner = steady(draw=0.7)  # no new thing by itself
    first, second = partner.topics[:2]
    partner._num_mentioned = 2
    say(partner, f"Where is your {second.thing}?")
    assert partner.current is second
    say(partner, f"Where is your {first.thing}?")
    assert partner.current is first
    first.interest, second.interest = 0.1, 0.9
    say(partner, "I see.")
    assert partner.current is second


@pytest.mark.parametrize("split", SPLITS)
def test_rivals_speak_of_other_emotions_and_things_and_the_expert_is_not_misled(
    split: str,
) -> None:
    words = language("default", split)
    companion = Companion(words)
    cue_of = {cue: e for e, cues in words.cues.items() for cue in cues}
    num_rivals = 0
    for seed in range(300):
        partner = drawn("hard", split, seed)
        text = partner.begin()
        talk = Conversation.of(user(text))
        assert companion.emotion(talk) == partner.current.emotion
        assert companion.thing(talk) == partner.current.thing
        emotions = {e for cue, e in cue_of.items() if cue in text}
        things = {
            words.thing_of[w] for w in words.reader.words(text) if w in words.thing_of
        }
        own = {topic.thing for topic in partner.topics}
        assert len(emotions) <= 2 and len(things) <= 2
        assert (things - {partner.current.thing}).isdisjoint(own)
        num_rivals += len(emotions) + len(things) > 2
    assert num_rivals / 300 == pytest.approx(0.6, abs=0.115)  # four standard errors


def test_what_others_have_may_not_be_asked_about() -> None:
    partner = steady("hard")
    own = {topic.thing for topic in partner.topics}
    for thing in language("default", "train").things:
        hear(partner, f"Where is your {thing}?")
        is_mentioned = thing == partner.topics[0].thing
        assert (partner.features.question > 0.0) == is_mentioned
        assert is_mentioned <= (thing in own)


def test_two_topics_asked_about_by_their_facts_are_none() -> None:
    partner = steady(draw=0.7)
    first, second = partner.topics[:2]
    partner._num_mentioned = 2
    first.words |= {"lake"}
    second.words |= {"teacher"}
    hear(partner, "Is it the lake?")
    assert partner.features.question > 0.0
    hear(partner, "Is it the lake of the teacher?")
    assert partner.features.question == 0.0


# The expert ----------------------------------------------------------------------------------


def test_the_expert_neither_names_nor_asks_the_same_twice() -> None:
    words = language("default", "train")
    companion = Companion(words)
    talk = Conversation.of(user("It is my dog. I could cry."))
    replies = []
    for _ in range(2 + len(words.aspects)):
        replies.append(companion.expert(talk))
        talk = talk + [assistant(replies[-1]), user("I could cry. It is my dog.")]
    assert replies[0].startswith("You are sad.")
    assert replies[1].startswith("You are unhappy.")
    questions = [reply.partition(". ")[2] for reply in replies]
    assert len(set(questions[: len(words.aspects)])) == len(words.aspects)


def test_an_expert_who_reads_nothing_says_nothing_false() -> None:
    companion = Companion(language("default", "train"))
    assert companion.expert(Conversation.of(user("Hello."))) == ""
    assert companion.expert(Conversation()) == ""
    assert (
        companion.expert(Conversation.of(user("I want to yell."))) == "You are angry."
    )
