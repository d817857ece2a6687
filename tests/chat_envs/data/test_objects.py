"""The table of everyday things: its facts agree with each other, and its language reads."""

from __future__ import annotations

import functools
import itertools

import pytest

from chat_envs.data_file import load_json
from chat_envs.simulators.oracle import AttributeTable, Oracle, make_oracle


@functools.cache
def oracle(*, has_categories: bool = True) -> Oracle:
    facts, language = load_json("objects.json"), load_json("twenty_questions.json")
    return make_oracle(
        AttributeTable(facts), facts, language, has_categories=has_categories
    )


TABLE = AttributeTable(load_json("objects.json"))
TAGS = {name: TABLE.tags(name) for name in TABLE.names}


def test_there_are_enough_things_and_categories() -> None:
    assert len(TABLE.names) >= 150
    assert len(TABLE.categories) >= 15
    assert min(len(things) for things in TABLE.categories.values()) >= 3


def test_the_files_name_version_and_licence() -> None:
    for name, version in (("objects.json", 1), ("twenty_questions.json", 2)):
        assert load_json(name)["version"] == version
        assert load_json(name)["licence"] == "Apache-2.0"


def test_every_tag_can_be_asked_and_every_question_is_about_a_tag() -> None:
    used = frozenset().union(*TAGS.values())
    rows = load_json("objects.json")["predicates"]
    by_tag = {row["tag"] for row in rows}
    derived = {row["tag"] for row in rows if {"not", "min", "max"} & set(row)}
    assert used == by_tag - derived


@pytest.mark.parametrize("has_categories", [True, False])
def test_every_two_things_are_told_apart_by_a_question(has_categories: bool) -> None:
    masks = oracle(has_categories=has_categories).questions()
    answers = [tuple(mask >> i & 1 for mask in masks) for i in range(len(TABLE.names))]
    same = [
        (TABLE.names[i], TABLE.names[j])
        for i, j in itertools.combinations(range(len(answers)), 2)
        if answers[i] == answers[j]
    ]
    assert not same


@pytest.mark.parametrize(
    ("has", "needs"),
    [
        ("animal", "alive"),
        ("plant", "alive"),
        ("mammal", "animal"),
        ("bird", "animal feathers wings legs beak"),
        ("reptile", "animal scales"),
        ("fish", "animal sea-animal water fins"),
        ("insect", "animal legs"),
        ("sea-animal", "sea water"),
        ("feathers", "bird"),
        ("four-legs", "legs"),
        ("fruit", "food"),
        ("vegetable", "food"),
        ("meal", "food"),
        ("food", "edible"),
        ("drink", "drinkable liquid"),
        ("vehicle", "man-made"),
        ("clothing", "wear man-made"),
        ("tool", "man-made"),
        ("furniture", "man-made house"),
        ("building", "man-made"),
        ("tree-kind", "plant"),
        ("flower", "plant"),
        ("pedals", "wheels"),
        ("boat", "vehicle water"),
        ("alcohol", "drink"),
    ],
)
def test_one_tag_implies_others(has: str, needs: str) -> None:
    wrong = [n for n in TAGS if has in TAGS[n] and not set(needs.split()) <= TAGS[n]]
    assert not wrong
    assert any(has in tags for tags in TAGS.values())


@pytest.mark.parametrize(
    "tags",
    [
        "alive food landform weather",
        "mammal bird reptile insect fish",
        "fruit vegetable baked meal candy",
        "wild pet farm",
        "hot cold",
        "food drink",
        "animal plant",
        "furniture clothing vehicle building toy instrument device",
    ],
)
def test_some_tags_exclude_each_other(tags: str) -> None:
    wrong = [n for n in TAGS if len(TAGS[n] & set(tags.split())) > 1]
    assert not wrong


def test_animals_that_fly_have_wings() -> None:
    wrong = [n for n, t in TAGS.items() if {"animal", "fly"} <= t and "wings" not in t]
    assert not wrong
    flightless = {n for n, t in TAGS.items() if {"bird"} <= t and "fly" not in t}
    assert flightless == {"hen", "penguin", "ostrich"}


@pytest.mark.parametrize(
    ("question", "yes", "no"),
    [
        ("Is it an animal?", "whale bee crab snake owl", "oak apple car teddy"),
        ("Does it live in the sea?", "whale shark turtle", "salad duck goat"),
        ("Is it bigger than a cat?", "horse car mountain", "mouse cup cat"),
        ("Is it smaller than a dog?", "mouse key bee", "whale dog bus"),
        ("Can you wear it?", "hat watch shoe", "ball cup"),
        ("Is it made of metal?", "fork car key", "sock milk oak"),
        ("Can it fly?", "bat jet bee owl", "penguin ostrich cat"),
        ("Does it need electricity?", "fridge phone", "bike hammer"),
        ("Is it natural?", "river apple sun", "car house shirt"),
        ("Do you use it to write?", "pen pencil", "book ruler"),
        ("Is it alive?", "fern ant moss", "wind bread"),
        ("Does it have wheels?", "bike train jet", "ship sofa"),
        ("Is it big?", "elephant river sofa", "pea dog"),
    ],
)
def test_answers_are_what_anyone_would_say(question: str, yes: str, no: str) -> None:
    query = oracle().read(question)
    assert query is not None
    things = {n for i, n in enumerate(TABLE.names) if query.mask >> i & 1}
    assert set(yes.split()) <= things
    assert things.isdisjoint(no.split())


