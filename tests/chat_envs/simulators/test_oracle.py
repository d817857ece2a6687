"""The question grammar and the attribute table, on tables small enough to see through."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.simulators.grammar import Grammar
from chat_envs.simulators.oracle import AttributeTable, Query, make_oracle

LANGUAGE: dict[str, Any] = {
    "forms": {
        "kind": ["Is it {a} {}?"],
        "can": ["Can it {}?", "does it {}"],
        "use": ["Is it used for {}?", "is it used to {base}"],
        "bigger": ["Is it bigger than {a} {}?"],
        "smaller": ["Is it smaller than {a} {}?"],
        "guess": ["Is it {a} {}?", "{}"],
    },
    "drop": ["a", "an", "the", "usually", "something"],
    "replace": {"that": "it", "you": "people", "thing": "it", "do": "does"},
}
FACTS: dict[str, Any] = {
    "sizes": {
        "bounds": [10, 100, 1000],
        "references": ["owl"],
        "others": {"hand": 18},
    },
    "articles": {"": ["snow"]},
    "aliases": {"automobile": "car"},
    "categories": {
        "animals": {
            "tags": "animal fly",
            "objects": {"owl": "40", "dog": "90 -fly", "whale": "2000 -fly sea"},
        },
        "things": {"tags": "", "objects": {"car": "450 cut", "snow": "-"}},
    },
    "predicates": [
        {"tag": "animal", "form": "kind", "word": "animal", "category": True},
        {"tag": "thing", "not": "animal", "form": "kind", "word": "tool"},
        {"tag": "fly", "form": "can", "word": "fly", "also": ["has it got wings"]},
        {"tag": "cut", "form": "use", "word": "cutting", "base": "cut"},
        {"tag": "big", "form": "kind", "word": "giant", "min": 200},
    ],
}


def read(text: str, **kwargs: Any) -> Query | None:
    return make_oracle(AttributeTable(FACTS), FACTS, LANGUAGE, **kwargs).read(text)


OWL, DOG, WHALE, CAR, SNOW = (1 << i for i in range(5))


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("Is it an animal?", OWL | DOG | WHALE),
        ("IS IT USUALLY AN ANIMAL", OWL | DOG | WHALE),
        ("Is it a tool?", CAR | SNOW),
        ("Can it fly?", OWL),
        ("Does it fly ???", None),
        ("Is it something that can fly?", OWL),
        ("Has it got wings?", OWL),
        ("Is it used for cutting?", CAR),
        ("Is it used to cut?", CAR),
        ("Is it a giant?", WHALE | CAR),
        ("Is it bigger than an owl?", WHALE | CAR),
        ("Is it bigger than a dog?", WHALE | CAR),
        ("Is it smaller than a car?", OWL | DOG),
        ("Is it smaller than a hand?", 0),
        ("Is it bigger than snow?", None),
        ("Is it bigger than a car or a dog?", None),
        ("Good. Can it fly? I wonder.", OWL),
        ("An owl. Can it fly?", OWL),
        ("Can it fly? Is it an animal?", None),
        ("Can it fly and is it an animal?", None),
        ("Can it", None),
        ("fly", None),
        ("", None),
        ("???", None),
    ],
)
def test_a_question_has_its_answers(text: str, mask: int | None) -> None:
    query = read(text)
    assert query == (None if mask is None else Query(mask))


@pytest.mark.parametrize("text", ["owl", "Is it an owl?", "The OWL!", "it is an owl"])
def test_one_named_thing_is_a_guess(text: str) -> None:
    assert read(text) == Query(OWL, 0)


def test_an_alias_names_its_thing() -> None:
    assert read("Is it an automobile?") == Query(CAR, 3)


@pytest.mark.parametrize(
    "text", ["owl dog", "owl, dog", "owl or dog", "owl and dog", "owl owl", "owl? dog?"]
)
def test_two_named_things_are_no_guess(text: str) -> None:
    assert read(text) is None


def test_without_categories_their_questions_are_unread() -> None:
    assert read("Is it an animal?", has_categories=False) is None
    assert read("Can it fly?", has_categories=False) == Query(OWL)


def test_the_expert_asks_what_it_is_told_to_ask() -> None:
    table = AttributeTable(FACTS)
    oracle = make_oracle(table, FACTS, LANGUAGE, asked={"fly": "Does it fly?"})
    assert [p.question for p in oracle.predicates] == ["Does it fly?"]
    assert [p.mask for p in oracle.predicates] == [OWL]
    assert oracle.guesses[0] == "Is it an owl?"
    assert oracle.guesses[4] == "Is it snow?"


def test_questions_are_every_property_once() -> None:
    oracle = make_oracle(AttributeTable(FACTS), FACTS, LANGUAGE)
    masks = oracle.questions()
    assert len(masks) == len(set(masks))
    assert {OWL, CAR, CAR | SNOW, WHALE | CAR} <= set(masks)
    assert DOG not in masks  # no question but a guess tells the dog apart


def test_a_part_of_the_table_keeps_the_answers() -> None:
    table = AttributeTable(FACTS, ["car", "owl"])
    oracle = make_oracle(table, FACTS, LANGUAGE)
    assert oracle.read("Can it fly?") == Query(0b10)
    assert oracle.read("Is it bigger than a dog?") == Query(0b01)
    assert oracle.read("Is it a dog?") is None


def test_a_phrase_that_asks_two_things_is_refused() -> None:
    facts = copy.deepcopy(FACTS)
    facts["predicates"][3]["also"] = ["Can it fly?"]
    oracle = make_oracle(AttributeTable(facts), facts, LANGUAGE)
    with pytest.raises(ValueError, match="two things"):
        oracle.read("Can it fly?")


def test_wordings_wait_until_something_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    normal = Grammar.normal

    def counted(self: Grammar, text: str) -> str:
        made.append(text)
        return normal(self, text)

    monkeypatch.setattr(Grammar, "normal", counted)
    oracle = make_oracle(AttributeTable(FACTS), FACTS, LANGUAGE)
    assert not made and oracle.predicates and oracle.guesses
    assert oracle.read("Can it fly?") and oracle.read("Is it an owl?")
    first = len(made)
    assert oracle.read("Is it a dog?") and oracle.read("Is it bigger than a dog?")
    assert len(made) == first > len(oracle.predicates), "they are made once"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("40 animal", r"\['animal'\]"),
        ("40 -sea", r"\['sea'\]"),
    ],
)
def test_a_row_against_its_category_is_refused(row: str, message: str) -> None:
    facts = copy.deepcopy(FACTS)
    facts["categories"]["animals"]["objects"]["owl"] = row
    with pytest.raises(ValueError, match=message):
        AttributeTable(facts)


def test_a_thing_listed_twice_is_refused() -> None:
    facts = copy.deepcopy(FACTS)
    facts["categories"]["things"]["objects"]["owl"] = "3"
    with pytest.raises(ValueError, match="'owl' is listed twice"):
        AttributeTable(facts)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="yeti"):
        AttributeTable(FACTS, ["owl", "yeti"])


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("It is an owl", "is it owl"),
        ("Is it a kind of owl?", "is it owl"),
        ("of", "of"),
        ("it has wings", "does it have wings"),
        ("it can fly", "can it fly"),
        ("Is it a thing that can fly?", "can it fly"),
        ("Is it something that flies?", "is it flies"),
        ("It flies.", "is it flies"),
        ("Is it a thing that you can eat?", "can people eat it"),
        ("is it something you wear", "does people wear it"),
        ("is it a thing you can wear", "can people wear it"),
        ("Is it the\tDOG\x00?", "is it dog"),
        ("what\u2019s it", "what's it"),
    ],
)
def test_normal_forms(text: str, normal: str) -> None:
    assert Grammar(LANGUAGE["drop"], LANGUAGE["replace"]).normal(text) == normal


@given(st.text(max_size=400))
def test_any_text_is_read_without_an_error(text: str) -> None:
    query = read(text)
    assert query is None or 0 <= query.mask < 32


def test_a_long_text_asks_nothing() -> None:
    assert read("owl " * 100_000) is None
    assert read("owl" + " " * 400) is None
