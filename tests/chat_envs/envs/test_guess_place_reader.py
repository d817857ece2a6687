"""GuessPlace's reader: every listed phrase, what people ask, and what is no one question."""

from __future__ import annotations

import pytest

from chat_envs.data_file import load_json
from tests.chat_envs.envs.places import facts, oracle
from tests.chat_envs.envs.reader_recall import reader_recalls


def test_every_listed_phrase_is_read_and_never_as_a_guess() -> None:
    forms = load_json("guess_place.json")["forms"]
    masks = {p.name: p.mask for p in oracle().predicates}
    num_read = 0
    for row in facts()["predicates"]:
        word, base = row["word"], row.get("base")
        texts = [
            form.format(word, a="", base=base)
            for form in forms[row["form"]]
            if "{base}" not in form or base
        ]
        for text in [*texts, *row.get("also", ())]:
            query = oracle().read(text)
            assert query is not None, text
            assert (query.mask, query.guess) == (masks[row["tag"]], None), text
            num_read += 1
    assert num_read > 5000


def test_every_name_of_a_country_is_a_guess_in_every_form() -> None:
    forms = load_json("guess_place.json")["forms"]["guess"]
    aliases = load_json("countries.json")["aliases"]
    names = list(oracle().names)
    for name in [*names, *aliases]:
        for form in forms:
            query = oracle().read(form.format(name, a=""))
            assert query is not None, form.format(name, a="")
            assert query.guess == names.index(aliases.get(name, name))


def test_what_people_ask_is_mostly_read() -> None:
    within, beyond = reader_recalls("GuessPlace")
    missed = within.missed + beyond.missed
    num_asked = within.num_asked + beyond.num_asked
    assert num_asked > 90
    assert len(missed) <= 0.15 * num_asked, missed
    assert within.share >= 0.95, within.missed


@pytest.mark.parametrize(
    "text",
    [
        "Is it Peru or Chile?",
        "Peru Chile Cuba",
        "Is it Peru, Chile, Cuba?",
        "Is it Peru? Is it Chile?",
        "Is it not in Africa?",
        "Isn't it in Africa?",
        "Is it in Africa or Asia?",
        "Is it in Africa and does it border Chad?",
        "Which country is it?",
        "Is it Atlantis?",
        "Does it border Atlantis?",
        "Does it have more people than Atlantis?",
        "Does its capital start with",
        "Does it border",
        "Guinea Bissau Guinea",
        "Niger Nigeria",
        "United Kingdom United States",
    ],
)
def test_what_is_not_one_known_question_is_unread(text: str) -> None:
    assert oracle().read(text) is None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Is it Guinea?", "Guinea"),
        ("Is it Guinea-Bissau?", "Guinea-Bissau"),
        ("equatorial guinea", "Equatorial Guinea"),
        ("Papua New Guinea!", "Papua New Guinea"),
        ("the Congo", "Congo"),
        ("Democratic Republic of the Congo", "DR Congo"),
        ("Republic of the Congo", "Congo"),
        ("Dominica", "Dominica"),
        ("the Dominican Republic", "Dominican Republic"),
        ("Sudan", "Sudan"),
        ("south sudan", "South Sudan"),
        ("Is it Timor-Leste?", "East Timor"),
        ("Great Britain", "United Kingdom"),
        ("Micronesia", "Micronesia"),
    ],
)
def test_names_that_contain_each_other_are_kept_apart(text: str, name: str) -> None:
    query = oracle().read(text)
    assert query is not None and query.guess is not None
    assert oracle().names[query.guess] == name
