"""What the user of `SocialChat` credits: named emotions, questions, relevance, no repetition."""

from __future__ import annotations

import pytest

from chat_envs.simulators.affect import update
from tests.chat_envs.envs.chatter import Steady, expecting, hear, say, steady

VALIDATIONS = [
    ("sad", "You sound sad."),
    ("sad", "It seems that you feel unhappy about it"),
    ("sad", "That must be a sorrow"),
    ("sad", "What is it that makes you so SAD?"),
    ("angry", "I can tell that you are furious!"),
    ("angry", "No wonder you are mad."),
    ("scared", "so you're worried"),
    ("scared", "Anyone would be afraid of that."),
    ("scared", "That sounds terrified, poor you."),
    ("lonely", "You must feel very alone."),
    ("lonely", "It sounds like you are lonely, I am here."),
    ("tired", "you seem exhausted"),
    ("tired", "Sounds like you are sleepy"),
    ("bored", "You are bored, right?"),
    ("bored", "I see, your days are dull"),
    ("proud", "You can be proud of that. Great!"),
    ("proud", "wow, you should be proud"),
    ("happy", "I am glad you are so happy"),
    ("happy", "You look cheerful"),
    ("happy", "That is a joy, how nice!"),
]
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
    found = 0
    for emotion, text in VALIDATIONS:
        partner = expecting(emotion)
        hear(partner, text)
        found += partner.features.validation == 1.0
    assert found >= 0.9 * len(VALIDATIONS)


@pytest.mark.parametrize(("emotion", "text"), NO_VALIDATIONS)
def test_no_other_words_name_the_emotion(emotion: str, text: str) -> None:
    partner = expecting(emotion)
    hear(partner, text)
    assert partner.features.validation == 0.0


QUESTIONS = [
    "Where is your dog?",
    "Your dog?",
    "your DOG ?",
    "Tell me about your dog.",
    "Tell me more about the puppy!",
    "I see. What is your dog like?",
    "Can you say more about your dog",
    "How are the dogs doing?",
    "How is the dog",
    "What happened? Is it about your dog?",
    "I wonder how your dog is.",
    "Oh no, is your dog ill?",
]
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
    found = 0
    for text in QUESTIONS:
        partner = expecting("sad")
        hear(partner, text)
        found += partner.features.question == 0.8
    assert found >= 0.9 * len(QUESTIONS)


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
