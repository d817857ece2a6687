"""The facts of `data/countries.json` as predicates for `chat_envs.simulators.oracle`.

A tag names a fact, `kind:value`: `language:french`, `border:south-africa`, `neighbours:3` (more
than three of them).
"""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Any, Iterable, Iterator, Mapping, Sequence

__all__ = ["Country", "make_facts", "read_countries", "slug"]

_MAX_NEIGHBOURS = 6
_MILLIONS = (1, 2, 5, 10, 20, 50, 100)

Forms = Mapping[str, Sequence[str]]
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Country:
    """What the file says of one country.

    Attributes:
        name: as the expert calls it.
        regions: the smallest first.
        capitals: cities; most countries have one.
        people: millions.
        currencies: names, such as "dollar" or "CFA franc".
        languages: official or working ones.
        borders: names of countries.
        land: "landlocked", "island" or "".
    """

    name: str
    regions: tuple[str, ...]
    capitals: tuple[str, ...]
    people: float
    currencies: tuple[str, ...]
    languages: tuple[str, ...]
    borders: tuple[str, ...]
    land: str

    def tags(self) -> Iterator[str]:
        """Yield what is true of it."""
        for region in self.regions:
            yield f"region:{slug(region)}"
        for language in self.languages:
            yield f"language:{slug(language)}"
        for currency in self.currencies:
            yield f"currency:{slug(currency)}"
            yield f"currency:{slug(_unit(currency))}"
        for capital in self.capitals:
            yield f"capital:{slug(capital)}"
            yield f"capital-letter:{capital[0].lower()}"
        for country in self.borders:
            yield f"border:{slug(country)}"
        for count in range(len(self.borders)):
            yield f"neighbours:{count}"
        yield f"name-letter:{self.name[0].lower()}"
        if self.land:
            yield self.land


def slug(text: str) -> str:
    """Return `text` as a part of a tag, which has no spaces.

    >>> slug("South Africa")
    'south-africa'
    """
    return text.lower().replace(" ", "-")


def read_countries(data: Mapping[str, Any]) -> list[Country]:
    """Return the countries of a document like `data/countries.json`, in its order."""
    countries = []
    for region, entry in data["regions"].items():
        for name, row in entry["countries"].items():
            capitals, people, currencies, languages, borders, land = row
            country = Country(
                name=name,
                regions=(region, *entry["in"]),
                capitals=_split(capitals),
                people=people,
                currencies=_split(currencies),
                languages=_split(languages),
                borders=_split(borders),
                land=land,
            )
            countries.append(country)
    return countries


def make_facts(data: Mapping[str, Any], language: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of which `make_oracle` makes an oracle over countries.

    Args:
        data: a document like `data/countries.json`.
        language: a document like `data/guess_place.json`.
    """
    countries = read_countries(data)
    categories: dict[str, Any] = {}
    for country in countries:
        entry = categories.setdefault(country.regions[0], {"tags": "", "objects": {}})
        # Several facts may give one tag.
        tags = " ".join(dict.fromkeys(country.tags()))
        entry["objects"][country.name] = f"{country.people} {tags}"
    with_article = set(data["the"])
    return {
        "categories": categories,
        "predicates": list(_predicates(data, language, countries)),
        # Every number is a bound: of two countries the one with more people has more.
        "sizes": {
            "bounds": sorted({country.people for country in countries}),
            "references": data["references"],
            "others": {},
        },
        "articles": {
            "the": data["the"],
            "": [c.name for c in countries if c.name not in with_article],
        },
        "aliases": data["aliases"],
    }


def _predicates(
    data: Mapping[str, Any], language: Mapping[str, Any], countries: list[Country]
) -> Iterator[Row]:
    forms: Forms = language["forms"]
    others = {kind: _inverse(names) for kind, names in data["other names"].items()}
    yield from _regions(data, forms)
    yield from language["predicates"]
    languages = _common_first(c.languages for c in countries)
    yield from _valued("language", languages, others["languages"], forms)
    units = _common_first([_unit(m) for m in c.currencies] for c in countries)
    named = _common_first(c.currencies for c in countries)
    currencies = list(dict.fromkeys([*units, *named]))
    yield from _valued("currency", currencies, others["currencies"], forms)
    for millions in _MILLIONS:
        word = str(millions)
        yield {"tag": f"over:{word}", "form": "over", "word": word, "min": millions}
        yield {"tag": f"under:{word}", "form": "under", "word": word, "max": millions}
    for count in range(1, _MAX_NEIGHBOURS + 1):
        yield {
            "tag": f"neighbours:{count}",
            "form": "neighbours",
            "word": str(count),
        }
    borders = _common_first(c.borders for c in countries)
    yield from _valued("border", borders, _inverse(data["aliases"]), forms)
    letters = _common_first([name[0] for name in c.capitals] for c in countries)
    yield from _valued("capital-letter", letters, {}, forms)
    letters = _common_first([c.name[0]] for c in countries)
    yield from _valued("name-letter", letters, {}, forms)
    capitals = _common_first(c.capitals for c in countries)
    yield from _valued("capital", capitals, others["capitals"], forms)


def _regions(data: Mapping[str, Any], forms: Forms) -> Iterator[Row]:
    adjectives: Mapping[str, str] = data["continents"]
    for region in dict.fromkeys([*adjectives, *data["regions"]]):
        row: Row = {
            "tag": f"region:{slug(region)}",
            "form": "region",
            "word": region,
            "also": list(_fillings(data["also"].get(region, ()), forms["region"])),
            "category": True,
        }
        if region in adjectives:
            row["base"] = adjectives[region]
        yield row


def _valued(
    kind: str,
    values: Iterable[str],
    others: Mapping[str, Sequence[str]],
    forms: Forms,
) -> Iterator[Row]:
    """Yield a predicate for every value of `kind`, whose other names ask the same."""
    for value in values:
        yield {
            "tag": f"{kind}:{slug(value)}",
            "form": kind,
            "word": value,
            "base": f"{value}s",
            "also": list(_fillings(others.get(value, ()), forms[kind])),
        }


def _fillings(names: Iterable[str], forms: Sequence[str]) -> Iterator[str]:
    for name in names:
        for form in forms:
            if "{base}" not in form:
                yield form.format(name, a="")


def _common_first(values: Iterable[Iterable[str]]) -> list[str]:
    """Return every value once; what tells more is then asked first among equals."""
    counts = collections.Counter(value for some in values for value in some)
    return [value for value, _ in counts.most_common()]


def _inverse(names: Mapping[str, str]) -> dict[str, list[str]]:
    inverse: dict[str, list[str]] = {}
    for other, name in names.items():
        inverse.setdefault(name, []).append(other)
    return inverse


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split(", ")) if text else ()


def _unit(currency: str) -> str:
    """Return the last word: a US dollar is a dollar."""
    return currency.rpartition(" ")[2]
