"""Recall: what is told, when it is asked, what is held out, what memory is worth."""

from __future__ import annotations

import functools
import math
import re
from typing import Any

import pytest

from chat_envs.core import SPLITS, ChatEnv
from chat_envs.envs.recall import SWEEP, Recall, make_vector, score
from chat_envs.message import Role
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, play, play_many
from chat_envs.simulators.combination import is_held_out
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode

TIERS = {"easy": (2, 1, False), "default": (6, 1, False), "hard": (12, 1, True)}
COLOURS = Recall().candidate_replies()
THINGS = Recall()._things


def listen(env: Recall, seed: int) -> list[str]:
    """Play to the question with "ok"; return what the user said, the question last."""
    env.reset(seed=seed)
    while not env.turn == env.max_turns - 1:
        assert env.step(env.encode("ok"))[1:4] == (0.0, False, False)
    return [m.content for m in env.conversation if m.role is Role.USER]


def words_of(text: str, listed: list[str]) -> list[str]:
    return [word for word in re.findall(r"\w+", text) if word in listed]


def last_colour(env: ChatEnv) -> str:
    """Answer with the colour that was said last, whatever it belongs to."""
    said = " ".join(m.content for m in env.conversation if m.role is Role.USER)
    return words_of(said, COLOURS)[-1] if env.turn == env.max_turns - 1 else "ok"


@pytest.mark.parametrize(
    ("tier", "num_ids"), [("easy", 96), ("default", 384), ("hard", 384)]
)
@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(
    tier: str, num_ids: int, split: str
) -> None:
    assert longest_expert_episode(Recall(tier, split=split)) <= num_ids


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(Recall, tier=tier), num_episodes=30)


@pytest.mark.parametrize("tier", TIERS)
def test_the_tiers_are_as_told(tier: str) -> None:
    env = Recall(tier)
    assert (env.max_turns, env.facts, env.has_lures) == TIERS[tier]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_knows_and_the_blind_guesses(tier: str, split: str) -> None:
    env = Recall(tier, split=split)
    for record in play_many(env, REPLIERS["expert"], range(40)):
        assert (record.episode_return, record.success) == (1.0, True)
        assert record.num_turns == env.max_turns
        assert record.termination_reason == "right"
    blind = play_many(env, REPLIERS["blind"], range(160))
    rate = sum(r.episode_return for r in blind) / 160
    assert abs(rate - 1 / 8) <= 3 * math.sqrt(7 / 64 / 160)
    for name, replier in HOSTILE_REPLIERS.items():
        assert not any(r.success for r in play_many(env, replier, range(6))), name


@pytest.mark.parametrize("settings", SWEEP)
def test_the_fact_is_told_first_and_asked_last(settings: dict[str, Any]) -> None:
    env = Recall(**settings)
    for seed in range(3):
        *before, last = listen(env, seed)
        assert env.turn == settings["max_turns"] - 1
        first = before[0] if before else last
        (colour,) = words_of(first, COLOURS)
        asked = words_of(last, THINGS)[-1]
        assert asked in words_of(first, THINGS)
        for remark in before[1:]:
            assert not words_of(remark, COLOURS + THINGS)
        assert (colour, asked) == (env._colour, words_of(first, THINGS)[0])
        assert env.step(env.encode(colour))[1:4] == (1.0, True, False)


@pytest.mark.parametrize("settings", SWEEP)
def test_the_longest_replies_truncate_nothing(settings: dict[str, Any]) -> None:
    env = Recall(**settings)
    record = play(env, REPLIERS["longest_filler"], 3)
    assert not record.is_truncated
    assert record.num_turns == settings["max_turns"]


def test_only_the_last_reply_counts() -> None:
    env = Recall("easy", max_turns=3)
    for first in ("ok", "red", "blue", "", "\ud800" * 90):
        env.reset(seed=3)
        env.step(env.encode(first))
        env.step(env.encode("green"))
        assert env.step(env.encode(env.expert_reply()))[1] == 1.0
        env.reset(seed=3)
        for reply in (env._colour, env._colour, "hm"):
            _, reward, terminated, _, info = env.step(env.encode(reply))
        assert (reward, terminated, info["success"]) == (0.0, True, False)
        assert info["termination_reason"] == "unread"
        assert env.conversation[-1].content == "Sorry, I did not get that."


def test_a_wrong_colour_is_told_the_right_one() -> None:
    env = Recall("easy")
    listen(env, 0)
    wrong = next(c for c in COLOURS if c != env._colour)
    _, reward, terminated, _, info = env.step(env.encode(wrong))
    assert (reward, terminated, info["termination_reason"]) == (0.0, True, "wrong")
    assert env.conversation[-1].content == f"No, it is {env._colour}."


