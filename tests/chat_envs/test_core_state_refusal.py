"""A state that is another environment's, or broken, is refused, and the error teaches."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
import numpy as np
import pytest

from chat_envs.core import Turn
from chat_envs.envs.keyword_bandit import KeywordBandit
from chat_envs.message import user
from chat_envs.tokenizer import train_tokenizer
from tests.chat_envs.scripted import Scripted
from tests.chat_envs.test_core_episode_state import played
from tests.chat_envs.toy import SayIt


def test_a_seed_and_a_state_contradict_each_other() -> None:
    env = SayIt()
    state = played(env)
    with pytest.raises(
        ValueError, match=r"a seed \(5\) or options\['state'\], not both"
    ):
        env.reset(seed=5, options={"state": state})
    assert env.turn == 2


def test_other_options_are_left_alone() -> None:
    env = SayIt()
    options = {"level": 3}
    first = env.reset(seed=3, options=options)[0]["input_ids"]
    assert np.array_equal(first, env.reset(seed=3)[0]["input_ids"])
    assert options == {"level": 3}


class Renamed(SayIt):
    """Another class, word for word the same."""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Renamed, "environment is 'tests.*SayIt', this environment's is '.*Renamed'"),
        (lambda: SayIt(num_turns=4), "max_turns is 3, this environment's is 4"),
        (lambda: SayIt(context_length=210), "context_length is 200"),
        (lambda: SayIt(reply_length=20), "reply_length is 24"),
        (lambda: SayIt(split="test"), "split is 'train'"),
        (lambda: SayIt(tokenizer=train_tokenizer(["say red"], 300)), "tokenizer is"),
        (lambda: SayIt(reward=len_of), "reward with the components .*'pace', 'said'"),
    ],
)
def test_another_environment_s_state_is_refused_before_anything_moves(
    make: Any, message: str
) -> None:
    state, env = played(SayIt()), make()
    before = played(env, 1)
    with pytest.raises(ValueError, match=message):
        env.reset(options={"state": state})
    assert env.state() == before
    env.step(env.encode("red"))


def len_of(reply: str) -> float:
    return float(len(reply))


def test_a_tokenizer_of_the_same_name_and_size_is_told_by_its_fingerprint() -> None:
    one, other = (
        SayIt(tokenizer=train_tokenizer([text], 262), context_length=300)
        for text in ("aa", "bb")
    )
    assert len(one.tokenizer) == len(other.tokenizer)
    with pytest.raises(ValueError, match="tokenizer is"):
        other.reset(options={"state": played(one)})


BROKEN: dict[str, Any] = {
    "format": 2,
    "replies": [[7, 10**6]],
    "reward_components": {"said": float("nan"), "pace": 0.0},
    "reward_valid": 1,
    "gold_reward": "much",
    "digest": None,
    "generator": {"bits": {}},
}


@pytest.mark.parametrize("key", BROKEN)
def test_broken_contents_are_refused_and_named(key: str) -> None:
    env = SayIt()
    state = played(env)
    before = env.describe()["turn"]
    with pytest.raises(ValueError, match=key):
        env.reset(options={"state": state | {key: BROKEN[key]}})
    del state[key]
    with pytest.raises(ValueError, match=f"state is broken.*{key}"):
        env.reset(options={"state": state})
    assert env.turn == before


@pytest.mark.parametrize(
    "replies", [None, [7], [[7.0]], [[True]], [[-1]], [[7] * 25], ["red"], [[None]]]
)
def test_replies_that_are_no_ids_are_refused(replies: Any) -> None:
    env = SayIt()
    state = played(env)
    with pytest.raises(ValueError, match="replies is .*save it whole"):
        env.reset(options={"state": state | {"replies": replies}})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("entropy", -1),
        ("entropy", "7"),
        ("spawn_key", "x"),
        ("pool_size", 0),
        ("bits", {"bit_generator": "Random", "state": {}}),
        ("bits", {"bit_generator": "PCG64", "state": {"state": 1}}),
        ("bits", None),
        ("seed", None),
    ],
)
def test_a_broken_generator_is_refused(key: str, value: Any) -> None:
    env = SayIt()
    state = played(env)
    generator = state["generator"] | {key: value}
    with pytest.raises(ValueError, match="generator is"):
        env.reset(options={"state": state | {"generator": generator}})


@pytest.mark.parametrize("state", [None, "{}", 3, [], {}, {"replies": []}])
def test_what_is_no_state_is_refused(state: Any) -> None:
    env = SayIt()
    with pytest.raises(ValueError, match="what env.unwrapped.state|state is broken"):
        env.reset(options={"state": state})


def test_an_extra_key_is_refused() -> None:
    env = SayIt()
    with pytest.raises(ValueError, match="should not have.*'colour'"):
        env.reset(options={"state": played(env) | {"colour": 1}})


def test_a_replay_that_comes_out_otherwise_leaves_no_episode_and_the_old_generator() -> (
    None
):
    state = played(Scripted())
    env = Scripted(turns=[Turn(messages=[user("less")], reward=1.0)])
    env.reset(seed=3)
    rng, drawn = env.np_random, copy.deepcopy(env.np_random).random()
    with pytest.raises(ValueError, match="another dialogue: .*other keywords"):
        env.reset(options={"state": state})
    assert env.np_random is rng and env.np_random_seed == 3
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(env.encode("a"))
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.state()
    assert rng.random() == drawn
    env.reset()
    env.step(env.encode("a"))


def test_a_keyword_that_changes_rewards_alone_is_noticed() -> None:
    env, other = KeywordBandit(max_turns=3), KeywordBandit(
        max_turns=3, reward_scale=2.0
    )
    env.reset(seed=0)
    env.step(env.encode("zzz"))
    other.reset(options={"state": env.state()})  # both paid nothing: no difference yet
    env.reset(seed=0)
    env.step(env.encode(env.expert_reply()))
    with pytest.raises(ValueError, match="other keywords"):
        other.reset(options={"state": env.state()})


@pytest.mark.parametrize("num_letters", [1, 5])
def test_more_replies_than_the_episode_has_are_refused(num_letters: int) -> None:
    env = SayIt()
    state = played(env, 3)
    state["replies"] += [[7] * num_letters]
    with pytest.raises(ValueError, match="cannot be restored.*episode is over"):
        env.reset(options={"state": state})
