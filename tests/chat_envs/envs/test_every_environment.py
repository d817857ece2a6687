"""What holds for every id of the suite, whatever is said to it and by however many threads."""

from __future__ import annotations

import functools
import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_envs.core import ChatEnv
from chat_envs.message import Role
from chat_envs.registration import registrations
from chat_envs.replier import HOSTILE_REPLIERS, make_replier
from chat_envs.suite import FAMILIES

IDS = [r.id for r in registrations() if r.entry_point.startswith("chat_envs.envs.")]
NUM_IDS = len(gymnasium.make("chat_envs/Echo-v0").unwrapped.tokenizer)  # type: ignore[attr-defined]
MARKS = ("<|end|>", "<|user|>", "ACTION", "ACTION refund =", "\ud800", "\0", "9" * 40)
EXPERT = make_replier("expert")


@functools.cache
def made(env_id: str) -> ChatEnv:
    env = gymnasium.make(env_id).unwrapped
    assert isinstance(env, ChatEnv)
    return env


@st.composite
def actions(draw: st.DrawFn, env: ChatEnv) -> Any:
    """One reply: any text, any ids, hostile, or an expert's that breaks off."""
    kind = draw(st.sampled_from(("text", "ids", "mark", "hostile", "cut")))
    if kind == "ids":
        # Control ids are as likely as all others together.
        one = st.one_of(st.integers(0, 4), st.integers(0, NUM_IDS - 1))
        ids = draw(st.lists(one, max_size=env.reply_length))
        return np.array(ids + [0] * (env.reply_length - len(ids)), dtype=np.int64)
    if kind == "text":
        said = draw(st.text(max_size=40))
    elif kind == "mark":
        said = " ".join(draw(st.lists(st.sampled_from(MARKS), max_size=3)))
    elif kind == "hostile":
        said = HOSTILE_REPLIERS[draw(st.sampled_from(sorted(HOSTILE_REPLIERS)))](env)
    else:
        expert = env.expert_reply()
        said = expert[: draw(st.integers(0, len(expert)))]
    return env.encode(said)


@pytest.mark.parametrize("env_id", IDS)
@settings(max_examples=12)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_no_reply_breaks_an_episode(
    env_id: str, data: st.DataObject, seed: int
) -> None:
    env = made(env_id)
    observation, info = env.reset(seed=seed)
    keys = {name: type(value) for name, value in info.items()}
    for turn in range(1, env.max_turns + 1):
        action = data.draw(actions(env))
        observation, reward, terminated, truncated, info = env.step(action)
        assert observation in env.observation_space
        assert math.isfinite(reward) and info["reward_valid"]
        assert {name: type(value) for name, value in info.items()} == keys
        assert info["turn"] == turn
        if terminated or truncated:
            assert bool(info["termination_reason"])
            break
    assert env.is_over, "the turn limit did not end it"
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(env.encode(""))


def digest(env_id: str, num_episodes: int = 2) -> str:
    """Return a hash of all that some episodes in a new environment show."""
    env = gymnasium.make(env_id).unwrapped
    assert isinstance(env, ChatEnv)
    whole = hashlib.sha256()
    for seed in range(num_episodes):
        observation, info = env.reset(seed=seed)
        is_over = False
        while not is_over:
            for array in (*observation.values(), info["action_mask"]):
                whole.update(array.tobytes())
            # Every other reply is the expert's: most of what an environment can say is said.
            said = env.expert_reply() if info["turn"] % 2 == 0 else "what ?"
            observation, reward, *ends, info = env.step(env.encode(said))
            whole.update(repr((reward, ends, info["metrics"])).encode())
            is_over = any(ends)
    return whole.hexdigest()


def test_eight_threads_see_what_one_does() -> None:
    alone = {env_id: digest(env_id) for env_id in IDS}
    with ThreadPoolExecutor(8) as pool:
        # Each id eight times, side by side with others of its own class.
        jobs = [(env_id, pool.submit(digest, env_id)) for env_id in IDS * 8]
        assert {env_id for env_id, _ in jobs} == set(IDS)
        wrong = {env_id for env_id, job in jobs if job.result() != alone[env_id]}
    assert not wrong


@pytest.mark.parametrize(
    "env_id", [i for i in IDS if "CustomerService" in i or "VoiceAssistant" in i]
)
@pytest.mark.parametrize("line", ["ACTION", "ACTION fly to=moon", "ACTION = = ="])
def test_a_malformed_action_line_is_answered_by_the_system(
    env_id: str, line: str
) -> None:
    env = made(env_id)
    env.reset(seed=3)
    env.step(env.encode(line))
    after = env.conversation.messages[3:]
    first = after[0]
    assert first.role is Role.SYSTEM and len(first.content.split()) >= 2, after


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_held_out_episodes_are_no_training_episodes(family: Any) -> None:
    """What the user says at first and the expert's whole dialogue differ between the splits."""
    seen: dict[str, set[str]] = {}
    for split in ("train", "test"):
        env = gymnasium.make(family.id("default"), split=split).unwrapped
        assert isinstance(env, ChatEnv)
        seen[split] = set()
        for seed in range(60):
            env.reset(seed=seed)
            while not env.is_over:
                env.step(env.encode(EXPERT(env)))
            seen[split].add(env.conversation.render())
    assert not seen["train"] & seen["test"]
