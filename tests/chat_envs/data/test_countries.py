"""The table of countries: its facts agree with each other and with known counts."""

from __future__ import annotations

import pytest

from chat_envs.data_file import load_json
from chat_envs.envs._guess_place_facts import slug
from tests.chat_envs.envs.places import (
    COUNTRIES,
    answered_yes,
    facts,
    oracle,
)


def having(attribute: str, value: str) -> set[str]:
    return {n for n, c in COUNTRIES.items() if value in getattr(c, attribute)}


def test_there_are_enough_countries_and_regions() -> None:
    assert len(COUNTRIES) == len(oracle().names) == 193
    assert len({c.regions[0] for c in COUNTRIES.values()}) >= 15


def test_the_files_name_version_licence_and_source() -> None:
    for name in ("countries.json", "guess_place.json"):
        assert load_json(name)["version"] == 1
        assert load_json(name)["licence"] == "Apache-2.0"
    assert "countryinfo (MIT)" in load_json("countries.json")["source"]


@pytest.mark.parametrize(
    ("region", "count"),
    [
        ("Africa", 54),
        ("Asia", 47),
        ("Europe", 43),
        ("Oceania", 14),
        ("North America", 23),
        ("South America", 12),
        ("the Americas", 35),
        ("the Caribbean", 13),
    ],
)
def test_every_region_has_its_members_of_the_united_nations(
    region: str, count: int
) -> None:
    assert len(having("regions", region)) == count
    assert answered_yes(f"Is it in {region}?") == having("regions", region)


def test_continents_share_no_country_and_leave_none_out() -> None:
    continents = set(load_json("countries.json")["continents"]) - {"the Americas"}
    for country in COUNTRIES.values():
        assert len(continents & set(country.regions)) == 1, country.name


def test_borders_are_mutual_and_with_known_countries() -> None:
    for name, country in COUNTRIES.items():
        assert name not in country.borders
        assert len(set(country.borders)) == len(country.borders)
        for other in country.borders:
            assert name in COUNTRIES[other].borders, (name, other)


def test_the_longest_lists_of_neighbours_are_the_known_ones() -> None:
    counts = {n: len(c.borders) for n, c in COUNTRIES.items()}
    most = {n: k for n, k in counts.items() if k >= 9}
    assert most == {"China": 14, "Russia": 14, "Brazil": 9, "DR Congo": 9, "Germany": 9}
    alone = {n for n, k in counts.items() if k == 1}
    assert {"Portugal", "Canada", "Denmark", "Lesotho", "Monaco", "Gambia"} <= alone


def test_who_has_no_neighbour_is_an_island_and_who_is_landlocked_has_some() -> None:
    alone = {n for n, c in COUNTRIES.items() if not c.borders}
    islands = {n for n, c in COUNTRIES.items() if c.land == "island"}
    assert alone - islands == {"Australia"}
    assert islands - alone == {
        "Brunei",
        "Dominican Republic",
        "East Timor",
        "Haiti",
        "Indonesia",
        "Ireland",
        "Papua New Guinea",
        "United Kingdom",
    }
    landlocked = {n for n, c in COUNTRIES.items() if c.land == "landlocked"}
    assert len(landlocked) == 43
    assert landlocked.isdisjoint(alone)


def test_two_countries_alone_are_landlocked_twice() -> None:
    # Liechtenstein and Uzbekistan: a known answer that wrong borders would spoil.
    landlocked = {n for n, c in COUNTRIES.items() if c.land == "landlocked"}
    twice = {n for n in landlocked if set(COUNTRIES[n].borders) <= landlocked}
    assert twice == {"Liechtenstein", "Uzbekistan"}


@pytest.mark.parametrize("first", ["Portugal", "South Africa", "Argentina"])
def test_one_can_walk_from_country_to_country_and_not_across_a_sea(first: str) -> None:
    reached, frontier = {first}, [first]
    while frontier:
        new = set(COUNTRIES[frontier.pop()].borders) - reached
        reached |= new
        frontier += new
    has_crossed = {"Australia", "Japan", "Cuba", "Iceland"} & reached
    assert not has_crossed
    # Asia hangs together with Europe, and by Egypt and Israel with Africa.
    assert ("Portugal" in reached) == ("South Africa" in reached)
    assert ("Argentina" in reached) == ("Canada" in reached)
    assert ("Argentina" in reached) != ("Portugal" in reached)


@pytest.mark.parametrize(
    ("currency", "count"),
    [
        ("euro", 25),
        ("CFA franc", 14),
        ("Caribbean dollar", 6),
        ("Australian dollar", 4),
    ],
)
def test_shared_currencies_have_their_members(currency: str, count: int) -> None:
    assert len(having("currencies", currency)) == count


@pytest.mark.parametrize(
    ("language", "count"), [("Portuguese", 9), ("Spanish", 20), ("Arabic", 24)]
)
def test_shared_languages_have_their_speakers(language: str, count: int) -> None:
    assert len(having("languages", language)) == count


def test_numbers_of_people_are_ordered_distinct_and_add_up() -> None:
    people = {n: c.people for n, c in COUNTRIES.items()}
    order = sorted(people, key=lambda name: -people[name])
    assert order[:10] == [
        "India",
        "China",
        "United States",
        "Indonesia",
        "Pakistan",
        "Nigeria",
        "Brazil",
        "Bangladesh",
        "Russia",
        "Ethiopia",
    ]
    assert order[-3:] == ["Palau", "Nauru", "Tuvalu"]
    # Members of the United Nations have about 8.1 of the world's 8.16 thousand million people.
    assert sum(people.values()) == pytest.approx(8110, rel=0.01)
    bounds = {row["min"] for row in facts()["predicates"] if "min" in row}
    assert len(bounds) > 5 and bounds.isdisjoint(people.values())