@pytest.mark.parametrize(
    ("reply", "is_read"),
    [
        ("{colour}", True),
        ("{colour}.", True),
        ("It is {colour}.", True),
        ("It's {colour}!", True),
        ("The {thing} is {colour}.", True),
        ("Your {thing} was {colour}", True),
        ("You said the {thing} is {colour}.", True),
        ("I think {colour}", True),
        ("The colour is {colour}", True),
        ("The {other} is {colour}.", False),
        ("not {colour}", False),
        ("{colour} {colour}", False),
        ("red or {colour}", False),
        ("{colour} " + "x" * 300, False),
        ("", False),
    ],
)
def test_an_answer_names_one_colour_of_the_thing(reply: str, is_read: bool) -> None:
    env = Recall("easy")
    asked = words_of(listen(env, 7)[-1], THINGS)[-1]
    other = next(thing for thing in THINGS if thing != asked)
    env.turn += 1
    text = reply.format(colour=env._colour, thing=asked, other=other)
    turn = env._respond(text)
    assert (turn.why == "right") == is_read
    assert turn.success == is_read


def test_an_american_spelling_is_read() -> None:
    env = Recall("easy")
    seed = next(s for s in range(99) if listen(env, s) and env._colour == "grey")
    listen(env, seed)
    assert env.step(env.encode("Gray"))[1] == 1.0


@pytest.mark.parametrize("split", SPLITS)
def test_lures_are_of_other_things(split: str) -> None:
    env = Recall("hard", split=split)
    num_lures = num_remarks = 0
    for seed in range(20):
        first, *between, last = listen(env, seed)
        asked = words_of(last, THINGS)[-1]
        for text in between:
            things, colours = words_of(text, THINGS), words_of(text, COLOURS)
            assert len(things) == len(colours) <= 1
            assert asked not in things
            num_lures += len(things)
            num_remarks += 1
    assert abs(num_lures / num_remarks - 0.5) <= 3 * math.sqrt(0.25 / num_remarks)


def test_lures_mislead_who_forgets_the_thing() -> None:
    plain, lured = (
        sum(r.success for r in play_many(env, last_colour, range(60)))
        for env in (Recall(max_turns=8), Recall(max_turns=8, has_lures=True))
    )
    assert plain == 60
    assert lured <= 25


def test_length_and_lures_leave_the_goal_and_its_phrasing() -> None:
    for seed in range(10):
        firsts, lasts = set(), set()
        for turns, has_lures in ((2, False), (6, False), (6, True), (12, True)):
            said = listen(Recall(max_turns=turns, has_lures=has_lures), seed)
            firsts.add(said[0])
            lasts.add(said[-1])
        assert len(firsts) == len(lasts) == 1


def test_held_out_are_pairs_of_thing_and_colour() -> None:
    pairs: dict[str, set[tuple[int, int]]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        env = Recall("easy", split=split)
        for seed in range(600):
            env.reset(seed=seed)
            said = env.conversation[-1].content
            (thing,), (colour,) = (
                words_of(said, listed) for listed in (THINGS, COLOURS)
            )
            pairs[split].add((THINGS.index(thing), COLOURS.index(colour)))
    assert (len(pairs["train"]), len(pairs["test"])) == (72, 24)
    assert all(is_held_out(pair) for pair in pairs["test"])
    assert not any(is_held_out(pair) for pair in pairs["train"])


def test_held_out_are_pairs_of_phrasings() -> None:
    forms: dict[str, set[tuple[str, str]]] = {split: set() for split in SPLITS}
    listed = re.compile("|".join([*THINGS, *COLOURS]))
    for split in SPLITS:
        env = Recall("easy", split=split)
        for seed in range(200):
            fact, question = (listed.sub("_", text) for text in listen(env, seed))
            forms[split].add((fact, question))
    assert (len(forms["train"]), len(forms["test"])) == (12, 4)
    assert forms["train"].isdisjoint(forms["test"])
    for place in range(2):
        assert len({form[place] for form in forms["train"]}) == 4
        assert len({form[place] for form in forms["test"]}) == 4


def test_remarks_are_of_nothing_that_is_asked() -> None:
    for remark in Recall()._data["remarks"]:
        assert not words_of(remark.lower(), [*THINGS, *COLOURS])


def test_the_score_is_the_share_of_lengths_solved() -> None:
    assert score([1.0] * 10) == 1.0
    assert score([0.8] * 3 + [0.7] * 7) == 0.3
    with pytest.raises(ValueError, match="10 settings, got 9"):
        score([1.0] * 9)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tier": "esay"}, "tier must be one of"),
        ({"facts": 13}, "from 1 to 12, got 13"),
        ({"facts": 0}, "facts must be at least 1"),
        ({"max_turns": 0}, "max_turns must be at least 1"),
        ({"reply_length": 0}, "reply_length must be at least 1"),
    ],
)
def test_bad_arguments_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recall(**kwargs)


def test_the_vector_environment_says_the_same() -> None:
    vector = make_vector(3, tier="hard")
    vector.reset(seed=[4, 5, 6])
    for env, seed in zip(vector.envs, (4, 5, 6), strict=True):
        single = Recall("hard")
        single.reset(seed=seed)
        assert env.conversation == single.conversation
