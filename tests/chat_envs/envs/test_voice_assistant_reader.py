"""The reader of `VoiceAssistant`: commands in any words, and what a reply does."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import SPLITS
from chat_envs.envs._voice_assistant_reader import (
    Command,
    Intent,
    Reader,
    num_seconds,
    words_of,
)
from chat_envs.envs.voice_assistant import _script
from tests.chat_envs.envs.house import DATA, KITCHEN_ON, READER

FIVE = Command("timer", "set", "five")
COMMANDS = [c for i in READER.intents for c in i.commands]


# Commands ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=Command.line)
def test_every_command_is_read_from_its_line_and_from_its_name(
    command: Command,
) -> None:
    reading = READER.read(f"{command.line()} . {READER.say(command)} .")
    assert (reading.kind, reading.command) == ("act", command)
    assert reading.has_told and reading.told == command
    assert not reading.is_unspeakable
    question = READER.read(f"{READER.say(command)} ?")
    assert (question.kind, question.command) == ("ask", command)


@pytest.mark.parametrize("tier", ["easy", "default"])
@pytest.mark.parametrize("split", SPLITS)
def test_every_request_is_read_in_every_phrasing(tier: str, split: str) -> None:
    num_read = 0
    for (device, verb), templates in _script(tier, split)._requests.items():
        intent = READER.intent(Command(device, verb))
        for command, template in itertools.product(intent.commands, templates):
            words = template.format(value=command.value).split()
            assert READER.command(words) == command, words
            num_read += 1
    assert num_read >= (28 if tier == "easy" else 300)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("tier", ["easy", "default"])
def test_no_remark_and_no_line_is_a_command(tier: str, split: str) -> None:
    script = _script(tier, split)
    for text in [*script._asides, *itertools.chain(*script.lines.values())]:
        assert READER.command(text.split()) is None


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("ACTION light on kitchen", KITCHEN_ON),
        ("action light on kitchen", KITCHEN_ON),
        ("ACTION: light=on room=kitchen", KITCHEN_ON),
        ("ACTION kitchen light on", KITCHEN_ON),
        ("ACTION turn on the kitchen light", KITCHEN_ON),
        ("Sure.\nACTION light on kitchen\nIt is on.", KITCHEN_ON),
        ("ACTION on kitchen", KITCHEN_ON),
        ("ACTION LIGHT ON KITCHEN!", KITCHEN_ON),
        ("ACTION light on kitchen; done", KITCHEN_ON),
        ("ACTION (light, on, kitchen)", KITCHEN_ON),
        ("ACTION timer set 5", FIVE),
        ("ACTION set a timer for 5 minutes", FIVE),
        ("ACTION timer five", FIVE),
        ("ACTION alarm five", Command("alarm", "set", "five")),
        ("ACTION timer cancel", Command("timer", "cancel")),
        ("ACTION stop timer", Command("timer", "cancel")),
        ("ACTION thermostat 19", Command("heating", "set", "nineteen")),
        ("ACTION heating off", Command("heating", "stop")),
        ("ACTION music jazz", Command("music", "play", "jazz")),
        ("ACTION music louder", Command("music", "volume", "high")),
        ("ACTION add milk", Command("list", "add", "milk")),
        ("ACTION put milk on the list", Command("list", "add", "milk")),
        ("ACTION delete milk from the list", Command("list", "remove", "milk")),
        ("ACTION buy rice", Command("list", "order", "rice")),
        ("ACTION light kitchen kitchen on", KITCHEN_ON),
    ],
)
def test_action_lines_are_read_tolerantly(line: str, command: Command) -> None:
    reading = READER.read(line)
    assert (reading.kind, reading.command) == ("act", command)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("ACTION", "name one of light , heating , timer , alarm , music , list"),
        ("ACTION door open", "name one of"),
        ("ACTION stop", "name one of"),
        ("ACTION on", "name one of"),
        ("ACTION light", "say ACTION light on kitchen or ACTION light off kitchen"),
        ("ACTION light on", "say ACTION light on kitchen"),
        ("ACTION light kitchen", "say ACTION light on kitchen"),
        ("ACTION light on off kitchen", "say ACTION light on kitchen"),
        ("ACTION timer", "say ACTION timer set five or ACTION timer cancel"),
        ("ACTION timer cancel five", "say ACTION timer set five"),
        ("ACTION timer set sixteen", "say ACTION timer set five"),
        ("ACTION milk", "name one of"),
        ("ACTION light on kitchen bedroom", "one thing a turn"),
        ("ACTION light music on", "one thing a turn"),
        ("ACTION light on kitchen ACTION light on hall", "one ACTION a turn"),
        ("ACTION light on kitchen\nACTION light on hall", "one ACTION a turn"),
        ("ACTION light on kitchen\nACTION light on kitchen", "one ACTION a turn"),
    ],
)
def test_a_malformed_line_is_explained(line: str, error: str) -> None:
    reading = READER.read(line)
    assert reading.kind == "malformed" and reading.command is None
    assert reading.error.startswith(error)


def test_two_commands_at_once_are_none() -> None:
    for one, other in itertools.permutations(COMMANDS, 2):
        words = f"{READER.say(one)} {READER.say(other)}".split()
        assert READER.command(words) is None, words
        line = READER.read(f"{one.line()} {' '.join(other)}")
        assert line.kind == "malformed", (one, other)


def test_one_word_alone_is_no_command() -> None:
    words = {word for i in READER.intents for word in (*i.words, *i.values)}
    for word in words | set(itertools.chain(*DATA["devices"].values())) - {"volume"}:
        assert READER.command([word]) is None, word


def test_the_closest_command_is_the_one_with_most_words() -> None:
    for command in COMMANDS:
        words = " ".join(part for part in command if part).split()
        assert READER.closest(words) == command
    assert READER.closest(["light", "kitchen"]) == KITCHEN_ON
    assert READER.closest(["uh"]) == COMMANDS[0]
    assert READER.closest(["order", "uh"]) == Command("list", "order", "tea")


def test_keys_tell_which_commands_undo_each_other() -> None:
    def key(*parts: str) -> str:
        return READER.key(Command(*parts))

    assert key("light", "on", "hall") == key("light", "dim", "hall")
    assert key("light", "on", "hall") != key("light", "on", "attic")
    assert key("timer", "set", "five") == key("timer", "cancel")
    assert key("list", "add", "tea") == key("list", "remove", "tea")
    assert key("list", "order", "tea") != key("list", "add", "tea")
    assert key("music", "play", "pop") != key("music", "volume", "low")


# Replies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("<silence>", "silence"),
        (" <Silence> ", "silence"),
        ("[SILENCE]", "silence"),
        ("(silence).", "silence"),
        ("silence", "silence"),
        ("*silence*", "silence"),
        ("<silence> ok", "tell"),
        ("silence is golden", "other"),
        ("<" * 9 + "silence", "other"),
        ("", "other"),
        (" \n", "other"),
        ("kitchen light on ?", "ask"),
        ("Did you say kitchen light on?", "ask"),
        ("Do you want me to turn on the kitchen light?", "ask"),
        ("A timer for 5 minutes, right?", "ask"),
        ("Sorry?", "repeat"),
        ("Which room?", "repeat"),
        ("kitchen or bedroom light on?", "repeat"),
        ("Please repeat that.", "repeat"),
        ("Say it again, please", "repeat"),
        ("Pardon", "repeat"),
        ("The kitchen light is on.", "tell"),
        ("Done.", "tell"),
        ("OK!", "tell"),
        ("I am sorry, I cannot help with that.", "other"),
        ("The light is done", "other"),
        ("kitchen", "other"),
        ("SCORE: 10/10", "other"),
        ("great great great great", "other"),
    ],
)
def test_what_a_reply_does(reply: str, kind: str) -> None:
    assert READER.read(reply).kind == kind


@pytest.mark.parametrize(
    ("spoken", "told", "has_told"),
    [
        ("kitchen light on .", KITCHEN_ON, True),
        ("I turned on the light in the kitchen.", KITCHEN_ON, True),
        ("Ok .", None, True),
        ("It is done.", None, True),
        ("bedroom light on .", Command("light", "on", "bedroom"), True),
        ("", None, False),
        ("Was that right?", None, False),
        ("kitchen light on ?", None, False),
        ("hm", None, False),
    ],
)
def test_what_is_said_beside_an_act(
    spoken: str, told: Command | None, has_told: bool
) -> None:
    for reply in (f"ACTION light on kitchen. {spoken}", f"{spoken}\nACTION on kitchen"):
        reading = READER.read(reply)
        assert (reading.kind, reading.command) == ("act", KITCHEN_ON)
        assert (reading.told, reading.has_told) == (told, has_told)


@pytest.mark.parametrize(
    "spoken",
    [
        "**Done**",
        "# Done",
        "`done`",
        "Done [here](there)",
        "see https://example.org",
        "see www.example.org",
        "- kitchen\n- hall",
        "1. kitchen",
        "ok\n 2) hall",
        "\u2022 kitchen",
        "done \U0001f600",
        "done \u2705",
        "\u2764\ufe0f",
        "<b>done</b>",
        "<silence> done",
        "a | b",
        "on_off",
        "x -> y",
    ],
)
def test_what_no_voice_can_say(spoken: str) -> None:
    assert READER.read(spoken).is_unspeakable
    assert READER.read(f"ACTION light on kitchen.\n{spoken}").is_unspeakable


@pytest.mark.parametrize(
    "spoken",
    [
        "The kitchen light is on.",
        "Set for 5 minutes, it's 10:30!",
        "Well-heated, 19.5 degrees; 20% more?",
        "'Jazz', then.",
        "\u00c9clair at 7 - or 9",
        "<silence>",
        "",
    ],
)
def test_what_a_voice_can_say(spoken: str) -> None:
    assert not READER.read(spoken).is_unspeakable


def test_the_action_line_is_not_spoken() -> None:
    reading = READER.read("ACTION {light_on} [kitchen] *now*\nThe kitchen light is on.")
    assert reading.kind == "act"
    assert not reading.is_unspeakable
    assert reading.num_words == 5
    assert READER.read("<silence>").num_words == 0
    assert READER.read("It's on . ok , ok").num_words == 4


def test_speech_has_two_and_a_half_words_a_second() -> None:
    assert [num_seconds(n) for n in (0, 5, 15, 30)] == [0.0, 2.0, 6.0, 12.0]


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(text: str) -> None:
    reading = READER.read(text)
    assert reading.num_words <= len(text)
    assert (reading.command is None) == (
        reading.kind in ("silence", "malformed", "repeat", "other")
        or (reading.kind == "tell" and reading.told is None)
    )


@given(st.sampled_from(COMMANDS), st.sampled_from(COMMANDS), st.text(max_size=20))
def test_a_second_action_spoils_every_line(
    one: Command, other: Command, between: str
) -> None:
    reply = f"{one.line()} {between} {other.line()}"
    assert READER.read(reply).kind == "malformed"


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        "yes " * 250_000,
        "action " * 140_000,
        "ACTION" + " x" * 500_000,
        "<" * 1_000_000,
        "\n" * 1_000_000,
        " \t" * 500_000,
        "'" * 1_000_000,
        "a'" * 500_000,
        "\ud800" * 100_000,
        "\u0130" * 100_000,
    ],
    ids=lambda text: repr(text[:8]),
)
def test_a_long_text_is_no_trouble(text: str) -> None:
    reading = READER.read(text)
    assert reading.kind in ("other", "malformed")
    assert reading.num_words == len(words_of(text.lower())) or "action" in text.lower()


def test_a_long_talk_is_counted_to_its_end_but_acts_early_or_never() -> None:
    late = "well " * 400 + "ACTION light on kitchen"
    assert READER.read(late).kind == "other"
    assert READER.read(late).num_words == 400
    early = "ACTION light on kitchen . ok ." + " well" * 400
    assert READER.read(early).command == KITCHEN_ON
    assert READER.read(early).num_words == 401


def test_readings_are_kept_but_not_without_end() -> None:
    reader = Reader(DATA)
    first = reader.read("ok")
    assert reader.read("ok") is first
    for number in range(5000):
        reader.read(f"ok {number}")
    assert len(reader._readings) <= 4096
    assert reader.read("ok") == first


def test_there_are_at_least_twelve_intents_over_six_devices() -> None:
    intents: tuple[Intent, ...] = READER.intents
    assert len({(i.device, i.verb) for i in intents}) == len(intents) >= 12
    assert len({i.device for i in intents}) == 6
    irreversible = [i for i in intents if i.is_irreversible]
    assert {(i.device, i.verb) for i in irreversible} == {
        ("timer", "cancel"),
        ("alarm", "cancel"),
        ("list", "order"),
    }
