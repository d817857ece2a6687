from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import CustomSpaceError
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.message import Message, user
from chat_envs.wrappers import TextActions, TextObservation, TextSpace
from tests.chat_envs.registered import registered
from tests.chat_envs.toy import SayIt


class Unicode(SayIt):
    """Says what gymnasium.spaces.Text cannot hold."""

    def _ask(self) -> Message:
        return user(f"grüß dich — 你好 \x00 say {self._wanted[self.turn]}")


def make(env: gymnasium.Env[Any, Any] | None = None) -> gymnasium.Env[Any, Any]:
    return TextObservation(TextActions(env or SayIt()))


def test_text_in_and_text_out_is_the_same_episode() -> None:
    ids, text = SayIt(), make()
    ids.reset(seed=4)
    transcript, _ = text.reset(seed=4)
    assert transcript == ids.conversation.render()
    for _ in range(3):
        word = ids.expert_reply()
        _, *expected = ids.step(ids.encode(word))
        transcript, *found = text.step(word)
        assert str(found) == str(expected)
        assert transcript == ids.conversation.render()
    assert found[0] == pytest.approx(0.9) and found[1]
    assert transcript.startswith("system: You have 3 turns.\nuser: say ")
    assert transcript.endswith(f"\nassistant: {word}")


def test_the_wrappers_work_one_by_one() -> None:
    actions = TextActions(SayIt())
    observation, _ = actions.reset(seed=0)
    assert set(observation) == {"input_ids", "attention_mask"}
    assert actions.step("red")[4]["reply_text"] == "red"
    observations = TextObservation(SayIt())
    assert isinstance(observations.reset(seed=0)[0], str)
    step = observations.step(np.zeros(24, dtype=np.int64))
    assert isinstance(step[0], str)


@given(st.text(alphabet=st.characters(), max_size=300))
def test_any_text_is_a_reply(text: str) -> None:
    env = make()
    env.reset(seed=0)
    transcript, reward, *_ = env.step(text)
    assert env.observation_space.contains(transcript)
    assert np.isfinite(reward)


@pytest.mark.parametrize("action", [b"red", 3, None, ["red"], np.zeros(24, np.int64)])
def test_what_is_no_text_is_refused(action: Any) -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(TypeError, match="A reply is a str here"):
        env.step(action)


def test_any_string_lies_in_the_space_and_nothing_else() -> None:
    space = TextSpace()
    assert all(text in space for text in ("", " ", "grüß", "\ud800", "a" * 10**6))
    assert not any(thing in space for thing in (None, 1, b"a", ["a"]))
    assert space == TextSpace() != gymnasium.spaces.Text(5)
    assert not space.is_np_flattenable


def test_samples_are_seeded_strings() -> None:
    one, other = TextSpace(seed=3), TextSpace(seed=3)
    samples = [one.sample() for _ in range(10)]
    assert samples == [other.sample() for _ in range(10)]
    assert len(set(samples)) > 5 and all(len(s) <= 40 and s in one for s in samples)
    with pytest.raises(ValueError, match="neither a mask"):
        one.sample(mask=np.ones(3))


def test_gymnasiums_checker_passes_without_a_warning() -> None:
    with registered() as id, warnings.catch_warnings():
        env = make(gymnasium.make(id, disable_env_checker=True))
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*different from the unwrapped.*")
        check_env(env, skip_render_check=True)


def test_vectors_keep_text_whole_and_refuse_shared_memory() -> None:
    sync = SyncVectorEnv([lambda: make(Unicode())] * 2)
    texts, _ = sync.reset(seed=0)
    assert isinstance(texts, tuple) and all(
        "grüß dich — 你好 \x00" in text for text in texts
    )
    texts, rewards, *_ = sync.step(("red", "blue"))
    assert ["assistant: red" in texts[0], "assistant: blue" in texts[1]] == [True, True]
    separate = AsyncVectorEnv([lambda: make(Unicode())] * 2, shared_memory=False)
    try:
        assert separate.reset(seed=0)[0] == sync.reset(seed=0)[0]
        assert separate.step(("red", "blue"))[0] == sync.step(("red", "blue"))[0]
    finally:
        separate.close()
    with pytest.raises((CustomSpaceError, ValueError)):
        AsyncVectorEnv([lambda: make(Unicode())] * 2, shared_memory=True)


@pytest.mark.parametrize("wrapper", [TextActions, TextObservation])
def test_another_environment_is_refused(wrapper: Any) -> None:
    with pytest.raises(
        TypeError, match=f"{wrapper.__name__} needs a ChatEnv, got CartPoleEnv"
    ):
        wrapper(gymnasium.make("CartPole-v1"))
