"""The dispatcher: finds commands by name, imports none of them to list them."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import chat_envs
from chat_envs import command_line

ROOT = Path(__file__).parents[2]
MODULE = "tests.chat_envs.toy_command"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install commands: two functions of a toy module, one of the suite, one that is missing."""
    values = {
        "toy": f"{MODULE}:run",
        "other": f"{MODULE}:fail",
        "stop": f"{MODULE}:stop",
        "list": "chat_envs.commands.listing:run",
        "gone": "no_such_package.command:run",
    }
    found = [
        metadata.EntryPoint(name, value, command_line.GROUP)
        for name, value in values.items()
    ]

    def entry_points(*, group: str) -> list[metadata.EntryPoint]:
        return [e for e in found if e.group == group]

    monkeypatch.setattr(metadata, "entry_points", entry_points)


@pytest.mark.usefixtures("commands")
def test_a_command_gets_its_arguments_and_gives_its_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command_line.main(["toy", "--json", "x"]) == 0
    assert capsys.readouterr().out == "['--json', 'x']\n"
    assert command_line.main(["other"]) == 1


@pytest.mark.usefixtures("commands")
def test_what_the_deepspeed_launcher_puts_in_front_is_no_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command_line.main(["--local_rank=1", "toy", "x"]) == 0
    assert capsys.readouterr().out == "['x']\n"


@pytest.mark.usefixtures("commands")
def test_an_unknown_command_is_told_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command_line.main(["lsit"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no command 'lsit'. Did you mean 'list'?" in captured.err


def test_without_commands_it_says_how_to_install_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: [])
    assert command_line.main(["list"]) == 2
    assert "pip install -e ." in capsys.readouterr().err


@pytest.mark.usefixtures("commands")
def test_help_lists_every_command_with_the_first_line_of_its_module(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sys.modules.pop(MODULE, None)
    assert command_line.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  toy    Say the arguments." in lines
    assert (
        "  list   List the environments: id, tier, tags and what each is about."
        in lines
    )
    assert any("gone" in line and "not installed" in line for line in lines)
    assert any(line.startswith("example: chat-envs ") for line in lines)
    assert MODULE not in sys.modules, "a command was imported to be listed"


@pytest.mark.usefixtures("commands")
def test_no_command_prints_the_help_and_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command_line.main([]) == 2
    assert "commands" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["--version"]) == 0
    assert capsys.readouterr().out == f"chat-envs {chat_envs.__version__}\n"


@pytest.mark.usefixtures("commands")
def test_an_interrupt_ends_without_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command_line.main(["stop"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_that_leaves_is_no_error_message() -> None:
    code = (
        "import sys; from chat_envs import command_line\n"
        "command_line._dispatch = lambda a: [print('x' * 9999) for _ in range(999)] and 0\n"
        "sys.exit(command_line.main(['x']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 1
    assert error == b""


def declared() -> dict[str, str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options.entry_points"][command_line.GROUP].strip().splitlines()
    return dict(line.split(" = ") for line in lines if " = " in line)


@pytest.mark.parametrize(
    "name", [n for n, value in declared().items() if value.startswith("chat_envs")]
)
def test_every_command_of_the_suite_helps_with_an_example(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    entry_point = metadata.EntryPoint(name, declared()[name], command_line.GROUP)
    assert command_line.summary(entry_point)
    run: Any = entry_point.load()
    with pytest.raises(SystemExit) as stop:
        run(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"example:\n  chat-envs {name}" in text
    flag = re.findall(r"--[a-z]+", text.partition("options:")[2])[-1]
    identifier = ["Echo-v0"] if " ID" in text.partition("\n\n")[0] else []
    with pytest.raises(SystemExit) as stop:
        run([*identifier, f"{flag}x"])
    assert stop.value.code == 2
    assert f"Did you mean {flag}?" in capsys.readouterr().err


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; from chat_envs.command_line import main; main(['--help']); "
        "sys.exit(3 if 'torch' in sys.modules or 'transformers' in sys.modules else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
