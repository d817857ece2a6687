"""`ChatEnv` as Gymnasium sees it: actions, `info`, rewards, construction, seeds, rendering."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from chat_envs.core import ChatEnv, Turn
from chat_envs.message import Message, assistant, user
from chat_envs.reward import RewardError
from chat_envs.tokenizer import END, load_tokenizer
from tests.chat_envs.scripted import Scripted
from tests.chat_envs.toy import SayIt

TOKENIZER = load_tokenizer()
LETTER = TOKENIZER.encode("x")[0]


def started(**kwargs: Any) -> Scripted:
    env = Scripted(**kwargs)
    env.reset(seed=1)
    return env


# Actions that are none --------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (7,), (1, 6), ()])
def test_an_action_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    env = started()
    with pytest.raises(ValueError, match=r"shape \(6,\), got.*encode\(text\)"):
        env.step(np.zeros(shape, dtype=np.int64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.bool_, np.str_])
def test_an_action_of_another_type_is_refused(dtype: type) -> None:
    env = started()
    with pytest.raises(TypeError, match="integer ids, got dtype"):
        env.step(np.zeros(6, dtype=dtype))


@pytest.mark.parametrize("token", [-1, len(TOKENIZER)])
def test_an_id_out_of_the_vocabulary_is_refused(token: int) -> None:
    env = started()
    with pytest.raises(ValueError, match="another tokenizer than 'builtin'"):
        env.step(np.full(6, token))
    assert env.turn == 0, "a refused action took a turn"


def test_lists_and_small_integer_types_are_actions() -> None:
    env = started(max_turns=9)
    env.step([LETTER, END, 0, 0, 0, 0])
    env.step(np.array([1, 0, 0, 0, 0, 0], dtype=np.uint8))
    assert env.turn == 2


# info ---------------------------------------------------------------------------------------

KEYS = {
    "turn": int,
    "success": bool,
    "termination_reason": str,
    "reward_components": dict,
    "gold_reward": float,
    "metrics": dict,
    "reward_valid": bool,
    "reply_text": str,
    "action_mask": np.ndarray,
}


def test_info_has_the_same_keys_and_types_always() -> None:
    env = SayIt()
    _, info = env.reset(seed=3)
    infos = [info]
    for _ in range(3):
        infos.append(env.step(env.encode("red"))[4])
    for info in infos:
        assert {key: type(value) for key, value in info.items()} == KEYS
        assert set(info["reward_components"]) == {"said", "pace"}
        assert set(info["metrics"]) == {"num_said"}
        mask = info["action_mask"]
        assert mask.shape == (200,) and mask.dtype == np.int8
        assert all(type(v) is float for v in info["reward_components"].values())
    assert infos[0]["reply_text"] == "" and infos[1]["reply_text"] == "red"


def test_nothing_that_is_returned_is_shared() -> None:
    env = started(max_turns=9)
    first, info = env.reset(seed=1)
    kept = first["input_ids"].copy()
    second, *_, later = env.step(env.encode("a"))
    assert np.array_equal(first["input_ids"], kept)
    arrays = [
        *first.values(),
        info["action_mask"],
        *second.values(),
        later["action_mask"],
    ]
    for k, one in enumerate(arrays):
        assert not any(np.shares_memory(one, other) for other in arrays[k + 1 :])
    second["input_ids"][:] = 0
    later["metrics"].clear()
    assert env.context.ids.any() and env.describe()["metrics"]


def test_an_observation_is_padded_on_the_right() -> None:
    env = started()
    observation, _ = env.reset(seed=1)
    length = len(env.context)
    assert observation["input_ids"].dtype == np.int64
    assert observation["attention_mask"].dtype == np.int8
    assert observation["attention_mask"].tolist() == [1] * length + [0] * (128 - length)
    assert set(observation["input_ids"][length:].tolist()) == {TOKENIZER.pad_id}


# Rewards --------------------------------------------------------------------------------------


def test_components_are_summed_and_those_left_out_are_zero() -> None:
    env = SayIt()
    env.reset(seed=3)
    _, reward, *_, info = env.step(env.encode(env.expert_reply()))
    assert reward == pytest.approx(0.9)
    assert info["reward_components"] == {"said": 1.0, "pace": -0.1}


def test_undeclared_components_are_refused() -> None:
    env = started(turns=[Turn(reward={"task": 1.0, "bonus": 2.0})])
    with pytest.raises(ValueError, match="bonus.*component_names declares"):
        env.step(env.encode("a"))


def test_one_float_for_several_components_is_refused() -> None:
    class Two(Scripted):
        component_names = ("one", "two")

    env = Two(turns=[Turn(reward=1.0)])
    env.reset(seed=1)
    with pytest.raises(ValueError, match="give a mapping"):
        env.step(env.encode("a"))


def test_a_plugged_reward_replaces_the_task_s() -> None:
    def length(reply: str) -> float:
        return float(len(reply))

    env = started(reward=length)
    _, reward, *_, info = env.step(env.encode("abc"))
    assert reward == 3.0 and list(info["reward_components"].values()) == [3.0]


def test_what_a_reward_writes_into_its_arguments_stays_there() -> None:
    def forge(info: dict[str, Any]) -> float:
        info["metrics"]["num_said"] = 100.0
        info["success"] = True
        return 0.0

    env = SayIt(reward=forge)
    env.reset(seed=1)
    info = env.step(env.encode("nothing"))[4]
    assert info["metrics"] == {"num_said": 0.0} and not info["success"]


def test_a_failing_reward_follows_its_policy() -> None:
    def fail(reply: str) -> float:
        return math.nan

    env = started(reward=fail)
    with pytest.raises(RewardError):
        env.step(env.encode("a"))
    env = started(reward=fail, on_error="mask")
    *_, info = env.step(env.encode("a"))
    assert info["reward_valid"] is False


def test_what_a_reward_is_told_can_be_asked_for_after_the_first_turn() -> None:
    asked = []

    def keep(reply: str, turn: int, messages: Any, prompt: Any, info: Any) -> float:
        asked.append((reply, turn, messages, prompt, info))
        return 0.0

    env = SayIt(reward=keep)
    env.reset(seed=1)
    for text in ("red", "blue"):
        with pytest.raises(gymnasium.error.ResetNeeded, match="no turn to score"):
            SayIt().reward_request()
        env.step(env.encode(text))
        told = env.reward_request()
        assert asked[-1] == (
            told.reply,
            told.turn,
            told.messages,
            told.prompt,
            told.info,
        )
        assert told.messages[len(told.prompt)] == assistant(text)
    assert told.turn == 2 and told.info is not asked[-1][-1]
    env.reset()
    with pytest.raises(gymnasium.error.ResetNeeded, match="no turn to score"):
        env.reward_request()


# Construction ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["context_length", "reply_length", "max_turns"])
def test_a_number_below_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Scripted(**{name: 0})


def test_an_unknown_split_or_render_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="split must be one of.*'dev'"):
        Scripted(split="dev")
    with pytest.raises(
        ValueError, match="render_mode must be None or 'ansi', got 'human'"
    ):
        Scripted(render_mode="human")


def test_an_opening_without_room_for_a_reply_is_refused_at_once() -> None:
    needed = len(started().context) + 6 + 1
    Scripted(context_length=needed)
    with pytest.raises(ValueError, match=f"context_length of at least {needed}, got"):
        Scripted(context_length=needed - 1)


def test_a_class_without_an_opening_says_so() -> None:
    with pytest.raises(NotImplementedError):
        ChatEnv()


# Gymnasium --------------------------------------------------------------------------------------


def test_gymnasium_s_checker_passes() -> None:
    check_env(SayIt(), skip_render_check=True)


def test_a_seed_is_an_episode_and_no_seed_goes_on() -> None:
    env = SayIt()
    first = [env.reset(seed=7)[0]["input_ids"].tobytes() for _ in range(2)]
    assert first[0] == first[1]
    later = {env.reset()[0]["input_ids"].tobytes() for _ in range(20)}
    assert len(later) > 1


def test_render_is_the_transcript() -> None:
    env = started(render_mode="ansi")
    env.step(env.encode("Yes"))
    assert env.render() == "user: Hi\nassistant: Yes\nuser: more"
    messages: tuple[Message, ...] = (user("Hi"), assistant("Yes"), user("more"))
    assert env.conversation.messages == messages


def test_render_without_a_mode_warns() -> None:
    with pytest.warns(UserWarning, match="render_mode='ansi'"):
        assert started().render() is None
