"""What the tests of GuessPlace share: its table, its environments, and how to play a turn."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

from chat_envs.envs._guess_place_facts import make_facts, read_countries
from chat_envs.envs.guess_place import GuessPlace
from chat_envs.simulators.oracle import AttributeTable, Oracle, make_oracle

__all__ = [
    "COUNTRIES",
    "LARGE_TIERS",
    "TIERS",
    "answered_yes",
    "begin",
    "document",
    "facts",
    "oracle",
    "say",
    "shared",
]

TIERS = ("easy", "default", "hard")
LARGE_TIERS = ("default", "hard")


@functools.cache
def document(name: str) -> Any:
    """Return what a data file holds."""
    path = resources.files("chat_envs").joinpath("data", name)
    return json.loads(path.read_text(encoding="utf-8"))


@functools.cache
def facts() -> Any:
    """Return the document that the oracle is made of."""
    return make_facts(document("countries.json"), document("guess_place.json"))


@functools.cache
def oracle(*, has_categories: bool = True) -> Oracle:
    """Return an oracle over all countries, with or without regions."""
    return make_oracle(
        AttributeTable(facts()),
        facts(),
        document("guess_place.json"),
        has_categories=has_categories,
    )


COUNTRIES = {c.name: c for c in read_countries(document("countries.json"))}


def answered_yes(question: str) -> set[str]:
    """Return the countries for which the answer to `question` is yes."""
    query = oracle().read(question)
    assert query is not None, question
    return {n for i, n in enumerate(oracle().names) if query.mask >> i & 1}


@functools.cache
def shared(tier: str, split: str = "train") -> GuessPlace:
    """Return one environment a tier; every test resets it."""
    return GuessPlace(tier, split=split)


def begin(env: GuessPlace, name: str) -> None:
    """Start an episode with a given goal, which no seed could be asked for."""
    env.reset(seed=0)
    env._goal = env.oracle.names.index(name)
    env._candidates = env.oracle.everything


def say(env: GuessPlace, text: str) -> tuple[str, float, bool]:
    """Return the answer to `text`, the reward and whether the episode is over."""
    _, reward, terminated, truncated, _ = env.step(env.encode(text))
    return env.conversation[-1].content, reward, terminated or truncated
