"""`ChatVectorEnv` restores states as Gymnasium's own vectors do, and one for each environment."""

from __future__ import annotations

import copy
import functools
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit

from chat_envs.vector import ChatVectorEnv
from tests.chat_envs.test_vector import MODES, NUM_ENVS, Uneven, replies, same
from tests.chat_envs.toy import SayIt


def saved(num_turns: int = 1, seed: int = 5) -> dict[str, Any]:
    """Return the state of an episode with turns left."""
    env = SayIt()
    env.reset(seed=seed)
    for _ in range(num_turns):
        env.step(env.encode("red"))
    return env.state()


def texts(envs: ChatVectorEnv) -> list[str]:
    return [env.conversation.render() for env in envs.envs]


def started(mode: str = "NextStep", **kwargs: Any) -> ChatVectorEnv:
    envs = ChatVectorEnv(SayIt, NUM_ENVS, autoreset_mode=mode, **kwargs)
    envs.reset(seed=40)
    return envs


def compare(native: ChatVectorEnv, other: Any, options: dict[str, Any]) -> None:
    """Restore both and step them alike, through ends and new episodes."""
    is_disabled = native.autoreset_mode == AutoresetMode.DISABLED
    native.reset(seed=11)
    other.reset(seed=11)
    kept = copy.deepcopy(options)
    same(native.reset(options=options), other.reset(options=options))
    assert options == kept
    for action, _ in zip(replies(), range(12)):
        found, expected = native.step(action), other.step(action)
        same(found, expected)
        over = found[2] | found[3]
        if is_disabled and over.any():
            # Half of what is over begins anew, as the restored generator goes on.
            mask = {"reset_mask": over}
            same(native.reset(options=mask), other.reset(options=mask))
    other.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("limit", [None, 1])
def test_it_restores_one_state_in_all_as_gymnasium_s_vector_does(
    mode: str, limit: int | None
) -> None:
    def make() -> gymnasium.Env[Any, Any]:
        return SayIt() if limit is None else TimeLimit(SayIt(), limit)

    other = SyncVectorEnv([make] * NUM_ENVS, autoreset_mode=AutoresetMode(mode))
    native = ChatVectorEnv(
        SayIt, NUM_ENVS, autoreset_mode=mode, max_episode_steps=limit
    )
    compare(native, other, {"state": saved()})


def test_it_restores_as_the_vector_of_processes_does() -> None:
    other = AsyncVectorEnv([functools.partial(SayIt)] * NUM_ENVS)
    compare(ChatVectorEnv(SayIt, NUM_ENVS), other, {"state": saved()})


def test_a_mask_says_whose_episode_is_restored() -> None:
    envs, state = started(), saved(2)
    before = texts(envs)
    mask = np.array([False, True, False, True])
    options = {"reset_mask": mask, "state": state}
    _, infos = envs.reset(options=options)
    after = texts(envs)
    assert [a == b for a, b in zip(before, after)] == [True, False, True, False]
    assert after[1] == after[3] and envs.envs[1].state() == state
    assert infos["turn"].tolist() == [0, 2, 0, 2]
    assert set(options) == {"reset_mask", "state"} and options["reset_mask"] is mask


def test_every_environment_may_have_a_state_of_its_own() -> None:
    envs = started()
    envs.step(next(replies()))
    states, before = envs.states(), texts(envs)
    ends = [envs.step(next(replies()))[1].tolist() for _ in range(2)]
    envs.reset(seed=1)
    options: dict[str, Any] = {"states": states}
    envs.reset(options=options)
    assert options == {"states": states} and options["states"] is states
    assert texts(envs) == before and envs.states() == states
    assert [envs.step(next(replies()))[1].tolist() for _ in range(2)] == ends


def test_where_there_is_no_state_an_episode_begins() -> None:
    state = saved(2)
    envs, plain = started(), started()
    _, infos = envs.reset(
        seed=[None, 70, None, 71], options={"states": [state, None, state, None]}
    )
    plain.reset(seed=[None, 70, None, 71])
    assert infos["turn"].tolist() == [2, 0, 2, 0]
    assert texts(envs)[1::2] == texts(plain)[1::2]
    assert texts(envs)[0] == texts(envs)[2] != texts(plain)[0]


