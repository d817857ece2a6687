"""Goals and words of `VoiceAssistant`: what is held out, what is seen, what sounds alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from chat_envs.core import SPLITS
from chat_envs.envs._voice_assistant_goal import TIERS, Goals, Script, hearable
from chat_envs.envs._voice_assistant_reader import Command
from chat_envs.envs.voice_assistant import _channel, _goals, _script
from chat_envs.simulators.stream import split_streams
from tests.chat_envs.envs.house import DATA, READER

LANGUAGES = ("easy", "default")


def drawn(tier: str, split: str, num: int = 3000) -> list[tuple[Command, ...]]:
    goals = _goals(tier, split)
    (rng,) = split_streams(np.random.default_rng(0), 1)
    return [tuple(goals.draw(READER.key, rng)) for _ in range(num)]


# Goals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_the_splits_share_no_goal(tier: str) -> None:
    train, test = (set(drawn(tier, split)) for split in SPLITS)
    assert train.isdisjoint(test)
    held_out = set(_goals(tier, "test").first)
    assert held_out.isdisjoint(_goals(tier, "train").first)
    assert all(held_out.isdisjoint(goal) for goal in train)
    assert all(goal[0] in held_out for goal in test)


@pytest.mark.parametrize("tier", TIERS)
def test_every_part_of_a_held_out_command_is_seen_in_training(tier: str) -> None:
    seen = _goals(tier, "train").first
    for command in _goals(tier, "test").first:
        assert command.value in {c.value for c in seen}
        assert command[:2] in {c[:2] for c in seen}


@pytest.mark.parametrize("tier", TIERS)
def test_both_splits_together_have_every_command_of_the_tier(tier: str) -> None:
    everything = {c for i in READER.intents for c in i.commands}
    if tier == "easy":
        rows = [i for i in READER.intents if i.is_easy]
        everything = {c for i in rows for c in i.commands[:4]}
        assert len(everything) == 28
    train, test = (_goals(tier, split) for split in SPLITS)
    assert {*train.first, *test.first} == set(test.rest) == everything
    assert train.rest == train.first
    share = len(test.first) / len(everything)
    assert 0.1 < share <= 0.25


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_requests_of_a_goal_set_different_things(tier: str, split: str) -> None:
    goals = drawn(tier, split, 1000)
    for goal in goals:
        assert len({READER.key(c) for c in goal}) == len(goal)
        assert len(goal) == TIERS[tier].num_requests


@pytest.mark.parametrize("tier", TIERS)
def test_every_command_is_drawn_equally_often(tier: str) -> None:
    goals = drawn(tier, "train")
    first = [goal[0] for goal in goals]
    pool = _goals(tier, "train").first
    expected = len(first) / len(pool)
    for command in pool:
        assert abs(first.count(command) - expected) < 4.5 * expected**0.5


def test_no_command_of_the_easy_tier_is_common_enough_to_guess() -> None:
    assert all(len(_goals("easy", split).first) >= 7 for split in SPLITS)


def test_some_requests_cannot_be_taken_back() -> None:
    for tier in TIERS:
        pool = _goals(tier, "train").first
        share = sum(READER.intent(c).is_irreversible for c in pool) / len(pool)
        assert 0.08 < share < 0.2


# Words ------------------------------------------------------------------------------------------


def templates(script: Script) -> set[str]:
    return {*itertools.chain(*script._requests.values()), *script._asides}


@pytest.mark.parametrize("tier", LANGUAGES)
def test_the_splits_share_no_phrasing(tier: str) -> None:
    train, test = (_script(tier, split) for split in SPLITS)
    for name, texts in train._requests.items():
        assert texts and test._requests[name]
        assert set(texts).isdisjoint(test._requests[name])
    assert set(train._asides).isdisjoint(test._asides)
    assert len(templates(test)) * 2 < len(templates(train))
    for kind, lines in train.lines.items():
        assert kind == "no" or set(lines).isdisjoint(test.lines[kind])


@pytest.mark.parametrize("tier", LANGUAGES)
def test_every_word_and_every_core_of_the_test_split_is_seen_in_training(
    tier: str,
) -> None:
    train, test = (_script(tier, split) for split in SPLITS)
    assert test.words() <= train.words()
    for intent in READER.intents:
        name = intent.device, intent.verb
        for core in intent.cores if name in train._requests else ():
            is_used = tier != "easy" or core == intent.cores[0]
            assert any(core in text for text in train._requests[name]) == is_used
    for part in ("greetings", "endings"):
        for text in DATA[part][tier]:
            assert any(text in template for template in templates(train))
    for remark, name in itertools.product(DATA["remarks"][tier], DATA["names"]):
        said = {f"{remark} {name}", f"{name} {remark}"}
        assert said <= {*train._asides, *test._asides}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_an_aside_names_whom_it_is_for(tier: str, split: str) -> None:
    (rng,) = split_streams(np.random.default_rng(1), 1)
    script = _script(tier, split)
    asides = [script.aside(rng) for _ in range(400)]
    assert all(set(text.split()) & set(DATA["names"]) for text in asides)
    share = sum(READER.command(text.split()) is not None for text in asides) / 400
    expected = TIERS[tier].bystander_rate
    assert abs(share - expected) <= 0.1 if expected else share == 0.0


@pytest.mark.parametrize("tier", TIERS)
def test_a_request_names_nobody(tier: str) -> None:
    for split in SPLITS:
        words = {
            w
            for t in _script(tier, split)._requests.values()
            for x in t
            for w in x.split()
        }
        assert words.isdisjoint(DATA["meanings"]["names"])
        assert words.isdisjoint(DATA["meanings"]["no"])


# Sounds -----------------------------------------------------------------------------------------


def test_every_word_that_matters_sounds_like_another() -> None:
    similar = DATA["similar"]
    values = {v for i in READER.intents for v in i.values}
    said = {w for s in SPLITS for w in _script("default", s).words()}
    needed = values | (said & {w for i in READER.intents for w in i.words})
    needed |= said & set(itertools.chain(*DATA["devices"].values()))
    missing = needed - set(similar) - {"volume"}
    assert not missing
    for word, others in similar.items():
        assert len(others) == len(set(others)) == 2 and word not in others
        assert all(other.isalpha() and other.islower() for other in others)


def test_some_errors_cannot_be_seen_in_the_words() -> None:
    """Else whoever asks about what it could not read alone would be right always."""
    similar = DATA["similar"]
    values = {v for i in READER.intents for v in i.values}
    silent = {v for v in values if values & set(similar[v])}
    assert len(silent) >= 15
    assert "off" in similar["on"] and "on" in similar["off"]
    for word, meaning in (("yes", "no"), ("no", "yes")):
        assert set(similar[word]).isdisjoint(DATA["meanings"][meaning])


def test_a_misheard_name_is_still_a_name() -> None:
    names = DATA["meanings"]["names"]
    for name in DATA["names"]:
        assert set(DATA["similar"][name]) & set(names)


def test_the_easy_tier_has_a_small_vocabulary() -> None:
    script_words = set().union(*(_script("easy", split).words() for split in SPLITS))
    values = {c.value for c in _goals("easy", "test").rest}
    known = {*script_words, *values, *DATA["fillers"]["easy"]}
    known.discard("{value}")
    assert len(known) <= 60
    channel = _channel("easy", 0.15)
    assert set(itertools.chain(*channel._similar.values())) <= known
    assert channel._similar["five"] == ("nine",)
    assert "kitchen" not in channel._similar  # it becomes noise


def test_hearable_keeps_what_is_in_the_vocabulary() -> None:
    similar = {"a": ["b", "c"], "b": ["x"], "c": ["a"]}
    assert hearable(similar, ["a", "b"]) == {"a": ["b"]}
    assert hearable(similar, "abc") == {"a": ["b", "c"], "c": ["a"]}
    assert similar == {"a": ["b", "c"], "b": ["x"], "c": ["a"]}


def test_goals_of_one_request_are_drawn_from_the_first_pool_alone() -> None:
    goals = Goals(READER.intents, TIERS["easy"], "test")
    (rng,) = split_streams(np.random.default_rng(2), 1)
    assert {c for _ in range(300) for c in goals.draw(READER.key, rng)} == set(
        goals.first
    )
