"""`play`: a person types the replies."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from chat_envs.commands import play
from tests.chat_envs.registered import registered
from tests.chat_envs.toy import SayIt

Capture = pytest.CaptureFixture[str]


def type_in(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{x}\n" for x in lines)))


def expert_words(seed: int, split: str = "train") -> list[str]:
    env = SayIt(split=split)
    env.reset(seed=seed)
    return env._wanted


def test_an_episode_is_played_to_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    first, second, third = expert_words(seed=5)
    type_in(monkeypatch, first, "no", third)
    with registered() as env_id:
        assert play.run([env_id, "--seed", "5"]) == 0
    out = capsys.readouterr().out
    assert f"user: say {first}" in out and f"user: say {third}" in out
    assert "turn 1: reward +0.9 (said +1, pace -0.1)" in out
    assert "turn 2: reward -0.1 (said +0, pace -0.1)" in out
    assert "no success: done. Return +1.7." in out
    assert "read as" not in out


def test_the_end_of_the_input_ends_cleanly(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    type_in(monkeypatch, "red")
    with registered() as env_id:
        assert play.run([env_id]) == 0
    out = capsys.readouterr().out
    assert "turn 1" in out and "turn 2" not in out
    assert out.endswith("(stopped)\n")


def test_a_reply_that_was_cut_is_shown_as_it_was_read(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    type_in(monkeypatch, "9" * 200)  # a digit is a token
    with registered(reply_length=6) as env_id:
        play.run([env_id])
    assert "(read as '99999" in capsys.readouterr().out


def test_bytes_that_are_no_text_are_read_and_what_a_terminal_lacks_is_written() -> None:
    """In a process of its own: what counts is the encoding of the real streams."""
    code = (
        "import sys; from chat_envs.command_line import main; "
        "sys.exit(main(['play', 'TwentyQuestions-easy-v0']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=(b"\xff" * 200 + b"\n") * 2,  # long: it is cut, and shown as it was read
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii:strict"},
    )
    assert done.returncode == 0, done.stderr
    assert b"turn 2" in done.stdout and rb"(read as '\ufffd" in done.stdout


def test_the_score_is_shown_where_there_are_anchors(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    type_in(monkeypatch, "hello")
    assert play.run(["Echo-easy-v0", "--split", "test"]) == 0
    assert "normalised score" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["Echo-easy-v9"],
        ["Echo-easy-v0", "--split", "dev"],
        ["Echo-easy-v0", "--seed", "x"],
        ["Echo-easy-v0", "--seed", "-1"],
    ],
)
def test_wrong_arguments_are_errors_of_use(
    arguments: list[str], capsys: Capture
) -> None:
    with pytest.raises(SystemExit) as stop:
        play.run(arguments)
    assert stop.value.code == 2


def test_an_unknown_tokenizer_is_told_the_nearest(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        play.run(["Echo-easy-v0", "--tokenizer", "smollm2"])
    assert stop.value.code == 2
    assert "Did you mean 'smollm2-135m'?" in capsys.readouterr().err
