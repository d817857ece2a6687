"""Wordle's episodes: hints that are given once, shaping, seeds, secrets, phrasings, lengths."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs._wordle_word import game, word_list
from chat_envs.envs.wordle import Wordle, make_vector
from chat_envs.replier import REPLIERS, play
from tests.chat_envs.envs.spelling import TIERS, begin, hints_in, say, shared


def test_the_hard_tier_gives_no_hint_twice() -> None:
    env = shared("hard")
    begin(env, "crane")
    assert "c yes a near b no l no e yes" in say(env, "cable")[0]
    # Only e stands where it stood before; a, l and c are at other places now.
    assert "p no l no a yes c near e told" in say(env, "place")[0]
    heard = say(env, "place")[0]
    assert "p told l told a told c told e told" in heard


def test_the_other_tiers_repeat_their_hints() -> None:
    for tier in ("easy", "default"):
        env = shared(tier)
        begin(env, env.words[0])
        first, second = (say(env, env.words[-1])[0] for _ in range(2))
        assert hints_in(first) == hints_in(second)
        assert "told" not in first + second


def test_a_told_hint_costs_the_expert_nothing_that_was_said() -> None:
    easy, hard = shared("default"), shared("hard")
    for seed in range(40):
        for env in (easy, hard):
            env.reset(seed=seed)
        assert easy._goal == hard._goal
        for step in range(4):
            guess = easy.words[(seed * 101 + step * 37) % len(easy.words)]
            if easy._goal == guess:
                break
            say(easy, guess)
            say(hard, guess)
            # What the hard tier leaves possible includes what the other does.
            assert hard._belief & easy._belief == easy._belief


def test_what_is_hidden_does_not_depend_on_the_word() -> None:
    env = shared("hard")
    asked = ("cable", "crate", "cable", "place", "plate")
    places = set()
    for goal in ("zebra", "house", "crane", "vivid"):
        begin(env, goal)
        hidden = []
        for guess in asked:
            heard = say(env, guess)[0]
            hidden.append(tuple(mark == "told" for _, mark in hints_in(heard)))
        places.add(tuple(hidden))
    assert len(places) == 1


# Shaping ----------------------------------------------------------------------------------


@functools.cache
def _shaped(weight: float) -> Wordle:
    return Wordle("easy", shaping=weight)


easy_replies = st.lists(
    st.one_of(st.sampled_from(word_list(3)), st.just("hm")), max_size=6
)


@given(st.sampled_from(word_list(3)), easy_replies, st.sampled_from([0.5, 3.0]))
def test_shaping_leaves_every_return_as_it_is(
    goal: str, said: list[str], weight: float
) -> None:
    env = _shaped(weight)
    begin(env, goal)
    total = task = 0.0
    for reply in [*said, *["hm"] * 6]:
        if env.is_over:
            break
        _, reward, _, _, info = env.step(env.encode(reply))
        total += reward
        task += info["reward_components"]["task"]
    assert env.is_over
    assert total == pytest.approx(task, abs=1e-9)


def test_shaping_pays_for_what_a_guess_rules_out() -> None:
    env = _shaped(3.0)
    begin(env, "ton")
    info = env.step(env.encode("tap"))[4]
    left = info["metrics"]["candidates"]
    expected = 3.0 * (1 - math.log2(left) / math.log2(62))
    assert info["reward_components"]["shaping"] == pytest.approx(expected)
    assert 0 < left < 62
    assert env.step(env.encode("tap"))[1] == -1.0  # known already


def test_without_shaping_its_component_is_zero() -> None:
    env = shared("easy")
    begin(env, "ton")
    info = env.step(env.encode("tap"))[4]
    assert info["reward_components"] == {"task": -1.0, "shaping": 0.0}


# Episodes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_the_same_seed_is_the_same_episode(tier: str) -> None:
    one = [play(shared(tier), REPLIERS["expert"], seed) for seed in range(5)]
    play(shared(tier), REPLIERS["blind"], 99)
    other = [play(Wordle(tier), REPLIERS["expert"], seed) for seed in range(5)]
    assert one == other
    assert len({record.messages for record in one}) == 5


def test_phrasing_never_changes_the_goal() -> None:
    variants: list[dict[str, Any]] = [
        {},
        {"tier": "hard"},
        {"max_turns": 3},
        {"shaping": 1.0},
    ]
    for seed in range(20):
        goals = []
        for kwargs in variants:
            env = Wordle(**kwargs)
            env.reset(seed=seed)
            env._phrasing.random()  # one draw more shifts no goal
            say(env, "house")
            goals.append(env._goal)
        assert len(set(goals)) == 1


def test_nothing_of_one_episode_is_in_the_next() -> None:
    env, fresh = shared("hard"), Wordle("hard")
    env.reset(seed=1)
    for text in ("house", "hm", "house"):
        say(env, text)
    for one in (env, fresh):
        one.reset(seed=2)
    for text in ("house", "crane", "house"):
        assert say(env, text) == say(fresh, text)
        one, other = env.describe(), fresh.describe()
        assert one["metrics"] == other["metrics"]


@pytest.mark.parametrize("tier", TIERS)
def test_words_that_get_the_same_hints_look_the_same(tier: str) -> None:
    env = shared(tier)
    guess = env.words[0]
    row = game(TIERS[tier]).answers[0]
    answer, often = Counter(row.tolist()).most_common(1)[0]
    assert often > 2
    alike = [w for w, a in zip(env.words, row.tolist()) if a == answer]
    seen = set()
    for goal in alike[:6]:
        begin(env, goal)
        observation, _, _, _, info = env.step(env.encode(guess))
        arrays = [a.tobytes() for a in (*observation.values(), info.pop("action_mask"))]
        seen.add((repr(info), *arrays))
    assert len(seen) == 1


@pytest.mark.parametrize("tier", TIERS)
def test_no_phrasing_is_in_both_splits(tier: str) -> None:
    heard: dict[str, set[tuple[str, ...]]] = {split: set() for split in SPLITS}
    framed: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split, seed in itertools.product(SPLITS, range(60)):
        env = shared(tier, split)
        env.reset(seed=seed)
        heard[split].add(tuple(m.content for m in env.conversation))
        while not env.is_over:
            text = say(env, env.expert_reply())[0]
            if not env.is_over:
                framed[split].add(re.sub(r"\b[a-z] (no|near|yes|told)\b ?", "*", text))
    assert (len(heard["train"]), len(heard["test"])) == (6, 3)
    assert heard["train"].isdisjoint(heard["test"])
    parts = [{text for texts in heard[split] for text in texts} for split in SPLITS]
    assert parts[0] == parts[1]  # every part of a held-out opening is seen
    if tier == "easy":
        assert framed["train"] == framed["test"] == {"***"}
    else:
        assert (len(framed["train"]), len(framed["test"])) == (6, 3)
        assert framed["train"].isdisjoint(framed["test"])


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_a_long_reply_in_every_turn_truncates_nothing(tier: str, split: str) -> None:
    # A truncated episode would cost fewer turns than an honest one.
    env = shared(tier, split)
    longest = "\x00" * env.reply_length  # a token a character, with no room to stop
    for seed in range(9):
        for text in (longest, "z" * env.reply_length, env.words[-1] + " " * 40):
            env.reset(seed=seed)
            is_over, total = False, 0.0
            while not is_over:
                _, reward, is_over = say(env, text)
                total += reward
            if not env.describe()["success"]:
                assert total == -6
                assert env.describe()["termination_reason"] == "turn_limit"


def test_the_vector_environment_plays_the_same() -> None:
    vector = make_vector(2, tier="easy")
    vector.reset(seed=[3, 4])
    for env, seed in zip(vector.envs, (3, 4), strict=True):
        record = play(Wordle("easy"), REPLIERS["expert"], seed)
        assert env.conversation.messages == record.messages[:2]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tier": "harder"}, "tier must be one of.*'harder'"),
        ({"shaping": -1.0}, "shaping must be"),
        ({"shaping": math.nan}, "shaping must be"),
        ({"max_turns": 0}, "max_turns must be"),
    ],
)
def test_bad_arguments_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Wordle(**kwargs)
