"""The reader of replies: what it must read, what it must not, and that any text is safe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.simulators.reply_reader import ReplyReader, relevance, repetition

EMOTIONS = {
    "sad": ["sad", "unhappy"],
    "angry": ["angry", "mad"],
    "proud": ["proud"],
    "happy": ["happy", "glad"],
}
READER = ReplyReader(EMOTIONS, ["great", "nice"], ["stupid", "shut up"])

words = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), max_size=12)


def emotions(text: str) -> set[str]:
    return set(READER.read(text).emotions)


def asked(text: str) -> set[str]:
    return set(READER.read(text).asked)


@pytest.mark.parametrize(
    "text",
    [
        "You are sad.",
        "you're sad",
        "You sound SAD!",
        "You must be really, really sad about that",
        "Sad?",
        "How sad.",
        "That sounds sad.",
        "I hear that you are sad.",
        "I see you're unhappy",
        "I can imagine how sad this is.",
        "Are you sad?",
        "I am sorry, you are sad.",
        "It makes you sad.",
        "You\u2019re sad",
        "No, no. You are sad.",
        "i am not sad. you are sad",
        "*sad*",
        "I get it: you are not angry, you are sad.",
    ],
)
def test_an_emotion_is_read_however_it_is_put(text: str) -> None:
    assert emotions(text) == {"sad"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I am sad.",
        "I'm so sad about it",
        "I feel sad and angry",
        "My heart is sad",
        "We are sad",
        "You are not sad.",
        "you aren't sad",
        "You never were sad",
        "sadly",
        "saddle",
        "s a d",
        "I see.",
    ],
)
def test_no_emotion_is_read_where_none_is_said_of_the_other(text: str) -> None:
    assert emotions(text) == set()


@pytest.mark.parametrize(
    "text",
    [
        "You are sad. You are mad.",
        "sad mad",
        "Are you sad or angry?",
        "You sound sad, angry",
    ],
)
def test_several_emotions_are_all_read(text: str) -> None:
    assert emotions(text) == {"sad", "angry"}


def test_the_subject_decides_whose_emotion_it_is() -> None:
    assert emotions("I am glad you feel proud") == {"proud"}
    assert emotions("You feel proud and I am glad") == {"proud"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Where is your dog?", {"where", "is", "your", "dog"}),
        ("Your dog?", {"your", "dog"}),
        ("I see. Your dog?", {"your", "dog"}),
        ("Your dog? I see.", {"your", "dog"}),
        ("your dog, then?", {"your", "dog", "then"}),
        ("Tell me about your dog.", {"tell", "me", "about", "your", "dog"}),
        ("Oh, tell me of your dog", {"tell", "me", "of", "your", "dog"}),
        ("So where is the dog", {"where", "is", "the", "dog"}),
        ("How is your dog", {"how", "is", "your", "dog"}),
        ("I wonder about your dog.", {"i", "wonder", "about", "your", "dog"}),
        ("Please tell me more", {"please", "tell", "me", "more"}),
        ("What a nice dog.", set()),
        ("How sad.", set()),
        ("When I was young I had a dog.", set()),
        ("I know where your dog is.", set()),
        ("Your dog.", set()),
        ("Your dog. ?", set()),
        ("?", set()),
        ("", set()),
    ],
)
def test_questions_are_told_from_statements(text: str, found: set[str]) -> None:
    assert asked(text) == found


def test_a_question_reaches_no_farther_than_its_sentence() -> None:
    assert asked("My dog. Your cat? A cow!\nIs it a pig?\nA hen") == set(
        "your cat is it a pig".split()
    )


def test_words_are_lower_case_and_without_signs() -> None:
    assert READER.words("It's 10 DOGS, e.g. \u00c4ffchen_x!") == (
        "it's",
        "10",
        "dogs",
        "e",
        "g",
        "\u00e4ffchen",
        "x",
    )


@pytest.mark.parametrize(
    ("text", "has_praise", "has_abuse"),
    [
        ("GREAT", True, False),
        ("That is nice, you stupid", True, True),
        ("Shut   up!", False, True),
        ("shut it up", False, False),
        ("greatest", False, False),
        ("up shut", False, False),
    ],
)
def test_praise_and_abuse_are_words_or_pairs(
    text: str, has_praise: bool, has_abuse: bool
) -> None:
    reading = READER.read(text)
    assert (reading.has_praise, reading.has_abuse) == (has_praise, has_abuse)


def test_a_name_of_two_emotions_is_refused() -> None:
    with pytest.raises(ValueError, match="'mad' names two emotions"):
        ReplyReader({"angry": ["mad"], "crazy": ["mad"]}, [], [])


@given(st.text(max_size=200))
def test_any_text_is_read_the_same_twice(text: str) -> None:
    first = READER.read(text)
    assert READER.read(text) == first
    assert first.asked <= set(first.words)
    assert first.emotions <= set(EMOTIONS)
    assert READER.words(text) == first.words


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        "? " * 500_000,
        "so " * 500_000,
        "you are sad " * 100_000,
        "'" * 1_000_000,
        "\ud800 sad \udfff",
        "\0\x1b[2J",
        "<|end|><|user|>You are sad",
    ],
)
def test_hostile_text_is_read_up_to_a_limit(text: str) -> None:
    assert len(READER.read(text).words) <= 1000


def test_what_lies_past_the_limit_is_not_read() -> None:
    assert emotions(" " * 1990 + "sad.") == {"sad"}
    assert emotions(" " * 2000 + "sad.") == set()


def test_memory_is_bounded() -> None:
    reader = ReplyReader(EMOTIONS, [], [])
    for number in range(5000):
        reader.read(str(number))
    assert len(reader._readings) <= 4096
    assert reader.read("You are sad").emotions == {"sad"}


# Repetition ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "earlier", "overlap"),
    [
        (["x", "y"], [], 0.0),
        (["x", "y"], [{"z"}], 0.0),
        (["x", "y"], [{"x", "z"}], 0.5),
        (["x", "y"], [{"x"}, {"y"}], 0.5),
        (["x", "y"], [{"z"}, {"x", "y", "z"}], 1.0),
        (["y", "x", "x"], [{"x", "y"}], 1.0),
        ([], [], 0.0),
        ([], [{"x"}], 0.0),
        ([], [{"x"}, set()], 1.0),
        (["x"], [set()], 0.0),
    ],
)
def test_repetition_is_the_largest_overlap_with_one_reply(
    said: list[str], earlier: list[set[str]], overlap: float
) -> None:
    assert repetition(said, earlier) == overlap


@given(words, st.lists(words, max_size=5))
def test_repetition_is_a_share_and_order_does_not_matter(
    said: list[str], earlier: list[list[str]]
) -> None:
    sets = [set(one) for one in earlier]
    overlap = repetition(said, sets)
    assert 0.0 <= overlap <= 1.0
    assert repetition(said[::-1], sets[::-1]) == overlap
    assert repetition(said, [*sets, set(said)]) == 1.0


# Relevance -----------------------------------------------------------------------------------

HEARD = "i cried with my dog today".split()
TOPIC = {"dog", "cried"}
IGNORED = {"you", "are", "your", "the", "i", "with", "my"}


@pytest.mark.parametrize(
    ("reply", "share"),
    [
        ("your dog", 1.0),
        ("you cried your dog", 1.0),
        ("your dog cat", 0.5),
        ("dog dog", 0.5),
        ("you are", 0.0),
        ("", 0.0),
        ("cat bus", 0.0),
        ("i cried with my dog today", 0.0),
        ("oh i cried with my dog", 0.0),
        ("cried with my cat", 0.5),  # three words in a row may be chance
        ("the dog i cried with my", 0.5),  # what is copied counts as beside the point
    ],
)
def test_relevance_is_the_share_of_content_about_the_topic(
    reply: str, share: float
) -> None:
    assert relevance(reply.split(), TOPIC, IGNORED, HEARD) == pytest.approx(share)


@given(words, words, words)
def test_relevance_is_a_share(
    said: list[str], topic: list[str], heard: list[str]
) -> None:
    value = relevance(said, set(topic), {"a"}, heard)
    assert 0.0 <= value <= 1.0
    if set(said).isdisjoint(topic):
        assert value == 0.0


@given(words)
def test_an_echo_of_four_words_or_more_is_never_relevant(heard: list[str]) -> None:
    value = relevance(heard, set(heard), set(), heard)
    if len(heard) >= 4:
        assert value == 0.0
    elif heard:
        assert value > 0.0
