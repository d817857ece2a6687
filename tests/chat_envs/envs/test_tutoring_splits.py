"""`Tutoring`: splits, streams, lengths and secrets."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs._tutoring_tier import (
    TIERS,
    _combinations,
    data,
    draw_goal,
    is_held_out,
    wording,
)
from chat_envs.envs.tutoring import Tutoring
from chat_envs.simulators.stream import Stream
from chat_envs.simulators.student import KNOWN
from chat_envs.tokenizer import train_tokenizer
from tests.chat_envs.envs.lesson import say, script

DATA = data()


# Splits --------------------------------------------------------------


@pytest.mark.parametrize("num_skills", [2, 4])
def test_goals_are_held_out_and_every_skill_keeps_every_misconception(
    num_skills: int,
) -> None:
    rng = np.random.default_rng(0)
    seen = {
        split: {draw_goal(rng, num_skills, split) for _ in range(4000)}
        for split in SPLITS
    }
    assert seen["train"].isdisjoint(seen["test"])
    for split in SPLITS:
        assert all(is_held_out(states) == (split == "test") for states in seen[split])
        assert (KNOWN,) * num_skills not in seen[split]
        for skill in range(num_skills):
            assert {states[skill] for states in seen[split]} == set(range(7))


def test_a_third_is_held_out_whichever_skills_are_known() -> None:
    counts: dict[tuple[bool, ...], list[int]] = {}
    for states in itertools.product(range(7), repeat=4):
        if any(states):
            known = tuple(state == KNOWN for state in states)
            counts.setdefault(known, []).append(is_held_out(states))
    assert len(counts) == 15
    for flags in counts.values():
        assert 3 * sum(flags) == len(flags)


@pytest.mark.parametrize("tier", TIERS)
def test_phrases_are_held_out_and_their_parts_are_not(tier: str) -> None:
    language = TIERS[tier].language
    train, test = (wording(tier, split).student for split in SPLITS)
    for kind, parts in DATA["phrases"][language].items():
        assert train[kind] and test[kind], kind
        assert set(train[kind]).isdisjoint(test[kind]), kind
        in_training = [text for text, is_test in _combinations(parts) if not is_test]
        for place, some in enumerate(parts):
            others = itertools.product(*(p for i, p in enumerate(parts) if i != place))
            rest = list(others)
            for part in some:
                whole = {
                    "".join([*other[:place], part, *other[place:]]) for other in rest
                }
                assert whole & set(in_training), (kind, part)


def test_the_data_says_its_version_licence_and_sources() -> None:
    assert isinstance(DATA["version"], int) and DATA["licence"] and DATA["sources"]


# Streams --------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_phrasing_changes_nothing_else(tier: str) -> None:
    for seed in range(10):
        outcomes = []
        for noise in (None, 0.1, 0.9):
            env = Tutoring(tier)
            env.reset(seed=seed)
            if noise is not None:
                env._phrasing = Stream([noise] * 60)
            total, states = 0.0, [list(env._student.states)]
            while not env.is_over:
                total += float(env.step(env.encode(env.expert_reply()))[1])
                states.append(list(env._student.states))
            outcomes.append((total, states, env._keys))
        assert outcomes[0] == outcomes[1] == outcomes[2]


def test_behaviour_leaves_goal_and_numbers_alone() -> None:
    one, other = Tutoring(), Tutoring()
    for seed in range(10):
        one.reset(seed=seed)
        other.reset(seed=seed)
        assert one._student.states == other._student.states
        script(other, *[0.99] * 40)
        for env in (one, other):
            say(env, "Quiz on addition.", "Quiz on division.")
        assert one._keys == other._keys
        assert one._other_number() == other._other_number()


def test_the_expert_does_not_change_the_episode() -> None:
    env = Tutoring("hard")
    env.reset(seed=3)
    assert len({env.expert_reply() for _ in range(3)}) == 1
    assert len(env.conversation) == 2


def test_the_expert_goes_on_from_anybodys_replies() -> None:
    rng, gains = np.random.default_rng(0), []
    env = Tutoring()
    openings = ["Hello.", "Fix order in division.", "Quiz on percents.", "Done?"]
    openings += ["Quiz on multiplication.", "Explain addition.", "a"]
    for seed in range(40):
        env.reset(seed=seed)
        info = say(env, openings[int(rng.integers(len(openings)))])
        while not env.is_over:
            info = say(env, env.expert_reply())
        if info["turn"] > 1:
            gains.append(info["metrics"]["gain"])
    assert len(gains) >= 25 and np.mean(gains) > 0.7


# Length and robustness --------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_the_longest_episode_has_room_for_its_exam(tier: str) -> None:
    """No reply, however long, lets an episode end before the exam by truncation."""
    for split in SPLITS:
        env = Tutoring(tier, split=split)
        words = env._wording
        longest = 0
        for kind, templates in words.student.items():
            if kind == "rules":
                continue
            for template, (bug, other) in itertools.product(templates, words.bugs):
                text = template.format(number=7, bug=bug, other_bug=other)
                longest = max(longest, len(env.tokenizer.encode(text)))
        turn = env.reply_length + env.template.max_closing + longest + 3
        opening = max(
            len(env.context) for seed in range(20) if env.reset(seed=seed) is not None
        )
        needed = opening + env.max_turns * turn + env.reply_length
        assert needed <= env.context_length


@pytest.mark.parametrize(
    ("tier", "most"), [("easy", 96), ("default", 384), ("hard", 640)]
)
def test_the_tiers_speak_little(tier: str, most: int) -> None:
    """With a tokenizer of its own, whose words are single ids."""
    dialogues = []
    for split in SPLITS:
        env = Tutoring(tier, split=split, context_length=4000, reply_length=64)
        for seed in range(40):
            env.reset(seed=seed)
            while not env.is_over:
                env.step(env.encode(env.expert_reply()))
            dialogues.append([(m.role.value, m.content) for m in env.conversation])
    tokenizer = train_tokenizer([text for d in dialogues for _, text in d])
    for dialogue in dialogues:
        assert sum(len(tokenizer.encode(text)) + 2 for _, text in dialogue) <= most
        replies = [text for role, text in dialogue if role == "assistant"]
        assert max(len(tokenizer.encode(text)) for text in replies) < 24
    if tier == "easy":
        words = {w for d in dialogues for _, text in d for w in text.lower().split()}
        assert len(words) <= 80


@functools.cache
def _fuzzed(tier: str) -> Tutoring:
    return Tutoring(tier, reply_length=200, context_length=8000)


SCRAPS = st.sampled_from(
    ["quiz", "add", "fix", "carry", "explain", "41", "done", "?", "\0", "\ud800"]
    + ["division", "zero", "do not", "<|end|>", "<|user|>", "\n", "7", "multiply"]
)
REPLIES = st.text(max_size=40) | st.lists(SCRAPS, max_size=10).map(" ".join)


@given(
    st.sampled_from(sorted(TIERS)),
    st.integers(0, 50),
    st.lists(REPLIES, min_size=1, max_size=8),
)
def test_any_replies_give_finite_rewards_and_keep_the_secret(
    tier: str, seed: int, replies: list[str]
) -> None:
    env = _fuzzed(tier)
    env.reset(seed=seed)
    total = 0.0
    for reply in replies:
        info = say(env, reply)
        total += float(info["reward"])
        assert isinstance(env.expert_reply(), str)
        if info["terminated"] or info["truncated"]:
            break
        assert info["metrics"]["gain"] == info["metrics"]["mastery"] == 0.0
        assert info["reward_components"]["gain"] == 0.0
    num_skills = len(TIERS[tier].skills)
    assert -len(replies) * (0.01 + 0.2 * num_skills) - 1e-9 <= total < 0.8824


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="tier must be one of"):
        Tutoring("medium")
