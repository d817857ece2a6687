"""`ChatVectorEnv`: the same bytes as Gymnasium's own vectors, and what it can do besides."""

from __future__ import annotations

import copy
import functools
from typing import Any, Callable, Iterator

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit

from chat_envs.core import ChatEnv, Turn
from chat_envs.message import user
from chat_envs.reward import reward_function
from chat_envs.vector import ChatVectorEnv, vector_entry_point
from tests.chat_envs.registered import registered
from tests.chat_envs.scripted import Scripted
from tests.chat_envs.toy import WORDS, SayIt

MODES = [mode.value for mode in AutoresetMode]
NUM_ENVS = 4


class Uneven(SayIt):
    """Ends after one to five turns, so that environments fall out of step."""

    def __init__(self, **kwargs: Any) -> None:
        self._num_turns = 1
        super().__init__(num_turns=5, **kwargs)

    def _opening(self, rng: np.random.Generator) -> list[Any]:
        opening = super()._opening(rng)
        self._num_turns = int(rng.integers(1, 6))
        return opening

    def _respond(self, reply: str) -> Turn:
        turn = super()._respond(reply)
        if self.turn < self._num_turns:
            return turn
        return Turn(reward=turn.reward, ended=True, success=True, why="enough")


def same(found: Any, expected: Any, path: str = "result") -> None:
    """Assert that two nested results are equal to the byte and of the same types."""
    if isinstance(expected, (tuple, list)):
        assert len(found) == len(expected), path
        for k, (a, b) in enumerate(zip(found, expected, strict=True)):
            same(a, b, f"{path}[{k}]")
    elif isinstance(expected, dict):
        assert set(found) == set(expected), path
        for key in expected:
            same(found[key], expected[key], f"{path}[{key!r}]")
    elif isinstance(expected, np.ndarray) and expected.dtype == object:
        assert found.dtype == object and found.shape == expected.shape, path
        same(found.tolist(), expected.tolist(), path)
    elif isinstance(expected, (np.ndarray, np.generic)):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), path
        assert found.tobytes() == expected.tobytes(), path
    else:
        assert type(found) is type(expected) and found == expected, path


def replies(seed: int = 3) -> Iterator[Any]:
    """Yield actions of single words, drawn by a generator of their own."""
    rng, tools = np.random.default_rng(seed), SayIt()
    while True:
        words = rng.choice(WORDS, NUM_ENVS)
        yield np.stack([tools.encode(word) for word in words])


def compare(native: ChatVectorEnv, other: Any, num_steps: int = 30) -> set[str]:
    """Step both alike and assert that all is the same; return what happened."""
    seen: set[str] = set()
    is_disabled = native.autoreset_mode == AutoresetMode.DISABLED
    try:
        same(native.reset(seed=11), other.reset(seed=11))
        for action, _ in zip(replies(), range(num_steps)):
            found, expected = native.step(action), other.step(action)
            same(found, expected)
            is_over = found[2] | found[3]
            seen |= {"terminated"} if found[2].any() else set()
            seen |= {"truncated"} if found[3].any() else set()
            seen |= {"uneven"} if is_over.any() and not is_over.all() else set()
            if is_disabled and is_over.any():
                options = {"reset_mask": is_over}
                same(native.reset(options=options), other.reset(options=options))
    finally:
        native.close()
        other.close()
    return seen


@pytest.mark.parametrize("mode", MODES)
def test_it_equals_the_sync_vector(mode: str) -> None:
    native = ChatVectorEnv(Uneven, NUM_ENVS, autoreset_mode=mode)
    other = SyncVectorEnv([Uneven] * NUM_ENVS, autoreset_mode=AutoresetMode(mode))
    assert compare(native, other) >= {"terminated", "uneven"}


@pytest.mark.parametrize("mode", MODES)
def test_it_equals_the_sync_vector_where_the_context_ends_episodes(mode: str) -> None:
    tools = SayIt(reply_length=6, num_turns=5)
    tools.reset(seed=5)
    # Room for the first reply and some, whatever the words are, but not for five.
    room = 6 + tools.template.max_closing
    length = len(tools.context) + 2 * room
    kwargs: dict[str, Any] = {"context_length": length, "reply_length": 6}
    native = ChatVectorEnv(Uneven, NUM_ENVS, autoreset_mode=mode, **kwargs)
    make = functools.partial(Uneven, **kwargs)
    other = SyncVectorEnv([make] * NUM_ENVS, autoreset_mode=AutoresetMode(mode))
    assert "truncated" in compare_with(native, other, tools.encode("pink"))


