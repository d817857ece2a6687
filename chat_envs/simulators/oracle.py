"""An oracle that answers yes/no questions about one of several things.

A set of things is an int whose bit i stands for thing i: what a predicate is true of, and
what is still possible (a *belief*), so that an answer is one `&`. Questions are read by a
grammar of listed phrases: text is reduced to a normal form and looked up, which takes the same few
microseconds however many phrases there are.
"""

from __future__ import annotations

import bisect
import functools
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Mapping, Sequence

from chat_envs.simulators.grammar import Grammar

__all__ = ["AttributeTable", "Oracle", "Predicate", "Query", "make_oracle"]

_VOWELS = tuple("aeiou")


@dataclass(frozen=True, slots=True)
class Predicate:
    """Something that is true of some things.

    Attributes:
        name: its tag.
        question: how the expert asks it.
        mask: the things that it is true of.
    """

    name: str
    question: str
    mask: int


@dataclass(frozen=True, slots=True)
class Query:
    """A question as it was read: the answer is yes for the things of `mask`.

    Attributes:
        mask: the things for which the answer is yes.
        guess: the one thing that was named, or None for a question about a property.
    """

    mask: int
    guess: int | None = None


Phrases = Mapping[str, Query]
Slots = Mapping[str, Mapping[str, Query]]


class AttributeTable:
    """Things and what is true of them, from a document like `data/objects.json`.

    `categories` maps a name to its common `tags` and its `objects`: a size and further tags each,
    `-` for no size, `-tag` for a common tag that does not hold.

    Args:
        document: what the file holds.
        names: keep these things alone; None for all.

    Raises:
        ValueError: if a thing is listed twice, or a row contradicts its category.
    """

    def __init__(
        self, document: Mapping[str, Any], names: Sequence[str] | None = None
    ) -> None:
        rows: dict[str, tuple[str, frozenset[str]]] = {}
        self.categories: dict[str, tuple[str, ...]] = {}
        for category, entry in document["categories"].items():
            common = frozenset(entry["tags"].split())
            for name, text in entry["objects"].items():
                if name in rows:
                    raise ValueError(f"{name!r} is listed twice; keep one of its rows.")
                size, *own = text.split()
                rows[name] = size, _tags(name, common, own)
            self.categories[category] = tuple(entry["objects"])
        missing = sorted(set(names or ()) - set(rows))
        if missing:
            raise ValueError(f"The table has no {missing}.")
        self.names = tuple(rows) if names is None else tuple(names)
        self.sizes = [
            None if rows[n][0] == "-" else float(rows[n][0]) for n in self.names
        ]
        self._tags = [rows[name][1] for name in self.names]
        self.everything = (1 << len(self.names)) - 1

    def tags(self, name: str) -> frozenset[str]:
        """Return what is true of `name`."""
        return self._tags[self.names.index(name)]

    def mask(self, tag: str) -> int:
        """Return the things that have `tag`."""
        return sum(1 << i for i, tags in enumerate(self._tags) if tag in tags)

    def sized(self, low: float, high: float) -> int:
        """Return the things whose size lies in [`low`, `high`]; those without a size never do."""
        return sum(
            1 << i
            for i, s in enumerate(self.sizes)
            if s is not None and low <= s <= high
        )


def _tags(name: str, common: frozenset[str], own: Sequence[str]) -> frozenset[str]:
    added = {tag for tag in own if not tag.startswith("-")}
    removed = {tag[1:] for tag in own if tag.startswith("-")}
    if removed - common or added & common:
        wrong = sorted((removed - common) | (added & common))
        raise ValueError(
            f"{name!r} takes or adds {wrong}, against the tags of its category."
        )
    return (common | added) - removed