def test_every_listed_phrase_is_read_and_never_as_a_guess() -> None:
    facts, language = load_json("objects.json"), load_json("twenty_questions.json")
    for row in facts["predicates"]:
        predicate = next(p for p in oracle().predicates if p.name == row["tag"])
        for text in [predicate.question, *row.get("also", ())]:
            query = oracle().read(text)
            assert query is not None, text
            assert (query.mask, query.guess) == (predicate.mask, None), text
    for i, name in enumerate(TABLE.names):
        for form in language["forms"]["guess"]:
            query = oracle().read(form.format(name, a="a"))
            assert query is not None and query.guess == i, form.format(name, a="a")


def test_the_sizes_that_the_expert_names_are_of_different_classes() -> None:
    predicates = [p for p in oracle().predicates if p.name.startswith("bigger")]
    references = load_json("objects.json")["sizes"]["references"]
    assert [p.name.removeprefix("bigger than ") for p in predicates] == references
    counts = [p.mask.bit_count() for p in predicates]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == len(counts)


def test_without_categories_no_kind_is_told() -> None:
    rows = load_json("objects.json")["predicates"]
    kinds = [row for row in rows if row.get("category")]
    assert len(kinds) >= 25
    for predicate in oracle().predicates:
        is_kind = any(row["tag"] == predicate.name for row in kinds)
        query = oracle(has_categories=False).read(predicate.question)
        assert (query is None) == is_kind, predicate.question


# What people ask in this game, some of it beyond what the table knows.
NATURAL = """
Is it alive? | Is it a living thing? | Is it an animal? | Is this an animal?
Is the object an animal? | Is it a mammal? | Is it a type of bird?
Is it some kind of fruit? | Is it a vegetable? | Can you eat it? | Is it edible?
Is it something you can eat? | Do people eat it? | Is it a food? | Is it a drink?
Can you drink it? | Is it bigger than a car? | Is it larger than a dog?
Is it smaller than a cat? | Is it bigger than a breadbox? | Is it bigger than a person?
Can it fly? | Does it fly? | Is it able to fly? | Can it swim? | Does it have four legs?
Does it have wings? | Does it have fur? | Does it have feathers? | Is it made of wood?
Is it made of metal? | Is it made out of metal? | Is it wooden? | Is it man-made?
Is it manmade? | Is it natural? | Is it a tool? | Is it a vehicle?
Does it have wheels? | Does it have an engine? | Is it electronic?
Does it use electricity? | Is it an electronic device? | Is it used in the kitchen?
Is it found in the kitchen? | Can you wear it? | Do you wear it?
Is it worn on the feet? | Is it clothing? | Is it a piece of furniture?
Is it furniture? | Can you ride it? | Is it a musical instrument? | Is it a toy?
Is it a building? | Do people live in it? | Is it round? | Is it red? | Is it green?
Is it yellow in color? | Is it usually white? | Is it sweet? | Does it taste sweet?
Is it hot? | Is it cold? | Is it a liquid? | Is it a pet? | Is it a wild animal?
Does it live on a farm? | Is it a farm animal? | Does it live in the ocean?
Is it found in the ocean? | Is it a plant? | Is it a tree? | Is it a flower?
Does it grow on trees? | Does it grow underground? | Is it used for cutting?
Is it used to cut? | Is it used for writing? | Do you write with it? | Can you read it?
Does it have a screen? | Is it small? | Is it tiny? | Is it big? | Is it large?
Does it have stripes? | Does it have a long neck? | Is it an insect? | Is it a reptile?
Is it a fish? | Hmm, is it an animal? | Okay. Is it a bird? | Great! Does it have legs?
Is it from Africa? | Is it used for cleaning? | Is it a household item?
Do you sleep on it? | Is it made of glass? | Is it soft? | Is it heavy?
Is it expensive? | Does it eat meat? | Is it dangerous? | Does it have a tail?
Is it in space? | Can you hold it in your hand? | Is it a means of transportation?
Do children play with it? | Is it used outdoors?
"""


def test_what_people_ask_is_mostly_read() -> None:
    texts = [text.strip() for text in NATURAL.replace("\n", "|").split("|")]
    texts = [text for text in texts if text]
    unread = [text for text in texts if oracle().read(text) is None]
    assert len(texts) > 100
    assert len(unread) <= 0.1 * len(texts), unread


@pytest.mark.parametrize(
    "text",
    [
        "Is it a cat or a dog?",
        "cat dog cow pig",
        "Is it a cat, a dog, a cow?",
        "Is it a cat? Is it a dog?",
        "Is it not an animal?",
        "Isn't it an animal?",
        "Is it an animal or a plant?",
        "What is it?",
        "Tell me what it is.",
        "Is it a unicorn?",
        "Is it bigger than a unicorn?",
    ],
)
def test_what_is_not_one_known_question_is_unread(text: str) -> None:
    assert oracle().read(text) is None