def test_more_people_means_a_larger_number() -> None:
    names = sorted(COUNTRIES)
    for name in ("Tuvalu", "Norway", "Kenya", "India", "United States"):
        more = answered_yes(f"Does it have more people than {name}?")
        fewer = answered_yes(f"Does it have fewer people than {name}?")
        here = COUNTRIES[name].people
        assert more == {n for n in names if COUNTRIES[n].people > here}
        assert fewer == {n for n in names if COUNTRIES[n].people < here}


@pytest.mark.parametrize("millions", [1, 2, 5, 10, 20, 50, 100])
def test_millions_are_counted(millions: int) -> None:
    more = answered_yes(f"Does it have more than {millions} million people?")
    assert more == {n for n, c in COUNTRIES.items() if c.people > millions}
    fewer = answered_yes(f"Is its population under {millions} million?")
    assert fewer == set(COUNTRIES) - more


@pytest.mark.parametrize("count", range(7))
def test_neighbours_are_counted(count: int) -> None:
    more = answered_yes(
        f"Does it have more than {count} neighbours?" if count else "Has it neighbours?"
    )
    assert more == {n for n, c in COUNTRIES.items() if len(c.borders) > count}


@pytest.mark.parametrize("has_categories", [True, False])
def test_every_two_countries_are_told_apart_by_a_question(has_categories: bool) -> None:
    masks = oracle(has_categories=has_categories).questions()
    names = oracle().names
    answers = [tuple(mask >> i & 1 for mask in masks) for i in range(len(names))]
    assert len(set(answers)) == len(names)


def test_every_tag_can_be_asked_and_every_question_is_about_a_tag() -> None:
    used = {tag for country in COUNTRIES.values() for tag in country.tags()}
    rows = facts()["predicates"]
    tags = [row["tag"] for row in rows]
    assert len(set(tags)) == len(tags)
    derived = {row["tag"] for row in rows if {"not", "min", "max"} & set(row)}
    unasked = {tag for tag in used - set(tags) if not tag.startswith("neighbours:")}
    assert not unasked
    assert set(tags) - used == derived


def test_names_stand_for_known_values() -> None:
    data = load_json("countries.json")
    assert set(data["aliases"].values()) <= set(COUNTRIES)
    assert set(data["the"]) <= set(COUNTRIES)
    assert set(data["references"]) <= set(COUNTRIES)
    assert set(data["also"]) <= {r for c in COUNTRIES.values() for r in c.regions}
    for kind, names in data["other names"].items():
        known = {v for c in COUNTRIES.values() for v in getattr(c, kind)}
        units = {v.rpartition(" ")[2] for v in known}
        assert set(names.values()) <= known | units, kind
        assert set(names).isdisjoint(known), kind


def test_without_regions_no_region_is_told() -> None:
    kinds = {row["tag"] for row in facts()["predicates"] if row.get("category")}
    assert len(kinds) >= 20 and all(tag.startswith("region:") for tag in kinds)
    for predicate in oracle().predicates:
        query = oracle(has_categories=False).read(predicate.question)
        assert (query is None) == (predicate.name in kinds), predicate.question


@pytest.mark.parametrize(
    ("question", "yes", "no"),
    [
        ("Is it in Africa?", "Kenya Egypt Madagascar", "Iraq Spain Brazil"),
        ("Is it in West Africa?", "Ghana Mali", "Kenya Egypt Chad"),
        ("Is it in Central America?", "Panama Belize", "Mexico Cuba Colombia"),
        ("Does it border France?", "Spain Italy Belgium", "Portugal Brazil Austria"),
        ("Does it border the USA?", "Canada Mexico", "Cuba Russia"),
        ("Do they speak Mandarin?", "China Singapore", "Japan Mongolia"),
        ("Do they speak German?", "Austria Belgium Switzerland", "Denmark Poland"),
        ("Do they pay in pounds?", "Egypt Lebanon Syria", "Ireland Malta"),
        ("Do they pay in dollars?", "Ecuador Canada Australia", "Mexico Sweden"),
        ("Is its money the franc?", "Mali Guinea Switzerland", "France"),
        ("Do they use the US dollar?", "Ecuador Panama Palau", "Canada Fiji"),
        ("Is it landlocked?", "Laos Bolivia Austria", "Peru Gambia Jordan"),
        ("Does it have a coast?", "Iraq Jordan Congo", "Ethiopia Serbia"),
        ("Is it an island?", "Japan Cuba Ireland Haiti", "Italy Qatar Australia"),
        ("Is its capital Kiev?", "Ukraine", "Russia"),
        ("Does its capital start with A?", "Greece Jordan Ghana", "Brazil Spain"),
        ("Does its name start with I?", "Iran Iceland", "Japan Oman"),
        ("Has it many people?", "Japan Egypt Italy", "Norway Chad Spain"),
    ],
)
def test_answers_are_what_an_atlas_says(question: str, yes: str, no: str) -> None:
    countries = answered_yes(question)
    assert set(yes.split()) <= countries
    assert countries.isdisjoint(no.split())


def test_a_slug_has_no_space() -> None:
    assert slug("East Timor") == "east-timor"
    assert all(" " not in tag for c in COUNTRIES.values() for tag in c.tags())
