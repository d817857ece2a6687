"""Paraphrase: what a reply means, which templates are withheld, what each policy earns."""

from __future__ import annotations

import collections
import functools
import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs.paraphrase import (
    SWEEP,
    Goal,
    Paraphrase,
    _data,
    _phrase,
    make_vector,
    read_goal,
    score,
    split_templates,
)
from chat_envs.message import Role
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, play, play_many
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode

TIERS = ("easy", "default", "hard")
SHARES = [kwargs["withheld"] for kwargs in SWEEP]
THINGS = ("fan", "bus")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def begin(env: Paraphrase, seed: int) -> Goal:
    env.reset(seed=seed)
    return env._goal


def said(env: Paraphrase) -> str:
    message = env.conversation.last(Role.USER)
    assert message is not None
    return message.content


@pytest.mark.parametrize(
    ("tier", "num_ids"), [("easy", 96), ("default", 384), ("hard", 384)]
)
@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(
    tier: str, num_ids: int, split: str
) -> None:
    assert longest_expert_episode(Paraphrase(tier, split=split)) <= num_ids


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(Paraphrase, tier=tier), num_episodes=20)


@pytest.mark.parametrize(
    "reply",
    [
        "fan on",
        "FAN ON!",
        "on fan",
        "The fan is on.",
        "Ok, it is done: the fan on now.",
        "\n fan:\ton ",
    ],
)
def test_what_names_a_thing_and_a_state(reply: str) -> None:
    assert read_goal(reply, THINGS) == Goal("fan", "on")


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "fan",
        "on",
        "on off",
        "fan bus",
        "fan on off",
        "fan bus on",
        "fan on fan on",
        "turn the fan on",
        "fan not on",
        "car on",
        "fanon",
        "fan on" + " " * 300,
        "fan on " * 150_000,
        "\ud800 <|end|> \x00",
    ],
)
def test_what_is_no_answer(reply: str) -> None:
    assert read_goal(reply, THINGS) is None


@given(st.text(max_size=350))
def test_any_text_is_read_without_an_error(text: str) -> None:
    goal = read_goal(text, THINGS)
    assert goal is None or (goal.thing in THINGS and goal.state in ("on", "off"))


@given(st.sampled_from(["fan on", "bus off"]), st.sampled_from(["on", "off", *THINGS]))
def test_one_word_more_spoils_an_answer(reply: str, word: str) -> None:
    assert read_goal(f"{reply} {word}", THINGS) is None
    assert read_goal(f"{word} {reply}", THINGS) is None


def test_no_user_text_is_an_answer_itself() -> None:
    for template in itertools.product(range(4), range(6), range(4)):
        for state in ("on", "off"):
            text = _phrase(_data(), template, Goal("fan", state))
            assert "fan" in text
            assert read_goal(text, THINGS) is None


@pytest.mark.parametrize("core", range(6))
def test_on_and_off_are_said_differently_with_the_same_words(core: int) -> None:
    on, off = (
        _phrase(_data(), (0, core, 0), Goal("fan", state)) for state in ("on", "off")
    )
    assert on != off
    seen = " ".join(
        _phrase(_data(), (0, other, 0), Goal("fan", state))
        for other in range(6)
        for state in ("on", "off")
        if (other, state) != (core, "off")
    )
    assert set(_words(off)) <= set(_words(seen))


@pytest.mark.parametrize("share", SHARES)
def test_the_share_is_withheld_and_nothing_is_in_both_splits(share: float) -> None:
    templates = split_templates(share)
    assert len(templates["test"]) == round(96 * share)
    assert not set(templates["train"]) & set(templates["test"])
    assert len({*templates["train"], *templates["test"]}) == 96


@pytest.mark.parametrize("share", SHARES)
def test_every_part_is_seen_in_training(share: float) -> None:
    for place, size in enumerate((4, 6, 4)):
        seen = {template[place] for template in split_templates(share)["train"]}
        assert seen == set(range(size))


