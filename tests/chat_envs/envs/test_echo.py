"""Echo: what counts as the same words, what is held out, what each policy earns."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs.echo import SWEEP, Echo, make_vector, share_in_place
from chat_envs.message import Role
from chat_envs.replier import HOSTILE_REPLIERS, REPLIERS, play, play_many
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.episode_length import longest_expert_episode

TIERS = ("easy", "default", "hard")
WORDS = st.lists(st.sampled_from(["cat", "dog", "cow"]), min_size=1, max_size=6)


def said(env: Echo, seed: int) -> list[str]:
    env.reset(seed=seed)
    message = env.conversation.last(Role.USER)
    assert message is not None
    return message.content.split()


@pytest.mark.parametrize(
    ("tier", "num_ids"), [("easy", 96), ("default", 384), ("hard", 384)]
)
@pytest.mark.parametrize("split", SPLITS)
def test_a_small_model_has_room_for_an_episode(
    tier: str, num_ids: int, split: str
) -> None:
    assert longest_expert_episode(Echo(tier, split=split)) <= num_ids


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(functools.partial(Echo, tier=tier), num_episodes=30)


@pytest.mark.parametrize(
    ("reply", "share"),
    [
        ("cat dog cow pig", 1.0),
        ("CAT, dog; Cow pig!!", 1.0),
        ("\n cat\tdog cow pig", 1.0),
        ("cat dog cow", 0.75),
        ("cat dog pig cow", 0.5),
        ("dog cow pig cat", 0.0),
        ("cat dog cow pig cat", 0.8),
        ("say cat dog cow pig", 0.0),
        ("catdogcowpig", 0.0),
        ("", 0.0),
        ("cat" * 100_000, 0.0),
    ],
)
def test_share_in_place(reply: str, share: float) -> None:
    assert share_in_place(reply, ["cat", "dog", "cow", "pig"]) == share


@given(WORDS, WORDS)
def test_only_the_same_words_are_worth_one(words: list[str], other: list[str]) -> None:
    share = share_in_place(" ".join(other), words)
    assert 0.0 <= share <= 1.0
    assert (share == 1.0) == (words == other)


@given(WORDS, st.lists(st.sampled_from(["pig", "hen"]), min_size=1, max_size=40))
def test_more_words_never_help(words: list[str], extra: list[str]) -> None:
    share = share_in_place(" ".join([*words, *extra]), words)
    assert share == len(words) / (len(words) + len(extra)) < 1.0


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_is_right_and_the_blind_is_not(tier: str, split: str) -> None:
    env = Echo(tier, split=split, reply_length=64)
    expert = play_many(env, REPLIERS["expert"], range(100))
    blind = play_many(env, REPLIERS["blind"], range(200))
    assert all(r.episode_return == 1.0 and r.success for r in expert)
    assert {r.termination_reason for r in expert} == {"echoed"}
    assert sum(r.episode_return for r in blind) / len(blind) <= 0.15


def test_reward_is_exact_or_in_part() -> None:
    for has_partial_credit, paid in ((False, 0.0), (True, 0.5)):
        env = Echo(min_words=2, max_words=2, has_partial_credit=has_partial_credit)
        first, _ = said(env, 5)
        _, reward, terminated, truncated, info = env.step(env.encode(first))
        assert (reward, terminated, truncated) == (paid, True, False)
        assert info["success"] is False
        assert info["metrics"] == {"share_in_place": 0.5}
        assert info["reward_components"] == {"task": paid}


def test_held_out_are_combinations_and_not_words() -> None:
    combinations = {
        split: {
            tuple(said(env, seed)) for env in [Echo(split=split)] for seed in range(400)
        }
        for split in SPLITS
    }
    assert combinations["train"].isdisjoint(combinations["test"])
    for place in range(3):
        seen = {split: {c[place] for c in combinations[split]} for split in SPLITS}
        assert seen["train"] == seen["test"] == set(Echo().candidate_replies())


def test_single_words_are_held_out_too_but_seen_in_pairs() -> None:
    alone = {
        split: {
            c
            for env in [Echo("easy", split=split)]
            for seed in range(300)
            if len(c := tuple(said(env, seed))) == 1
        }
        for split in SPLITS
    }
    assert (len(alone["train"]), len(alone["test"])) == (9, 3)
    assert alone["train"].isdisjoint(alone["test"])


def test_openings_of_the_test_split_are_unseen() -> None:
    openings: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split, seed in itertools.product(SPLITS, range(40)):
        env = Echo(split=split)
        env.reset(seed=seed)
        openings[split].add(env.conversation[0].content)
    assert len(openings["train"]) > 1
    assert openings["train"].isdisjoint(openings["test"])


@pytest.mark.parametrize("kwargs", SWEEP)
def test_the_sweep_grows_longer(kwargs: dict[str, Any]) -> None:
    env = Echo(reply_length=64, **kwargs)
    assert len(said(env, 1)) == kwargs["min_words"]
    assert play(env, REPLIERS["expert"], 1).success


def test_several_turns_end_with_the_right_words() -> None:
    env = Echo("easy", max_turns=3)
    said(env, 2)
    assert "3 turn" in env.conversation[0].content
    assert env.step(env.encode("hm"))[1:4] == (0.0, False, False)
    assert env.step(env.encode(env.expert_reply()))[1:4] == (1.0, True, False)


def test_only_the_echo_is_exempt() -> None:
    assert set(Echo.exempt_hostiles) == {"echo_user"}
    env = Echo("easy", has_partial_credit=True)
    for name in sorted(set(HOSTILE_REPLIERS) - {"echo_user"}):
        records = play_many(env, HOSTILE_REPLIERS[name], range(60))
        assert sum(r.episode_return for r in records) / 60 <= 0.15, name


@pytest.mark.parametrize(
    "reply", ["\x00", "\ud800", "<|end|>" * 9, "\U0001f600" * 50, "cat " * 250_000]
)
def test_any_reply_is_answered(reply: str) -> None:
    env = Echo()
    env.reset(seed=0)
    turn = env._respond(reply)
    assert turn.reward == 0.0 and not turn.success


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tier": "esay"}, "tier must be one of"),
        ({"min_words": 0}, "within 1 to 10, got 0"),
        ({"min_words": 5, "max_words": 4}, "got 5 and 4"),
        ({"max_words": 11}, "got 3 and 11"),
    ],
)
def test_bad_arguments_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Echo(**kwargs)


def test_the_vector_environment_says_the_same() -> None:
    vector = make_vector(3, tier="easy")
    vector.reset(seed=[4, 5, 6])
    single = Echo("easy")
    for env, seed in zip(vector.envs, (4, 5, 6), strict=True):
        said(single, seed)
        assert env.conversation == single.conversation


def test_the_words_of_the_easy_tier_are_single_ids() -> None:
    env = Echo("easy")
    assert all(len(env.tokenizer.encode(w)) == 1 for w in env.candidate_replies())
