"""An episode restored from its state goes on as the original: one environment a family."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_envs.core import ChatEnv
from chat_envs.registration import find
from chat_envs.replier import REPLIERS
from chat_envs.suite import FAMILIES, Family

Action = npt.NDArray[np.int64]

REPLY = st.one_of(
    st.sampled_from(("expert", "expert", "praise", "echo_user", "special_tokens")),
    st.text(max_size=30),
    st.lists(st.integers(0, 2**31), max_size=8),  # ids, after a remainder
)


def pair(family: Family) -> tuple[ChatEnv, ChatEnv]:
    """Return two environments of a family, made once: states must not care what came before."""
    return make_pair(family.id("easy" if "easy" in family.summaries else "default"))


@functools.cache
def make_pair(env_id: str) -> tuple[ChatEnv, ChatEnv]:
    registration = find(env_id)
    one, other = (registration.load()(**registration.kwargs) for _ in range(2))
    return one, other


def as_action(env: ChatEnv, reply: Any) -> Action:
    if isinstance(reply, str):
        text = REPLIERS[reply](env) if reply in REPLIERS else reply
        return env.encode(text)
    action = np.full(env.reply_length, env.tokenizer.pad_id, dtype=np.int64)
    ids = [i % len(env.tokenizer) for i in reply][: env.reply_length]
    action[: len(ids)] = ids
    return action


def plain(value: Any) -> Any:
    """Return `value` with every array as its bytes, so that equal means byte-identical."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return type(value), value


def continuation(env: ChatEnv, actions: list[Action]) -> list[Any]:
    """Return all that can be seen from here on: of the turns, the expert, two episodes more."""
    seen: list[Any] = [plain(env.observe()), plain(env.describe()), env.is_over]
    for action in actions:
        if not env.is_over:
            seen.append(env.expert_reply())
            seen.append(plain(env.step(action)))
    return [*seen, plain(env.reset()), plain(env.reset()), env.np_random.random()]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_skipped=st.integers(0, 2),
    before=st.lists(REPLY, max_size=6),
    after=st.lists(REPLY, min_size=1, max_size=6),
)
def test_a_restored_episode_goes_on_the_same(
    family: Family, seed: int, num_skipped: int, before: list[Any], after: list[Any]
) -> None:
    env, other = pair(family)
    env.reset(seed=seed)
    for _ in range(num_skipped):
        env.reset()  # the generator has moved on, and no seed names what follows
    for reply in before:
        if not env.is_over:
            env.step(as_action(env, reply))
    state = env.state()
    actions = []
    seen = [plain(env.observe()), plain(env.describe()), env.is_over]
    for reply in after:
        if not env.is_over:
            actions.append(as_action(env, reply))
            seen += [env.expert_reply(), plain(env.step(actions[-1]))]
    seen += [plain(env.reset()), plain(env.reset()), env.np_random.random()]
    kept = json.dumps(state)
    for place in (env, other, env):
        restored = place.reset(options={"state": json.loads(kept)})
        assert plain(restored) == (seen[0], seen[1])
        assert place.state() == state
        assert continuation(place, actions) == seen
    assert json.dumps(state) == kept, "a reset changed the state that it was given"


_SCRIPT = """
import json, sys
from tests.chat_envs.test_core_state import remainder
print(json.dumps([remainder(*pair) for pair in json.load(sys.stdin).items()]))
"""


def remainder(env_id: str, state: Any) -> list[str]:
    """Return the transcripts of a restored episode, played to its end, and of the next one."""
    env = make_pair(env_id)[1]
    env.reset(options={"state": state})
    while not env.is_over:
        env.step(as_action(env, "expert"))
    ended = env.conversation.render()
    env.reset()
    return [ended, env.conversation.render()]


def test_another_process_goes_on_the_same_in_every_family() -> None:
    states = {}
    for family in FAMILIES:
        env = pair(family)[0]
        env.reset(seed=21)
        env.reset()
        if env.max_turns > 1:
            env.step(as_action(env, "expert"))
        states[family.id("easy" if "easy" in family.summaries else "default")] = (
            env.state()
        )
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        input=json.dumps(states),
        capture_output=True,
        text=True,
        timeout=300,
        # Another order of every set and dict of strings.
        env=os.environ | {"PYTHONHASHSEED": "12345"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == [remainder(*each) for each in states.items()]


def test_the_family_list_is_complete() -> None:
    assert len(FAMILIES) > 20
    assert len({type(pair(family)[0]) for family in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_finished_episode_is_restored_finished(family: Family) -> None:
    env, other = pair(family)
    env.reset(seed=5)
    while not env.is_over:
        env.step(as_action(env, "expert"))
    other.reset(options={"state": env.state()})
    assert other.is_over
    assert plain(other.describe()) == plain(env.describe())
    assert plain(other.reset()) == plain(env.reset())