def compare_with(native: ChatVectorEnv, other: Any, reply: Any) -> set[str]:
    """Step both with one reply in all environments until something was truncated."""
    same(native.reset(seed=5), other.reset(seed=5))
    actions = np.stack([reply] * NUM_ENVS)
    seen: set[str] = set()
    for _ in range(12):
        found, expected = native.step(actions), other.step(actions)
        same(found, expected)
        seen |= {"truncated"} if found[3].any() else set()
        is_over = found[2] | found[3]
        if native.autoreset_mode == AutoresetMode.DISABLED and is_over.any():
            options = {"reset_mask": is_over}
            same(native.reset(options=options), other.reset(options=options))
    return seen


@pytest.mark.parametrize("shared_memory", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_it_equals_the_async_vector(mode: str, shared_memory: bool) -> None:
    native = ChatVectorEnv(Uneven, NUM_ENVS, autoreset_mode=mode)
    other = AsyncVectorEnv(
        [Uneven] * NUM_ENVS,
        autoreset_mode=AutoresetMode(mode),
        shared_memory=shared_memory,
    )
    assert compare(native, other, num_steps=8) >= {"terminated"}


@pytest.mark.parametrize("mode", MODES)
def test_max_episode_steps_is_gymnasium_s_time_limit(mode: str) -> None:
    native = ChatVectorEnv(Uneven, NUM_ENVS, autoreset_mode=mode, max_episode_steps=2)
    make: Callable[[], Any] = lambda: TimeLimit(Uneven(), 2)  # noqa: E731
    other = SyncVectorEnv([make] * NUM_ENVS, autoreset_mode=AutoresetMode(mode))
    assert compare(native, other) >= {"terminated", "truncated"}


# Besides ------------------------------------------------------------------------------------


def test_environments_need_not_march_in_lockstep() -> None:
    vector = ChatVectorEnv(Uneven, NUM_ENVS, autoreset_mode="Disabled")
    vector.reset(seed=5)
    alone = [Uneven() for _ in range(NUM_ENVS)]
    for i, env in enumerate(alone):
        env.reset(seed=5 + i)
    is_over = np.zeros(NUM_ENVS, dtype=bool)
    rng = np.random.default_rng(1)
    while not is_over.all():
        waiting = np.flatnonzero(~is_over)
        some = rng.permutation(waiting)[: rng.integers(1, len(waiting) + 1)].tolist()
        texts = [str(rng.choice(WORDS)) for _ in some]
        # Unpadded ids do as well.
        ids = [[*alone[0].tokenizer.encode(text), 1] for text in texts]
        found = vector.step_some(some, ids)
        for row, (i, text) in enumerate(zip(some, texts, strict=True)):
            expected = alone[i].step(alone[i].encode(text))
            for k in range(4):
                value = found[k]
                if isinstance(value, dict):
                    value = {key: column[row] for key, column in value.items()}
                    same(value, expected[k])
                else:
                    assert value[row] == expected[k]
            assert found[4]["reply_text"][row] == text
            assert found[4]["turn"][row] == alone[i].turn
            assert found[4]["action_mask"][row].tobytes() == (
                expected[4]["action_mask"].tobytes()
            )
            is_over[i] = expected[2] or expected[3]
    same([context.ids for context in vector.contexts()], [e.context.ids for e in alone])


def test_step_some_refuses_what_it_cannot_do() -> None:
    vector = ChatVectorEnv(SayIt, 3, autoreset_mode="Disabled")
    vector.reset(seed=1)
    with pytest.raises(ValueError, match="distinct environments"):
        vector.step_some([0, 0], [[1], [1]])
    with pytest.raises(ValueError, match="one reply for each environment, got 1 for 2"):
        vector.step_some([0, 1], [[1]])
    with pytest.raises(ValueError, match="at most 24 ids"):
        vector.step_some([0], [[5] * 25])
    with pytest.raises(ValueError, match="another tokenizer"):
        vector.step_some([0], [[99999]])
    assert [env.turn for env in vector.envs] == [0, 0, 0], "a refused call took a turn"
    other = ChatVectorEnv(SayIt, 3)
    other.reset(seed=1)
    with pytest.raises(ValueError, match="autoreset_mode='Disabled', got 'NextStep'"):
        other.step_some([0], [[1]])


def test_all_replies_are_scored_in_one_call() -> None:
    calls: list[int] = []

    @reward_function(batched=True)
    def length(reply: list[str]) -> list[float]:
        calls.append(len(reply))
        return [float(len(text)) for text in reply]

    vector = ChatVectorEnv(SayIt, 3, reward=length)
    vector.reset(seed=1)
    actions = np.stack([vector.envs[0].encode(text) for text in ("a", "bb", "ccc")])
    _, rewards, *_, infos = vector.step(actions)
    assert calls == [3]
    assert rewards.tolist() == [1.0, 2.0, 3.0]
    assert rewards.dtype == np.float64
    (component,) = [k for k in infos["reward_components"] if not k.startswith("_")]
    assert infos["reward_components"][component].tolist() == [1.0, 2.0, 3.0]


def test_a_reset_of_some_leaves_the_others_and_the_options_alone() -> None:
    vector = ChatVectorEnv(SayIt, 3, autoreset_mode="Disabled")
    vector.reset(seed=1)
    actions = np.stack([vector.envs[0].encode("red")] * 3)
    vector.step(actions)
    before = [context.ids.tolist() for context in vector.contexts()]
    options = {"reset_mask": np.array([False, True, False]), "other": 1}
    kept = copy.deepcopy(options)
    _, infos = vector.reset(seed=[None, 7, None], options=options)
    after = [context.ids.tolist() for context in vector.contexts()]
    assert after[0] == before[0] and after[2] == before[2] and after[1] != before[1]
    assert infos["turn"].tolist() == [0, 0, 0] and infos["_turn"].tolist() == [0, 1, 0]
    assert [env.turn for env in vector.envs] == [1, 0, 1]
    same(options, kept)
    single = SayIt()
    single.reset(seed=7)
    assert after[1] == single.context.ids.tolist()


@pytest.mark.parametrize(
    ("mask", "error"),
    [
        ([True, False], TypeError),
        (np.array([1, 0]), TypeError),
        (np.array([True]), ValueError),
        (np.array([False, False]), ValueError),
    ],
)
def test_a_mask_that_is_none_is_refused(mask: Any, error: type[Exception]) -> None:
    vector = ChatVectorEnv(SayIt, 2, autoreset_mode="Disabled")
    vector.reset(seed=1)
    with pytest.raises(error, match="reset_mask"):
        vector.reset(options={"reset_mask": mask})


def test_seeds_are_one_each_or_count_up() -> None:
    vector = ChatVectorEnv(SayIt, 3)
    one = vector.reset(seed=4)[0]["input_ids"]
    same(vector.reset(seed=np.int64(4))[0]["input_ids"], one)  # type: ignore[arg-type]
    same(vector.reset(seed=[4, 5, 6])[0]["input_ids"], one)
    group = vector.reset(seed=[4, 4, 4])[0]["input_ids"]
    assert (group == group[0]).all()
    with pytest.raises(ValueError, match="3 environments need as many seeds, got 2"):
        vector.reset(seed=[1, 2])


@pytest.mark.parametrize("limit", [None, 1])
def test_an_episode_that_is_over_takes_no_step_in_mode_disabled(
    limit: int | None,
) -> None:
    vector = ChatVectorEnv(
        Scripted,
        2,
        autoreset_mode="Disabled",
        max_episode_steps=limit,
        turns=[Turn(messages=[user("more")], ended=limit is None, why="done")],
    )
    vector.reset(seed=1)
    actions = np.stack([env.encode("a") for env in vector.envs])
    *_, terminations, truncations, _ = vector.step(actions)
    assert (terminations | truncations).all()
    with pytest.raises(gymnasium.error.ResetNeeded):
        vector.step(actions)
    with pytest.raises(gymnasium.error.ResetNeeded):
        vector.step_some([0], actions[:1])


def test_a_step_before_reset_is_refused() -> None:
    vector = ChatVectorEnv(SayIt, 2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        vector.step(np.ones((2, 24), dtype=np.int64))


@pytest.mark.parametrize("shape", [(1, 24), (2, 23), (24,)])
def test_actions_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    vector = ChatVectorEnv(SayIt, 2)
    vector.reset(seed=1)
    with pytest.raises(ValueError, match=r"shape \(2, 24\), got"):
        vector.step(np.zeros(shape, dtype=np.int64))


def test_what_it_returns_is_not_written_again() -> None:
    vector = ChatVectorEnv(Uneven, NUM_ENVS)
    observation, infos = vector.reset(seed=2)
    kept = copy.deepcopy((observation, infos))
    for action, _ in zip(replies(), range(6)):
        vector.step(action)
    same((observation, infos), kept)


def test_no_two_masks_of_an_info_are_one_array() -> None:
    _, info = ChatVectorEnv(SayIt, 2).reset(seed=1)
    info["_turn"][0] = False
    assert info["_success"].all() and info["_reply_text"].all()


def test_construction_refuses_no_environment_and_unknown_modes() -> None:
    with pytest.raises(ValueError, match="num_envs must be at least 1, got 0"):
        ChatVectorEnv(SayIt, 0)
    with pytest.raises(ValueError, match="nextstep"):
        ChatVectorEnv(SayIt, 1, autoreset_mode="nextstep")


def test_one_tokenizer_and_one_scorer_serve_all() -> None:
    vector = ChatVectorEnv(SayIt, 3)
    assert len({id(env.tokenizer) for env in vector.envs}) == 1
    assert len({id(env.scorer) for env in vector.envs}) == 1


# Through Gymnasium --------------------------------------------------------------------------


def test_make_vec_makes_it_with_the_registered_keywords() -> None:
    with registered(num_turns=2) as env_id:
        vector = gymnasium.make_vec(env_id, num_envs=3, context_length=150)
        assert isinstance(vector, ChatVectorEnv)
        assert vector.single_observation_space["input_ids"].shape == (150,)  # type: ignore[index]
        assert {env.max_turns for env in vector.envs} == {2}
        assert vector.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP


def test_make_vec_passes_the_mode_as_a_string_that_is_json() -> None:
    with registered() as env_id:
        vector = gymnasium.make_vec(env_id, num_envs=2, autoreset_mode="Disabled")
        assert vector.metadata["autoreset_mode"] == AutoresetMode.DISABLED
        assert vector.spec is not None
        text = vector.spec.to_json()
        again = gymnasium.envs.registration.EnvSpec.from_json(text)
        assert again.kwargs["autoreset_mode"] == "Disabled"


def test_make_vec_passes_the_time_limit() -> None:
    with registered(num_turns=5) as env_id:
        vector = gymnasium.make_vec(env_id, num_envs=2, max_episode_steps=1)
        assert isinstance(vector, ChatVectorEnv)
        vector.reset(seed=1)
        actions = np.stack([env.encode("red") for env in vector.envs])
        assert vector.step(actions)[3].all()


def test_vector_entry_point_makes_vectors_of_its_class() -> None:
    make = vector_entry_point(SayIt)
    vector = make(2, autoreset_mode="SameStep", max_episode_steps=4, num_turns=2)
    assert (vector.num_envs, vector.max_episode_steps) == (2, 4)
    assert all(type(env) is SayIt for env in vector.envs)
    assert isinstance(vector.envs[0], ChatEnv)


def test_render_shows_every_transcript() -> None:
    vector = ChatVectorEnv(SayIt, 2, render_mode="ansi")
    vector.reset(seed=1)
    shown = vector.render()
    assert shown is not None and len(shown) == 2
    assert all(text.startswith("system: You have 3 turns.") for text in shown)


def test_closing_it_closes_every_environment_once() -> None:
    closed: list[ChatEnv] = []

    class Closing(SayIt):
        def close(self) -> None:
            closed.append(self)

    vector = ChatVectorEnv(Closing, 3)
    vector.close()
    vector.close()
    assert closed == vector.envs