def test_equal_branches_stay_equal_over_the_episodes_that_follow() -> None:
    envs = ChatVectorEnv(Uneven, NUM_ENVS, autoreset_mode="SameStep")
    envs.reset(seed=2)
    envs.reset(options={"state": envs.envs[3].state()})
    tool = envs.envs[0]
    for _ in range(12):
        action = np.stack([tool.encode("red")] * NUM_ENVS)
        observations, *_ = envs.step(action)
        assert len({ids.tobytes() for ids in observations["input_ids"]}) == 1


def test_a_time_limit_counts_the_turns_since_the_reset() -> None:
    envs = started("Disabled", max_episode_steps=1)
    envs.reset(options={"states": [saved(0), saved(1), None, saved(1)]})
    assert envs.step(next(replies()))[3].tolist() == [True] * NUM_ENVS
    envs = started("Disabled", max_episode_steps=2)
    envs.reset(options={"states": [saved(0), saved(1), None, saved(1)]})
    assert envs.step(next(replies()))[3].tolist() == [False] * NUM_ENVS
    assert envs.step(next(replies()))[3].tolist() == [True] * NUM_ENVS


def test_a_finished_episode_can_be_looked_at_but_not_stepped() -> None:
    envs = started("Disabled")
    envs.reset(options={"states": [saved(3), None, None, None]})
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"environments \[0\]"):
        envs.step(next(replies()))
    assert [env.turn for env in envs.envs] == [3, 0, 0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"states": []}, "a list of 4 states"),
        ({"states": [None] * 3}, "a list of 4 states"),
        ({"states": "four"}, "a list of 4 states"),
        ({"states": [None] * 4, "state": {}}, "both 'state', for all"),
        ({"states": [{}, None, None, None]}, "state is broken"),
        ({"state": None}, "what env.unwrapped.state"),
    ],
)
def test_what_are_no_states_is_refused(options: dict[str, Any], message: str) -> None:
    envs = started()
    before = texts(envs)
    with pytest.raises(ValueError, match=message):
        envs.reset(options=options)
    assert texts(envs) == before


def test_a_seed_and_a_state_contradict_each_other() -> None:
    envs = started()
    for options in ({"state": saved()}, {"states": [saved()] * NUM_ENVS}):
        with pytest.raises(ValueError, match="not both"):
            envs.reset(seed=1, options=options)


# What the task pays, beside what is paid ---------------------------------------------------


def length(reply: str) -> float:
    return float(len(reply))


@pytest.mark.parametrize("mode", MODES)
def test_the_gold_reward_is_told_in_every_mode(mode: str) -> None:
    envs = ChatVectorEnv(Uneven, NUM_ENVS, autoreset_mode=mode, reward=length)
    gold = ChatVectorEnv(Uneven, NUM_ENVS, autoreset_mode=mode)
    for vector in (envs, gold):
        _, infos = vector.reset(seed=11)
        assert infos["gold_reward"].tolist() == [0.0] * NUM_ENVS
        assert infos["gold_reward"].dtype == np.float64
        assert infos["_gold_reward"].all()
    num_final = 0
    for action, _ in zip(replies(), range(12)):
        found, expected = envs.step(action), gold.step(action)
        told, paid = found[4]["gold_reward"], expected[1]
        over = found[2] | found[3]
        if mode == "SameStep" and over.any():
            assert (told[over] == 0.0).all()  # of the new episode
            told = np.where(over, found[4]["final_info"]["gold_reward"], told)
            num_final += 1
        assert told.tolist() == paid.tolist()
        assert found[1].tolist() != paid.tolist()
        if mode == "Disabled" and over.any():
            for vector in (envs, gold):
                vector.reset(options={"reset_mask": over})
    assert num_final > 0 or mode != "SameStep"
