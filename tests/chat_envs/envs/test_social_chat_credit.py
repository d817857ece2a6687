"""What the user of `SocialChat` credits: named emotions, questions, relevance, no repetition."""

from __future__ import annotations

import pytest

from chat_envs.simulators.affect import update
from tests.chat_envs.envs.chatter import Steady, expecting, hear, say, steady
from tests.chat_envs.envs.reader_recall import reader_recalls

NO_VALIDATIONS = [
    ("sad", "You sound angry."),
    ("sad", "You sound sad or angry."),
    ("sad", "Sad, angry, scared, lonely, tired, bored, proud, happy."),
    ("sad", "I am sad."),
    ("sad", "You are not sad."),
    ("sad", "You are sad. Great, wonderful!"),
    ("sad", "I see."),
    ("sad", "I could cry"),
    ("happy", "You are sad"),
    ("happy", "That is great!"),
]


def test_the_reader_recalls_nine_in_ten_namings_that_it_was_not_written_for() -> None:
    namings, _ = reader_recalls("SocialChat")
    assert namings.num_asked == 20
    assert namings.share >= 0.9, namings.missed


@pytest.mark.parametrize(("emotion", "text"), NO_VALIDATIONS)
def test_no_other_words_name_the_emotion(emotion: str, text: str) -> None:
    partner = expecting(emotion)
    hear(partner, text)
    assert partner.features.validation == 0.0


NO_QUESTIONS = [
    "",
    "Your dog.",
    "Where is it?",
    "What happened?",
    "Your cat?",
    "Your dog? Your cat?",
    "Is it your dog or your cow?",
    "I like your dog. Why?",
    "dog",
]


def test_the_reader_recalls_nine_in_ten_questions_that_it_was_not_written_for() -> None:
    _, questions = reader_recalls("SocialChat")
    assert questions.num_asked == 12
    assert questions.share >= 0.9, questions.missed


@pytest.mark.parametrize("text", NO_QUESTIONS)
def test_no_other_words_ask_about_the_users_thing(text: str) -> None:
    partner = expecting("sad")
    hear(partner, text)
    assert partner.features.question == 0.0


def test_a_thing_counts_only_once_the_user_spoke_of_it() -> None:
    partner = steady("hard")
    first, second = partner.topics[:2]
    hear(partner, f"Where is your {second.thing}?")
    assert partner.features.question == 0.0
    partner._move_on(None)
    while second not in partner.mentioned:
        partner._behaviour = Steady(0.0)
        partner._move_on(None)
    hear(partner, f"Where is your {second.thing}?")
    assert partner.features.question == pytest.approx(second.interest / 0.85)
    hear(partner, f"Where is your {first.thing} or your {second.thing}?")
    assert partner.features.question == 0.0


def test_told_facts_may_be_asked_about() -> None:
    partner = expecting("sad")
    partner.current.facts = {**partner.current.facts, "who": "My sister has it."}
    hear(partner, "How is your sister?")
    assert partner.features.question == 0.0
    assert "My sister has it." in say(partner, "Who has your dog?")
    hear(partner, "How is your sister?")
    assert partner.features.question > 0.0


def test_the_features_of_a_reply_are_those_that_the_equations_get() -> None:
    partner = expecting("sad")
    before = partner.affect
    hear(partner, "You are sad. Where is your dog?")
    features = partner.features
    assert features == (0.8, 1.0, 1.0, 0.0, 7, 0.0)
    assert partner.affect == update(before, features)
    assert partner.affect.engagement - before.engagement == pytest.approx(0.32)
    hear(partner, "You are sad. Where is your cat, idiot?")
    # sad and where were said before; cat and idiot are beside the point.
    assert partner.features == (0.0, 1.0, 0.0, 0.5, 8, 1.0)


def test_repetition_looks_back_over_five_replies() -> None:
    partner = steady()
    hear(partner, "apple pear")
    for text in ("one", "two", "three", "four"):
        hear(partner, text)
    hear(partner, "apple pear")
    assert partner.features.repetition == 1.0
    partner = steady()
    hear(partner, "apple pear")
    for text in ("one", "two", "three", "four", "five"):
        hear(partner, text)
    hear(partner, "apple pear")
    assert partner.features.repetition == 0.0


def test_an_echo_is_not_relevant() -> None:
    partner = steady()
    hear(partner, partner.begin())
    assert partner.features.relevance == partner.features.question == 0.0
    assert partner.features.validation == 0.0
