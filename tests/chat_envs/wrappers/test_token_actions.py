from __future__ import annotations

import json
import warnings
from typing import Any, Iterator

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.wrappers import TokenActions
from tests.chat_envs.registered import registered
from tests.chat_envs.toy import SayIt

STOP = 1


@pytest.fixture
def toy_id() -> Iterator[str]:
    with registered() as id:
        yield id


def write(
    env: TokenActions, tokens: list[int]
) -> list[tuple[Any, float, bool, bool, Any]]:
    return [env.step(token) for token in tokens]


def test_the_spaces() -> None:
    inner = SayIt()
    env = TokenActions(inner)
    assert env.action_space == spaces.Discrete(len(inner.tokenizer))
    assert env.observation_space == inner.observation_space


@given(
    seed=st.integers(0, 1000),
    replies=st.lists(
        st.lists(st.integers(5, 300), max_size=12), min_size=3, max_size=3
    ),
)
def test_token_by_token_is_the_same_episode_as_reply_by_reply(
    seed: int, replies: list[list[int]]
) -> None:
    whole = SayIt(reply_length=10)
    tokens = TokenActions(SayIt(reply_length=10))
    whole.reset(seed=seed)
    tokens.reset(seed=seed)
    for reply in replies:
        written = [*reply, STOP][:10]
        action = np.zeros(10, dtype=np.int64)
        action[: len(written)] = written
        expected = whole.step(action)
        *drafts, found = write(tokens, written)
        assert all(step[1:4] == (0.0, False, False) for step in drafts)
        assert found[1:4] == expected[1:4]
        for key, row in expected[0].items():
            assert np.array_equal(found[0][key], row)
        assert str(found[4]) == str(expected[4])


def test_the_unfinished_reply_is_seen_behind_the_context() -> None:
    inner = SayIt()
    env = TokenActions(inner)
    observation, _ = env.reset(seed=0)
    start = len(inner.context)
    for number, token in enumerate([50, 60, 70], 1):
        observation, _, _, _, info = env.step(token)
        assert (
            observation["input_ids"][start : start + number].tolist()
            == [50, 60, 70][:number]
        )
        assert int(observation["attention_mask"].sum()) == start + number
        assert np.flatnonzero(info["action_mask"]).tolist() == list(
            range(start, start + number)
        )
        assert info["reply_text"] == inner.tokenizer.decode([50, 60, 70][:number])
    assert len(inner.context) == start, "the draft must not enter the context"


def test_a_control_id_of_any_kind_ends_the_reply() -> None:
    inner = SayIt()
    for control in sorted(inner.tokenizer.control_ids):
        env = TokenActions(inner)
        env.reset(seed=0)
        (*_, info), (*_, done) = write(env, [50, control])
        assert (info["turn"], done["turn"]) == (0, 1)


def test_a_reply_is_cut_at_its_length() -> None:
    env = TokenActions(SayIt(reply_length=4))
    env.reset(seed=0)
    turns = [step[4]["turn"] for step in write(env, [50] * 8)]
    assert turns == [0, 0, 0, 1, 1, 1, 1, 2]


def test_components_of_all_steps_sum_to_the_return() -> None:
    inner = SayIt()
    env = TokenActions(inner)
    env.reset(seed=3)
    total, parts, is_over = 0.0, 0.0, False
    while not is_over:
        word = inner.tokenizer.encode(inner.expert_reply())
        for _, reward, terminated, truncated, info in write(env, [*word, STOP]):
            total += reward
            parts += sum(info["reward_components"].values())
            is_over = terminated or truncated
    assert total == pytest.approx(2.7) == pytest.approx(parts)


def test_infos_have_the_same_keys_and_types_throughout() -> None:
    env = TokenActions(SayIt())
    _, first = env.reset(seed=0)
    for *_, info in write(env, [50, 60, STOP, 50]):
        assert {k: type(v) for k, v in info.items()} == {
            k: type(v) for k, v in first.items()
        }
        assert set(info["reward_components"]) == set(first["reward_components"])


def test_a_reset_forgets_the_draft() -> None:
    env = TokenActions(SayIt())
    env.reset(seed=0)
    env.step(50)
    env.reset(seed=0)
    *_, info = env.step(STOP)
    assert (info["turn"], info["reply_text"]) == (1, "")


def test_it_steps_only_between_reset_and_end(toy_id: str) -> None:
    env = TokenActions(gymnasium.make(toy_id, max_episode_steps=2))
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        env.step(50)
    env.reset(seed=0)
    steps = write(env, [STOP, STOP])
    assert steps[-1][2:4] == (False, True)
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        env.step(50)


@pytest.mark.parametrize("token", [-1, 10**6])
def test_an_id_outside_the_vocabulary_is_refused(token: int) -> None:
    env = TokenActions(SayIt())
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"got {token}"):
        env.step(token)


def test_another_environment_is_refused() -> None:
    with pytest.raises(TypeError, match="needs a ChatEnv, got CartPoleEnv"):
        TokenActions(gymnasium.make("CartPole-v1"))


def test_gymnasiums_checker_passes_without_a_warning(toy_id: str) -> None:
    env = TokenActions(gymnasium.make(toy_id, disable_env_checker=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*different from the unwrapped.*")
        check_env(env, skip_render_check=True)


def test_the_spec_survives_json(toy_id: str) -> None:
    spec = TokenActions(gymnasium.make(toy_id)).spec
    assert spec is not None
    text = spec.to_json()
    json.loads(text)
    again = gymnasium.make(EnvSpec.from_json(text))
    assert isinstance(again, TokenActions)


def test_gymnasiums_vector_environments_take_it() -> None:
    env = gymnasium.vector.SyncVectorEnv([lambda: TokenActions(SayIt())] * 2)
    observation, _ = env.reset(seed=0)
    _, rewards, _, _, info = env.step(np.array([50, STOP]))
    assert observation["input_ids"].shape == (2, 200)
    assert rewards.tolist()[0] == 0.0 != rewards.tolist()[1]
    assert info["turn"].tolist() == [0, 1]