def test_what_is_left_of_the_largest_share_has_each_part_equally_often() -> None:
    left = split_templates(0.875)["train"]
    for place, size in enumerate((4, 6, 4)):
        counts = collections.Counter(template[place] for template in left)
        assert counts == dict.fromkeys(range(size), 12 // size)


def test_more_is_withheld_and_nothing_else() -> None:
    for share, larger in itertools.pairwise(SHARES):
        assert set(split_templates(share)["test"]) < set(
            split_templates(larger)["test"]
        )


@pytest.mark.parametrize("share", [0.0, 0.004, 0.9, 1.0, -0.5, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="withheld must be above 0 and at most 0.875"):
        Paraphrase(withheld=share)


def test_an_unknown_tier_is_refused() -> None:
    with pytest.raises(ValueError, match="tier must be one of"):
        Paraphrase("esay")


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_is_right_and_the_blind_is_not(tier: str, split: str) -> None:
    env = Paraphrase(tier, split=split)
    expert = play_many(env, REPLIERS["expert"], range(100))
    blind = play_many(env, REPLIERS["blind"], range(300))
    assert all(r.episode_return == 1.0 and r.success for r in expert)
    assert {r.termination_reason for r in expert} == {"understood"}
    assert sum(r.episode_return for r in blind) / len(blind) <= 0.15


@pytest.mark.parametrize("tier", TIERS)
def test_the_hostile_earn_nothing(tier: str) -> None:
    env = Paraphrase(tier)
    for name, replier in HOSTILE_REPLIERS.items():
        records = play_many(env, replier, range(60))
        assert sum(r.episode_return for r in records) == 0.0, name


def test_goals_are_the_same_in_both_splits_and_templates_are_not() -> None:
    shapes: dict[str, set[str]] = {}
    train, test = (Paraphrase(split=split) for split in SPLITS)
    for seed in range(50):
        assert begin(train, seed) == begin(test, seed)
    for env in (train, test):
        goals, shapes[env.split] = set(), set()
        for seed in range(600):
            goal = begin(env, seed)
            goals.add(goal)
            shapes[env.split].add(said(env).replace(goal.thing, "THING"))
        assert len(goals) == 24
    assert not shapes["train"] & shapes["test"]


def test_the_share_changes_the_template_and_not_the_goal() -> None:
    few, many = (Paraphrase(withheld=share) for share in (0.125, 0.875))
    goals = [(begin(few, seed), begin(many, seed)) for seed in range(40)]
    assert all(a == b for a, b in goals)
    told = [[], []]  # type: list[list[str]]
    for seed in range(40):
        for env, texts in zip((few, many), told):
            begin(env, seed)
            texts.append(said(env))
    assert told[0] != told[1]


@pytest.mark.parametrize("kwargs", SWEEP)
def test_the_sweep_can_be_solved(kwargs: dict[str, Any]) -> None:
    for split in SPLITS:
        env = Paraphrase(split=split, **kwargs)
        assert play(env, REPLIERS["expert"], 1).success


def test_the_score_is_a_ratio_of_what_was_learnt() -> None:
    assert score([1.0] * 6, [1.0] * 6) == 1.0
    assert score([0.8] * 6, [0.4] * 6) == pytest.approx(0.5)
    assert score([0.8] * 6, [0.9] * 6) == 1.0
    assert score([0.0] * 6, [0.0] * 6) == 0.0
    assert score([0.04] * 6, [0.04] * 6) == 0.0  # chance on both
    for wrong in ([1.0], [2.0] * 6, [float("nan")] * 6):
        with pytest.raises(ValueError, match="Expected 6 shares"):
            score(wrong, [1.0] * 6)
        with pytest.raises(ValueError, match="Expected 6 shares"):
            score([1.0] * 6, wrong)


def test_several_turns_end_with_the_right_answer() -> None:
    env = Paraphrase("easy", max_turns=3)
    thing, state = begin(env, 2)
    assert "3 turn" in env.conversation[0].content
    assert env.step(env.encode("hm"))[1:4] == (0.0, False, False)
    assert said(env) == "Sorry, I did not get that."
    wrong = "off" if state == "on" else "on"
    assert env.step(env.encode(f"{thing} {wrong}"))[1:4] == (0.0, False, False)
    assert said(env) == "No."
    assert env.step(env.encode(env.expert_reply()))[1:4] == (1.0, True, False)


def test_the_vector_environment_says_the_same() -> None:
    vector = make_vector(3, tier="easy")
    vector.reset(seed=[4, 5, 6])
    single = Paraphrase("easy")
    for env, seed in zip(vector.envs, (4, 5, 6), strict=True):
        begin(single, seed)
        assert env.conversation == single.conversation
