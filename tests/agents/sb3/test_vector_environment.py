"""`ChatVecEnv` is a `DummyVecEnv` of the same environments, number by number, in fewer calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import pytest

from chat_envs.reward import reward_function
from chat_envs.vector import ChatVectorEnv
from chat_envs.wrappers import TokenActions

pytest.importorskip("stable_baselines3")

from stable_baselines3.common.env_util import make_vec_env  # noqa: E402
from stable_baselines3.common.vec_env import (  # noqa: E402
    DummyVecEnv,
    SubprocVecEnv,
    VecEnv,
    VecMonitor,
)

from agents.sb3 import ChatVecEnv  # noqa: E402

IDS = (
    "chat_envs/Echo-easy-v0",
    "chat_envs/CustomerService-easy-v0",
    "chat_envs/Mastermind-easy-v0",
    "chat_envs/Umbrella-easy-v0",
)


def dummy(env_id: str, num_envs: int, **kwargs: Any) -> DummyVecEnv:
    def make() -> gymnasium.Env[Any, Any]:
        return TokenActions(gymnasium.make(env_id, **kwargs))

    return DummyVecEnv([make] * num_envs)


def same(one: Any, other: Any) -> bool:
    """Return whether two nests of dicts, lists, arrays and scalars hold the same, types too."""
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return type(one) is type(other) and one == other


def random_actions(
    rng: np.random.Generator, env: VecEnv, num_steps: int
) -> list[np.ndarray]:
    """Return steps of random ids, of which one in six ends the reply."""
    (tokenizer,) = env.get_attr("tokenizer", 0)
    shape = (num_steps, env.num_envs)
    ids = rng.integers(len(tokenizer), size=shape)
    controls = rng.choice(sorted(tokenizer.control_ids), size=shape)
    return list(np.where(rng.random(shape) < 1 / 6, controls, ids))


def assert_same_walk(one: VecEnv, other: VecEnv, num_steps: int) -> int:
    """Return how many episodes ended on the way."""
    for env in (one, other):
        env.seed(5)
    assert same(one.reset(), other.reset())
    assert same(one.reset_infos, other.reset_infos)
    num_over = 0
    for actions in random_actions(np.random.default_rng(0), one, num_steps):
        mine, theirs = one.step(actions), other.step(actions)
        for name, a, b in zip(("seen", "rewards", "dones", "infos"), mine, theirs):
            assert same(a, b), name
        assert same(one.reset_infos, other.reset_infos)
        num_over += int(mine[2].sum())
    assert same(one.env_method("action_masks"), other.env_method("action_masks"))
    return num_over


@pytest.mark.parametrize("env_id", IDS)
def test_it_walks_as_a_dummy_vec_env_does(env_id: str) -> None:
    walked = assert_same_walk(ChatVecEnv(env_id, 3), dummy(env_id, 3), 150)
    assert walked >= 3


def test_a_turn_limit_from_outside_truncates_alike() -> None:
    env_id, limit = IDS[1], {"max_episode_steps": 2}
    mine = ChatVecEnv(env_id, 2, **limit)
    mine.reset()
    infos = [mine.step(np.array([1, 1]))[3][0] for _ in range(2)]
    assert [info["TimeLimit.truncated"] for info in infos] == [False, True]
    assert assert_same_walk(
        ChatVecEnv(env_id, 2, **limit), dummy(env_id, 2, **limit), 80
    )


def test_options_reach_the_environments_they_were_set_for() -> None:
    env = gymnasium.make(IDS[1])
    env.reset(seed=9)
    saved: Any = env.unwrapped
    state, ids = saved.state(), saved.observe()["input_ids"]
    for made in (ChatVecEnv(IDS[1], 2), dummy(IDS[1], 2)):
        made.set_options([{}, {"state": state}])
        made._seeds = [3, None]
        seen = made.reset()
        assert isinstance(seen, dict)
        assert np.array_equal(seen["input_ids"][1], ids)
        assert not np.array_equal(seen["input_ids"][0], seen["input_ids"][1])
        again = made.reset()
        assert isinstance(again, dict)
        assert not np.array_equal(again["input_ids"][1], seen["input_ids"][1])


def test_what_it_returned_stays_as_it_was() -> None:
    env = ChatVecEnv(IDS[0], 2)
    first = env.reset()
    assert isinstance(first, dict)
    kept = first["input_ids"].copy()
    second = env.step(np.array([50, 60]))[0]
    env.step(np.array([70, 1]))
    assert np.array_equal(first["input_ids"], kept)
    assert isinstance(second, dict)
    assert (second["attention_mask"].sum(1) == first["attention_mask"].sum(1) + 1).all()


def test_replies_that_end_together_are_scored_in_one_call() -> None:
    calls: list[int] = []

    @reward_function(batched=True)
    def count(reply: list[str]) -> list[float]:
        calls.append(len(reply))
        return [float(len(text)) for text in reply]

    env = ChatVecEnv(IDS[1], 3, reward=count)
    env.reset()
    env.step(np.array([50, 50, 1]))
    env.step(np.array([1, 1, 60]))
    assert calls == [1, 2]


def test_a_vocabulary_is_the_same_for_all() -> None:
    env = ChatVecEnv(IDS[0], 2, vocabulary="candidates")
    ids = env.envs[0].ids
    assert env.action_space == gymnasium.spaces.Discrete(len(ids))
    env.reset()
    seen = env.step(np.array([0, 3]))[0]
    assert isinstance(seen, dict)
    last = seen["attention_mask"].sum(1) - 1
    assert seen["input_ids"][[0, 1], last].tolist() == ids[[0, 3]].tolist()


def test_a_made_environment_is_taken_as_it_is() -> None:
    made = gymnasium.make_vec(IDS[0], num_envs=4, autoreset_mode="Disabled").unwrapped
    assert isinstance(made, ChatVectorEnv)
    assert ChatVecEnv(made).vector is made
    assert ChatVecEnv(made).num_envs == 4


def test_attributes_and_wrappers_are_found() -> None:
    env = ChatVecEnv(IDS[0], 3)
    assert env.get_attr("max_turns") == [1, 1, 1]
    env.set_attr("note", "kept", indices=[1])
    assert env.has_attr("action_masks") and not env.has_attr("note")
    assert env.get_attr("note", 1) == ["kept"]
    assert env.env_is_wrapped(TokenActions) == [True] * 3
    assert env.env_is_wrapped(gymnasium.wrappers.TimeLimit, [0]) == [False]
    assert len(env.env_method("expert_reply", indices=[0, 2])) == 2


def test_wrong_numbers_of_actions_are_refused() -> None:
    env = ChatVecEnv(IDS[0], 2)
    env.reset()
    with pytest.raises(ValueError, match=r"\(2,\).* got \(1,\)"):
        env.step(np.array([1]))
    seen = env.step(np.array([50, 50]))[0]
    assert isinstance(seen, dict) and (seen["input_ids"] == 50).any(1).all()


def test_a_monitor_counts_tokens_and_rewards() -> None:
    env = VecMonitor(ChatVecEnv(IDS[0], 2))
    env.seed(0)
    env.reset()
    expert = env.get_attr("unwrapped")[0]
    action = expert.encode(expert.expert_reply())
    length = int(np.flatnonzero(action == 1)[0]) + 1
    for token in action[:length]:
        infos = env.step(np.array([token, 50]))[3]
    assert infos[0]["episode"]["r"] == 1.0
    assert infos[0]["episode"]["l"] == length
    assert "episode" not in infos[1]


def test_other_vec_envs_of_sb3_take_the_wrapper() -> None:
    made = make_vec_env(IDS[0], n_envs=2, seed=3, wrapper_class=TokenActions)
    apart = make_vec_env(
        IDS[0],
        n_envs=2,
        seed=3,
        wrapper_class=TokenActions,
        vec_env_cls=SubprocVecEnv,
        vec_env_kwargs={"start_method": "forkserver"},
    )
    try:
        assert same(dict(made.reset()), dict(apart.reset()))  # type: ignore[call-overload]
        for actions in ([50, 60], [1, 70], [80, 1]):
            mine, theirs = made.step(np.array(actions)), apart.step(np.array(actions))
            assert same(dict(mine[0]), dict(theirs[0]))  # type: ignore[call-overload]
            # Its rewards are float64.
            assert np.array_equal(mine[1], theirs[1]) and same(mine[2], theirs[2])
    finally:
        made.close()
        apart.close()
