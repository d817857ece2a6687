"""Which template phrases which acts."""

from __future__ import annotations

import numpy as np
import pytest

from chat_envs.simulators.agenda import Act
from chat_envs.simulators.phrasebook import Phrasebook

TEMPLATES = {
    "inform.name": {"train": ["I am {name} ."], "test": ["{name} here ."]},
    "inform.code": {"train": ["Code {code} ."], "test": ["It is {code} ."]},
    "inform.name+inform.code": {
        "train": ["{name} , {code} ."],
        "test": ["{code} , {name} ."],
    },
    "inform.intent": {"train": ["I want {value} ."], "test": ["{value} , please ."]},
    "inform.intent.refund": {"train": ["My money !"], "test": ["Money back !"]},
    "bye": {"train": ["Bye .", "Thanks ."], "test": ["So long ."]},
}
NAME, CODE = Act("inform", "name", "Kim"), Act("inform", "code", "7")


@pytest.fixture
def book() -> Phrasebook:
    return Phrasebook(TEMPLATES)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_field_is_filled(book: Phrasebook, rng: np.random.Generator) -> None:
    assert book.phrase([NAME], rng) == "I am Kim ."


def test_the_longest_key_wins(book: Phrasebook, rng: np.random.Generator) -> None:
    assert book.phrase([Act("inform", "intent", "refund")], rng) == "My money !"
    assert book.phrase([Act("inform", "intent", "cancel")], rng) == "I want cancel ."


def test_acts_are_phrased_together_where_a_template_has_them(
    book: Phrasebook, rng: np.random.Generator
) -> None:
    assert book.phrase([NAME, CODE], rng) == "Kim , 7 ."
    assert book.phrase([CODE, NAME], rng) == "Code 7 . I am Kim ."


def test_two_acts_of_one_slot_keep_their_own_values(
    book: Phrasebook, rng: np.random.Generator
) -> None:
    acts = [Act("inform", "code", "7"), Act("inform", "code", "8")]
    assert book.phrase(acts, rng) == "Code 7 . Code 8 ."


def test_all_templates_are_used(book: Phrasebook, rng: np.random.Generator) -> None:
    assert {book.phrase([Act("bye")], rng) for _ in range(40)} == {"Bye .", "Thanks ."}


def test_splits_do_not_mix(rng: np.random.Generator) -> None:
    assert Phrasebook(TEMPLATES, "test").phrase([NAME, CODE], rng) == "7 , Kim ."


def test_further_fields(rng: np.random.Generator) -> None:
    book = Phrasebook({"bye": {"train": ["Bye , {who} ."]}})
    assert book.phrase([Act("bye")], rng, who="clerk") == "Bye , clerk ."


def test_an_act_without_template_names_the_key_to_add(
    book: Phrasebook, rng: np.random.Generator
) -> None:
    with pytest.raises(KeyError, match="confirm.name"):
        book.phrase([Act("confirm", "name")], rng)


def test_a_split_without_templates_is_refused() -> None:
    with pytest.raises(ValueError, match="'test'.*'bye'"):
        Phrasebook({"bye": {"train": ["Bye ."], "test": []}}, "test")
