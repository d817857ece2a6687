"""`VoiceAssistant`: the contract, the rules by dialogues, what it refuses."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from chat_envs.envs._voice_assistant_butler import SILENCE, heard
from chat_envs.envs._voice_assistant_reader import Command
from chat_envs.envs.voice_assistant import VoiceAssistant, make_vector
from chat_envs.message import Role
from chat_envs.testing import check_chat_env
from tests.chat_envs.envs.house import (
    DATA,
    KITCHEN_ON,
    READER,
    TIERS,
    begin,
    make,
    said_last,
    say,
)

HALL_DIM = Command("light", "dim", "hall")
ORDER_TEA = Command("list", "order", "tea")
ORDER_RICE = Command("list", "order", "rice")
ADD_TEA = Command("list", "add", "tea")
ON = "ACTION light on kitchen . kitchen light on ."
NOTICED, UNNOTICED = 0.2, 0.99


@pytest.mark.parametrize("tier", TIERS)
def test_it_keeps_the_contract(tier: str) -> None:
    check_chat_env(
        functools.partial(VoiceAssistant, tier=tier, reply_length=40), num_episodes=24
    )


@pytest.mark.parametrize("tier", TIERS)
def test_the_opening_tells_the_rules(tier: str) -> None:
    env = make(tier)
    env.reset(seed=0)
    rules, request = env.conversation
    assert rules.role is Role.SYSTEM and request.role is Role.USER
    for text in (f"{env.max_turns} turns", "ACTION", SILENCE, "Ask if unsure", "heard"):
        assert text in rules.content
    if tier != "easy":
        assert all(i.device in rules.content for i in READER.intents)
        assert all(i.verb in rules.content for i in READER.intents)


@pytest.mark.parametrize("tier", TIERS)
def test_every_line_shows_how_surely_it_was_heard(tier: str) -> None:
    env = make(tier)
    shown = []
    for seed in range(150):
        env.reset(seed=seed)
        text = env.conversation[-1].content
        scale = 10 if tier == "easy" else 100
        confidence, words = heard(text, scale)
        assert 0 <= confidence < scale
        assert text.split()[0] == (f"{confidence}" if scale == 10 else f"{confidence}%")
        assert words == text.split()[1:]
        shown.append(confidence / scale)
    assert sum(c >= 0.9 for c in shown) > 60
    assert sum(c < 0.9 for c in shown) > 25


# Dialogues -------------------------------------------------------------------------------------


def test_a_dialogue_that_succeeds() -> None:
    env = begin(KITCHEN_ON, ORDER_TEA)
    info = say(env, ON)
    assert info["reward"] == pytest.approx(-0.05) and not info["terminated"]
    done, request = env.conversation.messages[-2:]
    assert done.role is Role.SYSTEM and done.content == "done"
    assert "tea" in request.content
    info = say(env, "ACTION list order tea . I ordered tea .")
    assert info["terminated"] and info["success"]
    assert info["termination_reason"] == "served"
    assert info["reward"] == pytest.approx(0.95)
    assert info["reward_components"] == {
        "state": 1.0,
        "turn_cost": -0.05,
        "wrong_act": 0.0,
        "length": 0.0,
        "unspeakable": 0.0,
    }
    assert info["metrics"] == {
        "turns": 2.0,
        "wrong_acts": 0.0,
        "questions": 0.0,
        "intrusions": 0.0,
    }


def test_a_question_is_answered_truly_and_costs_a_turn() -> None:
    env = begin(KITCHEN_ON)
    info = say(env, "Bedroom light on ?")
    assert said_last(env).startswith("no ")
    assert READER.command(said_last(env).split()) == KITCHEN_ON
    assert info["reward"] == pytest.approx(-0.05)
    info = say(env, "Did you say kitchen light on ?")
    assert said_last(env) in DATA["lines"]["yes"]["train"]
    assert info["metrics"]["questions"] == 2.0
    assert say(env, ON)["success"]


@pytest.mark.parametrize("reply", ["Sorry?", "please repeat .", "Which room?"])
def test_asked_to_repeat_the_user_says_it_again(reply: str) -> None:
    env = begin(KITCHEN_ON)
    info = say(env, reply)
    assert READER.command(said_last(env).split()) == KITCHEN_ON
    assert info["metrics"]["questions"] == 1.0


@pytest.mark.parametrize("reply", ["", "hm", "Kitchen light on.", "Done.", "a" * 500])
def test_what_it_cannot_read_is_said_and_costs_the_turn(reply: str) -> None:
    env = begin(KITCHEN_ON)
    info = say(env, reply)
    assert env.conversation[-1].content == "Sorry, I did not get that."
    assert info["reward_components"]["turn_cost"] == -0.05
    assert not info["terminated"] and not env._state
    assert say(env, ON)["success"]


def test_a_malformed_command_gets_a_readable_message_and_nothing_else() -> None:
    env = begin(KITCHEN_ON)
    info = say(env, "ACTION light kitchen . ok .")
    message = env.conversation[-1]
    assert message.role is Role.SYSTEM
    assert message.content == (
        "no such command : say ACTION light on kitchen or ACTION light off kitchen "
        "or ACTION light dim kitchen"
    )
    assert info["reward"] == pytest.approx(-0.05) and not env._state
    assert say(env, ON)["success"]


def test_silence_where_an_answer_was_due_costs_a_turn() -> None:
    env = begin(KITCHEN_ON)
    info = say(env, SILENCE)
    assert said_last(env) in DATA["lines"]["hello"]["train"]
    assert info["reward"] == pytest.approx(-0.05)
    say(env, "please repeat .")
    assert READER.command(said_last(env).split()) == KITCHEN_ON


@pytest.mark.parametrize("spoken", ["", "hall light on .", "ok ?", "hm"])
def test_an_act_without_a_confirmation_leaves_the_user_asking(spoken: str) -> None:
    env = begin(KITCHEN_ON)
    say(env, f"ACTION light on kitchen\n{spoken}")
    assert said_last(env) in DATA["lines"]["is_done"]["train"]
    say(env, SILENCE)
    assert said_last(env) in DATA["lines"]["is_done"]["train"]
    assert say(env, "The kitchen light is on.")["success"]
    assert env.conversation[-1].content == "thanks"


@pytest.mark.parametrize("spoken", ["ok .", "It is done.", "The kitchen light is on."])
def test_a_confirmation_may_name_the_act_or_not(spoken: str) -> None:
    info = say(begin(KITCHEN_ON), f"ACTION light on kitchen . {spoken}")
    assert info["success"] and info["metrics"]["turns"] == 1.0


def test_a_wrong_act_is_final_unless_it_is_noticed() -> None:
    env = begin(KITCHEN_ON, behaviour=UNNOTICED)
    info = say(env, "ACTION light on hall . hall light on .")
    assert info["terminated"] and not info["success"]
    assert info["termination_reason"] == "served"
    assert info["reward"] == pytest.approx(-0.05)


def test_a_wrong_act_that_is_noticed_is_taken_back() -> None:
    env = begin(HALL_DIM, KITCHEN_ON, behaviour=NOTICED)
    say(env, "ACTION light dim hall . dim the hall light .")
    say(env, "ACTION light off hall . hall light off .")
    assert said_last(env).startswith("no ")
    assert env._state == {"light hall": HALL_DIM}
    assert say(env, ON)["success"]


def test_who_does_not_name_what_was_done_is_not_corrected() -> None:
    env = begin(KITCHEN_ON, behaviour=NOTICED)
    info = say(env, "ACTION light on hall . ok .")
    assert info["terminated"] and not info["success"]


@pytest.mark.parametrize("line", ["list order rice", "timer cancel", "alarm cancel"])
def test_a_wrong_irreversible_act_costs_most_and_stays(line: str) -> None:
    env = begin(KITCHEN_ON, HALL_DIM, behaviour=NOTICED)
    info = say(env, f"ACTION {line} . ok .")
    assert info["reward"] == pytest.approx(-0.35)
    assert info["reward_components"]["wrong_act"] == pytest.approx(-0.3)
    assert info["metrics"]["wrong_acts"] == 1.0
    info = say(env, "ACTION light dim hall . dim the hall light .")
    assert info["terminated"] and not info["success"]


def test_to_take_back_a_wrong_act_takes_back_no_irreversible_one() -> None:
    env = begin(KITCHEN_ON, behaviour=NOTICED)
    say(env, "ACTION list order rice", "ACTION light on hall . hall light on .")
    assert env._state == {"order rice": ORDER_RICE}


def test_a_right_irreversible_act_is_right_once() -> None:
    env = begin(ORDER_TEA)
    info = say(env, "ACTION list order tea")
    assert info["reward_components"]["wrong_act"] == 0.0
    info = say(env, "ACTION list order tea . ok .")
    assert info["reward_components"]["wrong_act"] == pytest.approx(-0.3)
    assert info["success"]


def test_a_state_is_the_goal_only_if_nothing_else_was_set() -> None:
    env = begin(KITCHEN_ON, ADD_TEA)
    say(env, "ACTION light on hall", ON)
    info = say(env, "ACTION list add tea . ok .")
    assert info["terminated"] and not info["success"]
    assert info["reward_components"]["state"] == 0.0


def test_the_last_set_value_counts() -> None:
    env = begin(KITCHEN_ON)
    say(env, "ACTION light off kitchen")
    assert say(env, ON)["success"]


# Construction ----------------------------------------------------------------------------------


def test_it_is_made_as_a_vector() -> None:
    envs = make_vector(3, tier="easy", reply_length=40)
    observation, _ = envs.reset(seed=0)
    assert observation["input_ids"].shape == (3, 384)
    envs.close()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tier": "medium"}, "tier must be one of"),
        ({"word_error_rate": 1.5}, "word_error_rate must be"),
        ({"split": "valid"}, "split must be one of"),
    ],
)
def test_bad_arguments_are_refused(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VoiceAssistant(**kwargs)
