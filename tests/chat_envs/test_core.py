"""`ChatEnv`: tokens in, tokens out; two clocks and their limits."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import ChatEnv, Turn
from chat_envs.message import system, user
from chat_envs.tokenizer import ASSISTANT, END, PAD, SYSTEM, USER, load_tokenizer
from tests.chat_envs.scripted import Scripted, ids_of

TOKENIZER = load_tokenizer()
MORE = [USER, *TOKENIZER.encode("more"), END, ASSISTANT]
LETTER = TOKENIZER.encode("x")[0]


def started(**kwargs: Any) -> Scripted:
    env = Scripted(**kwargs)
    env.reset(seed=1)
    return env


# Tokens in, tokens out --------------------------------------------------------------------


def test_the_opening_is_encoded_once_with_the_header_of_a_reply() -> None:
    env = started(opening=[system("Rules"), user("Hi")])
    expected = [SYSTEM, *TOKENIZER.encode("Rules"), END, USER, *TOKENIZER.encode("Hi")]
    assert env.context.ids.tolist() == [*expected, END, ASSISTANT]
    assert not env.context.action_mask.any()


def test_reply_ids_are_kept_and_only_they_are_marked() -> None:
    env = started()
    before = env.context.ids.tolist()
    # Ids that no text encodes to: "o" and "k" apart. Encoding again would change them.
    apart = [TOKENIZER.encode("x " + c)[-1] for c in "xx"] * 2
    env.step(ids_of(env, [*apart, END]))
    assert env.context.ids.tolist() == before + [*apart, END] + MORE
    mask = [0] * len(before) + [1] * (len(apart) + 1) + [0] * len(MORE)
    assert env.context.action_mask.tolist() == mask


def test_a_cut_reply_is_closed_with_mask_zero() -> None:
    env = started()
    before = len(env.context)
    env.step(np.full(env.reply_length, LETTER))
    new = env.context.ids[before:].tolist()
    assert new == [LETTER] * env.reply_length + [END] + MORE
    assert env.context.action_mask[before:].sum() == env.reply_length
    assert env.context.action_mask[before + env.reply_length] == 0


@pytest.mark.parametrize("forged", [USER, SYSTEM, ASSISTANT, PAD])
def test_a_control_id_ends_the_reply_and_never_enters_the_context(forged: int) -> None:
    env = started()
    before = len(env.context)
    env.step(ids_of(env, [LETTER, forged, LETTER, LETTER, END]))
    assert env.context.ids[before:].tolist() == [LETTER, END, *MORE]
    assert env.context.action_mask[before:].tolist() == [1] + [0] * (1 + len(MORE))
    assert env.replies == [TOKENIZER.decode([LETTER])]


def test_what_stands_behind_the_stop_id_is_nothing() -> None:
    one, other = started(), started()
    one.step(ids_of(one, [LETTER, END]))
    other.step(ids_of(other, [LETTER, END, USER, LETTER]))
    assert one.context.ids.tolist() == other.context.ids.tolist()


def test_an_empty_reply_is_a_reply() -> None:
    env = started()
    before = len(env.context)
    _, reward, *_, info = env.step(ids_of(env, [END]))
    assert (reward, info["reply_text"], env.replies) == (1.0, "", [""])
    assert env.context.ids[before:].tolist() == [END, *MORE]


@given(st.lists(st.integers(0, len(TOKENIZER) - 1), min_size=6, max_size=6))
def test_no_reply_changes_how_many_messages_there_are(ids: list[int]) -> None:
    env = started(turns=[Turn(messages=[user("a"), system("b")])])
    before = env.context.ids.tolist()
    observation, _, _, _, info = env.step(np.array(ids))
    found = env.context.ids.tolist()
    assert found[: len(before)] == before
    headers = [i for i in found[len(before) :] if i in TOKENIZER.control_ids]
    assert headers == [END, USER, END, SYSTEM, END, ASSISTANT]
    content = ids[: next((k for k, i in enumerate(ids) if i <= ASSISTANT), len(ids))]
    assert info["reply_text"] == env.replies[0] == TOKENIZER.decode(content)
    assert env.observation_space.contains(observation)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\ud800 hi",
        "\0\0",
        "a" * 1_000_000,
        "<|end|><|user|>hi",
        "\r\n\t\u202e",
        "9" * 99,
    ],
)
def test_any_text_is_a_reply(text: str) -> None:
    env = started()
    action = env.encode(text)
    assert action.shape == (6,) and action.dtype == np.int64
    _, reward, *_ = env.step(action)
    assert math.isfinite(reward)
    control = [i for i in env.context.ids.tolist() if i in TOKENIZER.control_ids]
    assert control == [USER, END, ASSISTANT, END, USER, END, ASSISTANT]


def test_an_action_made_of_text_is_read_as_that_text() -> None:
    env = started(reply_length=24)
    assert env.decode(env.encode("May I ask?")) == "May I ask?"
    assert env.encode("a").tolist().count(END) == 1
    # A text that fills the reply has no room for the stop id.
    assert END not in started(reply_length=4).encode("a b c d e f g").tolist()


# Clocks and limits ------------------------------------------------------------------------


def test_the_turn_limit_terminates() -> None:
    env = started(max_turns=3)
    seen = []
    for _ in range(3):
        *_, terminated, truncated, info = env.step(env.encode("a"))
        seen.append((terminated, truncated, info["turn"], info["termination_reason"]))
    assert seen == [
        (False, False, 1, ""),
        (False, False, 2, ""),
        (True, False, 3, "turn_limit"),
    ]
    assert env.is_last_turn


def test_an_end_has_the_author_s_reason_also_in_the_last_turn() -> None:
    over = Turn(ended=True, success=True, why="solved", metrics={"num_letters": 2})
    env = started(turns=[over], max_turns=1)
    *_, terminated, truncated, info = env.step(env.encode("a"))
    assert (terminated, truncated) == (True, False)
    assert info["termination_reason"] == "solved" and info["success"] is True
    assert info["metrics"] == {"num_letters": 2.0}


def test_success_is_a_secret_until_the_end() -> None:
    env = started(turns=[Turn(success=True, messages=[user("more")])], max_turns=2)
    assert env.step(env.encode("a"))[4]["success"] is False
    assert env.step(env.encode("a"))[4]["success"] is True


def room_left(env: ChatEnv) -> int:
    return env.context.room - env.reply_length - env.template.max_closing


def test_a_context_without_room_for_another_reply_truncates() -> None:
    # The first length at which the second turn no longer fits, and the last at which it does.
    fits = started()
    fits.step(fits.encode("a"))
    length = len(fits.context) + fits.reply_length + 1
    roomy, tight = started(context_length=length), started(context_length=length - 1)
    assert roomy.step(roomy.encode("a"))[2:4] == (False, False)
    assert room_left(roomy) == 0
    *_, terminated, truncated, info = tight.step(tight.encode("a"))
    assert (terminated, truncated) == (False, True)
    assert info["termination_reason"] == "context_length"
    # What was said still fitted, so it is there.
    assert tight.context.ids.tolist()[-len(MORE) :] == MORE


def test_messages_that_do_not_fit_are_left_out_and_truncate() -> None:
    turns = [Turn(messages=[user("word " * 400)], reward=1.0)]
    env = started(turns=turns)
    observation, reward, terminated, truncated, _ = env.step(env.encode("a"))
    assert (reward, terminated, truncated) == (1.0, False, True)
    assert env.context.ids.tolist()[-1] == END
    assert env.observation_space.contains(observation)
    assert env.conversation[-1].content == "word " * 400


def test_an_ended_episode_is_not_truncated_for_want_of_room() -> None:
    env = started(turns=[Turn(messages=[user("word " * 400)], ended=True, why="done")])
    *_, terminated, truncated, info = env.step(env.encode("a"))
    assert (terminated, truncated) == (True, False)
    assert info["termination_reason"] == "done"


def test_the_last_message_invites_no_reply() -> None:
    env = started(turns=[Turn(messages=[user("Bye")], ended=True, why="done")])
    env.step(env.encode("a"))
    assert env.context.ids.tolist()[-2:] == [TOKENIZER.encode("Bye")[-1], END]


def test_a_step_out_of_an_episode_is_refused() -> None:
    env = Scripted(turns=[Turn(ended=True, why="done")])
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        env.step(env.encode("a"))
    env.reset(seed=1)
    env.step(env.encode("a"))
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset"):
        env.step(env.encode("a"))
    env.reset()
    env.step(env.encode("a"))
