"""What the tests of GuessPlace and of its data share: its table and the oracle over it."""

from __future__ import annotations

import functools
from typing import Any

from chat_envs.data_file import load_json
from chat_envs.envs._guess_place_facts import make_facts, read_countries
from chat_envs.simulators.oracle import AttributeTable, Oracle, make_oracle

__all__ = ["COUNTRIES", "answered_yes", "facts", "oracle"]


@functools.cache
def facts() -> Any:
    """Return the document that the oracle is made of."""
    return make_facts(load_json("countries.json"), load_json("guess_place.json"))


@functools.cache
def oracle(*, has_categories: bool = True) -> Oracle:
    """Return an oracle over all countries, with or without regions."""
    return make_oracle(
        AttributeTable(facts()),
        facts(),
        load_json("guess_place.json"),
        has_categories=has_categories,
    )


COUNTRIES = {c.name: c for c in read_countries(load_json("countries.json"))}


def answered_yes(question: str) -> set[str]:
    """Return the countries for which the answer to `question` is yes."""
    query = oracle().read(question)
    assert query is not None, question
    return {n for i, n in enumerate(oracle().names) if query.mask >> i & 1}
