"""What a state holds, and that it goes through JSON, wrappers and processes."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest

from chat_envs.core import ChatEnv, Turn
from chat_envs.message import Message, user
from chat_envs.tokenizer import END
from chat_envs.wrappers import TextActions, TokenActions
from tests.chat_envs.registered import registered
from tests.chat_envs.toy import SayIt


class Spawning(SayIt):
    """Its author spawns children, draws in the middle of an episode, and tells what was drawn."""

    def _opening(self, rng: np.random.Generator) -> list[Message]:
        goal, self._noise = rng.spawn(2)
        return [*super()._opening(goal), user(str(rng.integers(10**6)))]

    def _respond(self, reply: str) -> Turn:
        said = f"{self._noise.integers(10**6)} {self.np_random.integers(10**6)}"
        turn = super()._respond(reply)
        return Turn(messages=[*turn.messages, user(said)], reward=turn.reward)


def played(env: ChatEnv, num_turns: int = 2, seed: int = 3) -> dict[str, Any]:
    """Return the state after some turns."""
    env.reset(seed=seed)
    for _ in range(num_turns):
        env.step(env.encode("red"))
    return env.state()


def rest(env: ChatEnv) -> list[str]:
    """Return the transcripts of what is left of the episode and of the next one."""
    while not env.is_over:
        env.step(env.encode("blue"))
    first = env.conversation.render()
    env.reset()
    env.step(env.encode("green"))
    return [first, env.conversation.render()]


# What it holds ----------------------------------------------------------------------------


def integers(value: Any) -> list[int]:
    if isinstance(value, (dict, list)):
        items = value.values() if isinstance(value, dict) else value
        return [i for item in items for i in integers(item)]
    return [value] if type(value) is int else []


def test_a_state_is_small_and_plain_json() -> None:
    state = played(SayIt())
    assert json.loads(json.dumps(state)) == state
    assert len(json.dumps(state)) < 1000
    # Many readers of JSON round larger integers.
    assert all(abs(i) < 2**53 for i in integers(state))
    assert state["environment"] == "tests.chat_envs.toy:SayIt"
    red = [*SayIt().tokenizer.encode("red"), END]
    assert state["replies"] == [red, red]


def test_a_state_is_a_copy() -> None:
    env = SayIt()
    state = played(env, 1)
    kept = copy.deepcopy(state)
    env.step(env.encode("blue"))
    env.reset()
    assert state == kept
    before = copy.deepcopy(played(env, 1))
    for part in (state := env.state())["replies"]:
        part.clear()
    state["reward_components"].clear()
    assert env.state() == before


def test_there_is_no_state_without_an_episode() -> None:
    with pytest.raises(gymnasium.error.ResetNeeded, match=r"reset\(\) before state"):
        SayIt().state()


# The generator ----------------------------------------------------------------------------


@pytest.mark.parametrize("num_skipped", [0, 1, 3])
@pytest.mark.parametrize("num_turns", [0, 1, 2])
def test_an_author_may_spawn_and_draw_at_any_time(
    num_skipped: int, num_turns: int
) -> None:
    env, other = Spawning(), Spawning()
    env.reset(seed=8)
    for _ in range(num_skipped):
        env.reset()
        env.step(env.encode("red"))
    env.reset()
    for _ in range(num_turns):
        env.step(env.encode("red"))
    state = json.loads(json.dumps(env.state()))
    expected = rest(env)
    assert len(set(expected)) == 2
    for place in (other, env):
        place.reset(options={"state": state})
        assert rest(place) == expected


@pytest.mark.parametrize("name", ["MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64"])
def test_any_generator_of_numpy_s_is_saved(name: str) -> None:
    env, other = Spawning(), Spawning()
    env.np_random = np.random.Generator(getattr(np.random, name)(12))
    env.np_random.integers(9, dtype=np.int32)  # half of a 64-bit draw is kept back
    env.reset()
    env.step(env.encode("red"))
    state = json.loads(json.dumps(env.state()))
    expected = rest(env)
    other.reset(options={"state": state})
    assert type(other.np_random.bit_generator).__name__ == name
    assert rest(other) == expected


def test_a_generator_without_known_seeds_cannot_be_saved() -> None:
    env = SayIt()
    legacy = np.random.RandomState(3)._bit_generator  # type: ignore[attr-defined]
    env.np_random = np.random.Generator(legacy)
    env.reset()
    with pytest.raises(ValueError, match=r"MT19937 made from a NoneType; reset\(seed="):
        env.state()


def test_the_seed_that_the_environment_tells_is_restored_too() -> None:
    env, other = SayIt(), SayIt()
    state = played(env, seed=2**70)
    other.reset(seed=1)
    other.reset(options={"state": json.loads(json.dumps(state))})
    assert other.np_random_seed == env.np_random_seed == 2**70
    assert other.np_random is not env.np_random


def test_one_state_gives_equal_branches_and_they_do_not_touch_each_other() -> None:
    envs = [Spawning() for _ in range(4)]
    state = played(envs[0], 1)
    for env in envs:
        env.reset(options={"state": state})
    said = []
    for _ in range(2):  # in turns, not one after the other
        said.append(
            {env.step(env.encode("red"))[0]["input_ids"].tobytes() for env in envs}
        )
    assert [len(observations) for observations in said] == [1, 1]
    assert len({env.reset()[0]["input_ids"].tobytes() for env in envs}) == 1


# The reward -------------------------------------------------------------------------------


def test_a_plugged_reward_is_not_asked_again() -> None:
    asked = []

    def length(reply: str) -> float:
        asked.append(reply)
        return float(len(reply))

    env = SayIt(reward=length)
    state = played(env)
    told = env.describe()
    assert asked == ["red", "red"]
    _, info = env.reset(options={"state": state})
    assert asked == ["red", "red"]
    assert info["reward_components"] == told["reward_components"] == {"length": 3.0}
    assert info["gold_reward"] == told["gold_reward"]
    env.step(env.encode("white"))
    assert asked[2:] == ["white"]


def test_a_masked_turn_stays_masked() -> None:
    def fail(turn: int) -> float:
        return 1.0 if turn < 2 else float("nan")

    env, other = (SayIt(reward=fail, on_error="mask") for _ in range(2))
    state = played(env)
    info = other.reset(options={"state": state})[1]
    assert info["reward_valid"] is False
    assert info["reward_components"] == {"fail": 0.0}


# Through wrappers and processes -----------------------------------------------------------


def test_a_state_goes_through_gymnasium_s_wrappers_and_ours() -> None:
    with registered() as env_id:
        env = gymnasium.make(env_id)
        assert "PassiveEnvChecker" in str(env) and "OrderEnforcing" in str(env)
        state = played(env.unwrapped)  # type: ignore[arg-type]
        options = {"state": state}
        for wrap in (TokenActions, TextActions):
            wrapped = wrap(gymnasium.make(env_id))
            assert wrapped.reset(options=options)[1]["turn"] == 2
        assert options == {"state": state}
        *_, terminated, _, _ = wrapped.step("red")
        assert terminated


def test_a_time_limit_counts_the_turns_since_the_reset() -> None:
    with registered(num_turns=9) as env_id:
        env = gymnasium.make(env_id, max_episode_steps=2)
        chat_env: Any = env.unwrapped
        state = played(chat_env, 1)
        env.reset(options={"state": state})
        truncations = [env.step(chat_env.encode("red"))[3] for _ in range(2)]
    assert truncations == [False, True]
    assert chat_env.turn == 3


_SCRIPT = """
import json, sys
from tests.chat_envs.test_core_episode_state import Spawning, rest
env = Spawning()
_, info = env.reset(options={"state": json.load(sys.stdin)})
print(json.dumps([info["reply_text"], rest(env)]))
"""


def test_another_process_goes_on_the_same() -> None:
    env = Spawning()
    env.reset(seed=11)
    env.reset()
    env.step(env.encode("red"))
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        input=json.dumps(env.state()),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == ["red", rest(env)]
