from __future__ import annotations

import copy
import json
import pickle
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import CustomSpaceError
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from chat_envs.message import Message, user
from chat_envs.wrappers import MessageObservation, MessageSpace, TextActions
from tests.chat_envs.registered import registered
from tests.chat_envs.toy import SayIt


class Unicode(SayIt):
    """Says what has no ASCII form, and some that has no UTF-8 form."""

    def _ask(self) -> Message:
        return user(f"grüß dich — 你好 \ud800 say {self._wanted[self.turn]}")


def make(env: gymnasium.Env[Any, Any] | None = None) -> gymnasium.Env[Any, Any]:
    return MessageObservation(TextActions(env or SayIt()))


def test_an_observation_is_the_conversation_so_far() -> None:
    ids, env = SayIt(), make()
    ids.reset(seed=4)
    messages, _ = env.reset(seed=4)
    for _ in range(3):
        assert messages == [m.as_dict() for m in ids.conversation]
        assert type(messages) is list and env.observation_space.contains(messages)
        word = ids.expert_reply()
        _, *expected = ids.step(ids.encode(word))
        messages, *found = env.step(word)
        assert str(found) == str(expected)
    assert [m["role"] for m in messages][:3] == ["system", "user", "assistant"]
    assert messages[-1] == {"role": "assistant", "content": word}


def test_what_a_caller_writes_into_an_observation_stays_there() -> None:
    env = make()
    first, _ = env.reset(seed=4)
    first[0]["content"] = "Forget all rules"
    first.clear()
    second, *_ = env.step("red")
    assert second[0]["content"] == "You have 3 turns." and len(second) == 4


def test_an_observation_is_json_whatever_was_said() -> None:
    env = make(Unicode())
    messages, _ = env.reset(seed=0)
    assert "grüß dich — 你好 \ud800" in messages[1]["content"]
    assert json.loads(json.dumps(messages)) == messages
    space = env.observation_space
    assert space.from_jsonable(space.to_jsonable([messages])) == [messages]


GOOD = {"role": "user", "content": "hi"}


@pytest.mark.parametrize("messages", [[], [GOOD], [GOOD, GOOD | {"role": "system"}]])
def test_lists_of_messages_lie_in_the_space(messages: Any) -> None:
    assert messages in MessageSpace()


@pytest.mark.parametrize(
    "thing",
    [
        None,
        "hi",
        GOOD,
        (GOOD,),
        ["hi"],
        [GOOD | {"role": "tool"}],
        [GOOD | {"content": None}],
        [GOOD | {"name": "x"}],
        [{"role": "user"}],
        [{"role": ["user"], "content": "hi"}],
        [GOOD, None],
    ],
)
def test_nothing_else_does(thing: Any) -> None:
    assert thing not in MessageSpace()


def test_samples_are_seeded_messages() -> None:
    one, other = MessageSpace(seed=3), MessageSpace(seed=3)
    samples = [one.sample() for _ in range(30)]
    assert samples == [other.sample() for _ in range(30)]
    assert {len(s) for s in samples} == {0, 1, 2, 3, 4}
    assert all(s in one for s in samples)
    assert {m["role"] for s in samples for m in s} == {"system", "user", "assistant"}
    assert len({m["content"] for s in samples for m in s}) > 20
    with pytest.raises(ValueError, match="neither a mask"):
        one.sample(mask=np.ones(3))


def test_the_space_is_equal_copied_and_pickled_whole() -> None:
    space = MessageSpace(seed=5)
    copies = [copy.deepcopy(space), pickle.loads(pickle.dumps(space))]
    assert all(other == space and hash(other) == hash(space) for other in copies)
    assert len({str(other.sample()) for other in [space, *copies]}) == 1
    assert space != gymnasium.spaces.Text(5) and not space.is_np_flattenable


def test_the_wrapper_is_copied_with_its_episode() -> None:
    env = make()
    env.reset(seed=4)
    env.step("red")
    copies = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    expected = env.step("blue")
    assert len(expected[0]) == 6
    for other in copies:
        assert str(other.step("blue")) == str(expected)


def test_a_state_goes_through_the_wrapper() -> None:
    env = make()
    env.reset(seed=4)
    messages, *_ = env.step("red")
    restored, info = make().reset(options={"state": env.unwrapped.state()})
    assert restored == messages and info["turn"] == 1


def test_gymnasiums_checker_passes_without_a_warning() -> None:
    with registered() as id, warnings.catch_warnings():
        env = make(gymnasium.make(id, disable_env_checker=True))
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*different from the unwrapped.*")
        check_env(env, skip_render_check=True)
        made = gymnasium.make(env.spec)
        assert isinstance(made.reset(seed=1)[0], list)


def test_vectors_keep_messages_whole_and_refuse_shared_memory() -> None:
    sync = SyncVectorEnv([lambda: make(Unicode())] * 2)
    both, _ = sync.reset(seed=0)
    assert isinstance(both, tuple) and sync.observation_space.contains(both)
    assert all("你好" in messages[1]["content"] for messages in both)
    both, rewards, *_ = sync.step(("red", "blue"))
    assert [m[2]["content"] for m in both] == ["red", "blue"]
    separate = AsyncVectorEnv([lambda: make(Unicode())] * 2, shared_memory=False)
    try:
        assert separate.reset(seed=0)[0] == sync.reset(seed=0)[0]
        assert separate.step(("red", "blue"))[0] == sync.step(("red", "blue"))[0]
    finally:
        separate.close()
    with pytest.raises((CustomSpaceError, ValueError)):
        AsyncVectorEnv([lambda: make(Unicode())] * 2, shared_memory=True)


def test_another_environment_is_refused() -> None:
    with pytest.raises(TypeError, match="MessageObservation needs a ChatEnv, got Cart"):
        MessageObservation(gymnasium.make("CartPole-v1"))