class Oracle:
    """Reads questions and knows their answers.

    Args:
        names: the things, as a guess names them.
        grammar: reduces text to a normal form.
        predicates: what the expert may ask, the first preferred among equals.
        phrases: normal form -> what it asks; or a function that returns that, called when
            something is first read.
        slots: normal form of a beginning -> normal form of an ending -> what both together ask;
            or a function, likewise.
        guesses: how the expert names each thing.
    """

    def __init__(
        self,
        names: Sequence[str],
        grammar: Grammar,
        predicates: Sequence[Predicate],
        phrases: Phrases | Callable[[], Phrases],
        slots: Slots | Callable[[], Slots],
        guesses: Sequence[str],
    ) -> None:
        self.names = tuple(names)
        self.everything = (1 << len(self.names)) - 1
        self.predicates = tuple(predicates)
        self.guesses = tuple(guesses)
        self._grammar = grammar
        self._given = phrases, slots

    @functools.cached_property
    def _phrases(self) -> Phrases:
        given, _ = self._given
        return dict(given() if callable(given) else given)

    @functools.cached_property
    def _slots(self) -> Slots:
        _, given = self._given
        return dict(given() if callable(given) else given)

    @functools.cached_property
    def _ending_lengths(self) -> list[int]:
        endings = {end for ends in self._slots.values() for end in ends}
        return sorted({len(end.split()) for end in endings}, reverse=True)

    def read(self, text: str) -> Query | None:
        """Return what `text` asks, or None if it is not one question that the grammar knows."""
        words = self._grammar.words(text)
        if not words:
            return None
        query = self._phrases.get(" ".join(words))
        if query is not None:
            return query
        for length in self._ending_lengths:
            answers = self._slots.get(" ".join(words[:-length]))
            if answers is not None:
                query = answers.get(" ".join(words[-length:]))
                if query is not None:
                    return query
        return None

    def questions(self) -> list[int]:
        """Return the mask of every question about a property that the grammar can read, once."""
        queries = [*self._phrases.values()]
        queries += [query for ends in self._slots.values() for query in ends.values()]
        return sorted({query.mask for query in queries if query.guess is None})


def make_oracle(
    table: AttributeTable,
    facts: Mapping[str, Any],
    language: Mapping[str, Any],
    *,
    has_categories: bool = True,
    asked: Mapping[str, str] | None = None,
) -> Oracle:
    """Return an oracle over `table`.

    Args:
        table: the things.
        facts: a document like `data/objects.json`: predicates, sizes, articles, aliases.
        language: a document like `data/twenty_questions.json`: forms, drop, replace.
        has_categories: whether questions about the kind of the thing are understood.
        asked: tag -> how the expert asks it, if it asks these alone.

    Raises:
        ValueError: if one phrase would ask two things; when something is first read.
    """
    grammar = Grammar(language["drop"], language["replace"])
    rows = [
        (row, Query(_row_mask(table, row)))
        for row in facts["predicates"]
        if has_categories or not row.get("category")
    ]
    predicates = []
    for row, query in rows:
        if asked is None:
            question = next(_wordings(row, language["forms"], facts["articles"]))
            predicates.append(Predicate(row["tag"], question, query.mask))
        elif row["tag"] in asked:
            predicates.append(Predicate(row["tag"], asked[row["tag"]], query.mask))
    if asked is None:
        predicates += _size_predicates(table, facts, language["forms"]["bigger"][0])
    form = language["forms"]["guess"][0]
    guesses = [_fill(form, name, facts["articles"]) for name in table.names]
    return Oracle(
        table.names,
        grammar,
        predicates,
        # Thousands of wordings: they wait until something is read.
        functools.partial(_make_phrases, rows, facts, language, grammar),
        functools.partial(_make_slots, table, facts, language["forms"], grammar),
        guesses,
    )


def _make_phrases(
    rows: Sequence[tuple[Mapping[str, Any], Query]],
    facts: Mapping[str, Any],
    language: Mapping[str, Any],
    grammar: Grammar,
) -> Phrases:
    """Return what each wording of the predicates asks."""
    phrases: dict[str, Query] = {}
    for row, query in rows:
        for wording in _wordings(row, language["forms"], facts["articles"]):
            if phrases.setdefault(grammar.normal(wording), query) != query:
                raise ValueError(
                    f"{wording!r} asks two things (in {row['tag']!r} the second)."
                )
    return phrases


