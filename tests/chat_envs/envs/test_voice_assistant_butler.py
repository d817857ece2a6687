"""The scripted butler of `VoiceAssistant`: what it says in which situation."""

from __future__ import annotations

import math

import pytest

from chat_envs.envs._voice_assistant_butler import SILENCE, Butler, heard
from chat_envs.message import Conversation, Message, assistant, system, user
from tests.chat_envs.envs.house import DATA, KITCHEN_ON, READER

BUTLER = Butler(READER, DATA["meanings"], 100)
ON = "ACTION light on kitchen . kitchen light on ."
ASK = "kitchen light on ?"
REPEAT = "please repeat ."


def reply(*messages: Message, ask_below: float = 90.0) -> str:
    return BUTLER.reply(Conversation.of(system("rules"), *messages), ask_below)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("95% turn on the kitchen light", ON),
        ("90% kitchen light on", ON),
        ("89% kitchen light on", ASK),
        ("3% uh on a kitchen", ASK),
        ("99% turn on the light", REPEAT),
        ("99% kitchen light on bedroom", REPEAT),
        ("99% where is my bag", SILENCE),
        ("20% where is my bag", REPEAT),
        ("99% tom kitchen light on", SILENCE),
        ("99% hannah dinner is ready", SILENCE),
        ("99% not you", SILENCE),
        ("99% hello", REPEAT),
        ("40%", REPEAT),
        ("99%", SILENCE),
    ],
)
def test_the_first_line_is_done_asked_or_left_alone(line: str, expected: str) -> None:
    assert reply(user(line)) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("99% yes", ON),
        ("12% yes please", ON),
        ("60% guess", ON),
        ("50% kitchen light on", ON),
        ("50% kitchen light off", "kitchen light off ?"),
        ("95% no kitchen light off", "ACTION light off kitchen . kitchen light off ."),
        ("50% no kitchen light off", "kitchen light off ?"),
        ("99% no", REPEAT),
        ("99% know uh", REPEAT),
        ("30% uh", ASK),
        ("99% where is my bag", SILENCE),
        ("99% anna yes", SILENCE),
    ],
)
def test_after_a_question_the_answer_counts(answer: str, expected: str) -> None:
    talk = [user("50% kitchen light on"), assistant(ASK), user(answer)]
    assert reply(*talk) == expected
    # Something for somebody else may come between the question and its answer.
    aside = [user("99% mia where is my bag"), assistant(SILENCE)]
    assert reply(*talk[:2], *aside, user(answer)) == expected


def test_only_the_last_question_is_answered() -> None:
    talk = [user("50% kitchen light on"), assistant(ASK), user("99% no"), assistant(ON)]
    assert reply(*talk, user("99% yes")) == SILENCE


def test_asked_whether_it_is_done_it_says_what_it_did() -> None:
    act = "ACTION light on kitchen"
    talk = [user("99% kitchen light on"), assistant(act), system("done")]
    assert reply(*talk, user("99% is it done")) == "kitchen light on ."


def test_an_apology_makes_it_ask_again() -> None:
    talk = [user("99% kitchen light on"), assistant("hm")]
    assert reply(*talk, user("Sorry, I did not get that.")) == REPEAT


@pytest.mark.parametrize(
    ("ask_below", "expected"), [(0.0, ON), (50.0, ON), (51.0, ASK), (math.inf, ASK)]
)
def test_the_threshold_decides(ask_below: float, expected: str) -> None:
    assert reply(user("50% kitchen light on"), ask_below=ask_below) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("5% kitchen light on", ON),
        ("5% kitchen light", ON),
        ("5% order uh", "ACTION list order tea . order tea ."),
        ("5% uh", SILENCE),
        ("99% tom kitchen light on", SILENCE),
        ("99% not you", SILENCE),
    ],
)
def test_who_never_asks_guesses_the_rest(line: str, expected: str) -> None:
    assert BUTLER.reply_unasked(Conversation.of(user(line))) == expected


def test_a_line_without_a_mark_is_certain() -> None:
    assert heard("kitchen light on", 100) == (100, ["kitchen", "light", "on"])
    assert heard("7 kitchen", 10) == (7, ["kitchen"])
    assert heard("7", 10) == (7, [])
    assert heard("", 10) == (10, [])


def test_what_it_says_reads_as_meant() -> None:
    for intent in READER.intents:
        for command in intent.commands:
            assert READER.read(BUTLER.act(command)).command == command
            assert READER.read(BUTLER.ask(command)).kind == "ask"
    assert READER.read(REPEAT).kind == "repeat"
    assert READER.read(SILENCE).kind == "silence"
    assert KITCHEN_ON.line() in BUTLER.act(KITCHEN_ON)
