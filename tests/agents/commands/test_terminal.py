"""What the commands share: exit codes, numbers in YAML, text that cannot command a terminal."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence

import pytest

from agents.checkpoint import DamagedFileError
from agents.commands.terminal import (
    BadInput,
    TerminalObserver,
    bad_input,
    command,
    parse_yaml,
    print_json,
    printable,
)
from agents.tracking import RunError
from chat_envs.commands.argument import CommandParser

COMMANDS = ("train", "evaluate", "chat", "view", "demo")
STEPS = ("sft", "pairs", "export", "pipeline")


@pytest.mark.parametrize("name", [*COMMANDS, *STEPS])
def test_every_command_has_help_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"agents.commands.{name}")
    with pytest.raises(SystemExit) as caught:
        module.run(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"example:\n  chat-envs {name}" in text
    assert module.SUMMARY in text and module.SUMMARY.endswith(".")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_flag_is_answered_with_the_nearest(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"agents.commands.{name}")
    with pytest.raises(SystemExit) as caught:
        module.run(["small", "--sead=3"] if name in ("view", "chat") else ["--sead=3"])
    assert caught.value.code == 2
    assert "Did you mean --seed?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("x"), 2),
        (RunError("x"), 2),
        (DamagedFileError("x"), 2),
        (OSError("x"), 1),
        (FloatingPointError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_exit_codes(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    @command
    def run(argv: Sequence[str]) -> int:
        raise error

    assert run([]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err and captured.err


def test_a_defect_keeps_its_traceback() -> None:
    @command
    def run(argv: Sequence[str]) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run([])


def test_what_arguments_raise_is_bad_input() -> None:
    with pytest.raises(BadInput, match="^no such id$"):
        with bad_input():
            raise KeyError("no such id")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1.5E+3", 1500.0),
        ("-2e3", -2000.0),
        ("3", 3),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("careless", "careless"),
        ("1e", "1e"),
        ("[1, 2e1]", [1, 20.0]),
    ],
)
def test_yaml_values(text: str, value: object) -> None:
    assert parse_yaml(text) == value


@pytest.mark.parametrize("text", ["{", "!!python/object/apply:os.getpid []", "a: b: c"])
def test_what_is_no_plain_yaml_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not YAML"):
        parse_yaml(text)


def test_control_characters_are_made_visible() -> None:
    assert printable("a\x1b]0;title\x07b\r\u202e") == "a\\x1b]0;title\\x07b\\r\\u202e"
    assert (
        printable("h\u00e9llo \N{GRINNING FACE}\n\tx")
        == "h\u00e9llo \N{GRINNING FACE}\n\tx"
    )


def test_json_on_standard_output_is_of_the_standard(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_json({"a": 1})
    assert json.loads(capsys.readouterr().out) == {"a": 1}
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"a": float("nan")})


def test_progress_off_a_terminal_is_a_few_lines_on_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with TerminalObserver() as observer:
        observer.begin("warm start", 300, "steps")
        for step in range(300):
            observer.advance(step + 1, "loss 1.0")
        observer.end()
        observer.remark("skipped \x1b[2J")
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == "warm start: 300 steps" and "done in" in lines[1]
    assert lines[2] == "note: skipped \\x1b[2J" and len(lines) == 3


def test_flags_are_not_abbreviated() -> None:
    parser = CommandParser("x", "Do x.", "chat-envs x")
    parser.add_argument("--seed")
    with pytest.raises(SystemExit):
        parser.parse(["--see", "3"])