def _make_slots(
    table: AttributeTable,
    facts: Mapping[str, Any],
    forms: Mapping[str, Sequence[str]],
    grammar: Grammar,
) -> Slots:
    """Return the beginnings and endings of guesses and of comparisons."""
    slots = _guess_slots(table, facts, forms["guess"], grammar)
    for comparison in ("bigger", "smaller"):
        endings = {
            grammar.normal(name): Query(
                _compare(table, facts["sizes"], comparison, size)
            )
            for name, size in _measures(facts)
        }
        for wording in forms[comparison]:
            slots[grammar.normal(wording.format("", a=""))] = endings
    return slots


def _row_mask(table: AttributeTable, row: Mapping[str, Any]) -> int:
    if "not" in row:
        return table.everything & ~table.mask(row["not"])
    if "min" in row or "max" in row:
        return table.sized(row.get("min", 0.0), row.get("max", float("inf")))
    return table.mask(row["tag"])


def _wordings(
    row: Mapping[str, Any],
    forms: Mapping[str, Sequence[str]],
    articles: Mapping[str, Sequence[str]],
) -> Iterator[str]:
    """Yield every way to ask the predicate of `row`, the expert's first."""
    if "ask" in row:
        yield row["ask"]
    for form in forms[row["form"]]:
        if "{base}" not in form or "base" in row:
            yield _fill(form, row["word"], articles, base=row.get("base", ""))
    yield from row.get("also", ())


def _fill(
    form: str, word: str, articles: Mapping[str, Sequence[str]], base: str = ""
) -> str:
    """Return `form` with `word` and its article in it; some words have none."""
    text = form.format(word, a=_article(word, articles), base=base)
    return " ".join(text.split())


def _article(name: str, articles: Mapping[str, Sequence[str]]) -> str:
    for article, names in articles.items():
        if name in names:
            return article
    return "an" if name.startswith(_VOWELS) else "a"


def _guess_slots(
    table: AttributeTable,
    facts: Mapping[str, Any],
    forms: Sequence[str],
    grammar: Grammar,
) -> dict[str, Mapping[str, Query]]:
    index = {name: i for i, name in enumerate(table.names)}
    called = index | {
        alias: index[name] for alias, name in facts["aliases"].items() if name in index
    }
    endings = {grammar.normal(name): Query(1 << i, i) for name, i in called.items()}
    if len(endings) != len(called):
        raise ValueError(
            "Two names of things are one to the grammar; rename one of them."
        )
    return {grammar.normal(form.format("", a="")): endings for form in forms}


def _measures(facts: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield everything that a size may be compared with; not only the things of one table."""
    whole = AttributeTable(facts)
    sizes = dict(zip(whole.names, whole.sizes, strict=True))
    sizes |= {alias: sizes[name] for alias, name in facts["aliases"].items()}
    for name, size in (sizes | facts["sizes"]["others"]).items():
        if size is not None:
            yield name, size


def _compare(
    table: AttributeTable, sizes: Mapping[str, Any], form: str, size: float
) -> int:
    """Return the things that are clearly bigger (smaller): by one class of size at least."""
    bounds: list[float] = sizes["bounds"]
    rank = bisect.bisect_right(bounds, size)
    ranks = [None if s is None else bisect.bisect_right(bounds, s) for s in table.sizes]
    if form == "bigger":
        return sum(1 << i for i, r in enumerate(ranks) if r is not None and r > rank)
    return sum(1 << i for i, r in enumerate(ranks) if r is not None and r < rank)


def _size_predicates(
    table: AttributeTable, facts: Mapping[str, Any], form: str
) -> Iterator[Predicate]:
    sizes = dict(_measures(facts))
    for name in facts["sizes"]["references"]:
        question = _fill(form, name, facts["articles"])
        mask = _compare(table, facts["sizes"], "bigger", sizes[name])
        yield Predicate(f"bigger than {name}", question, mask)
