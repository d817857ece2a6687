"""`chat-envs view` and `chat-envs chat`: what was said, and what would be."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agents.commands import chat, view
from agents.engine.language_model import Generation, Sampling
from agents.tracking import read_lines
from agents.train import load_run
from chat_envs.chat_template import load_template
from chat_envs.message import Role, assistant, system, user
from chat_envs.tokenizer import load_tokenizer


def episodes(capsys: pytest.CaptureFixture[str], *argv: str) -> list[dict[str, object]]:
    assert view.run(["small", "--json", *argv]) == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)["episodes"]
    return found


def test_view_shows_the_last_update_by_seed(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = read_lines(desk / "runs/small/transcripts.jsonl")
    last = max(line["iteration"] for line in lines)
    found = episodes(capsys)
    assert [e["iteration"] for e in found] == [last] * 2
    assert found == sorted(found, key=lambda e: str(e["seed"]))


def test_view_orders_and_selects(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = desk / "runs/small/transcripts.jsonl"
    record = read_lines(path)[0] | {"iteration": 9}
    returns = [0.5, None, -1.0, 2.0]
    text = "".join(
        json.dumps(record | {"return": r, "seed": s}) + "\n"
        for s, r in enumerate(returns)
    )
    path.write_text(path.read_text() + text)
    assert [e["return"] for e in episodes(capsys, "--order", "best")] == [
        2.0,
        0.5,
        -1.0,
    ]
    assert [e["return"] for e in episodes(capsys, "--order", "worst")] == [
        -1.0,
        0.5,
        2.0,
    ]
    assert [e["seed"] for e in episodes(capsys, "--number", "2")] == [0, 1]
    assert [e["return"] for e in episodes(capsys, "--seed", "3")] == [2.0]
    assert {e["iteration"] for e in episodes(capsys, "--iteration", "0")} == {0}


def test_view_prints_components_and_no_commands_for_the_terminal(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = desk / "runs/small/transcripts.jsonl"
    record = read_lines(path)[0]
    record["messages"] = [
        {"role": "user", "content": "[bold]hi[/bold] \x1b[2J"},
        {"role": "assistant", "content": "reply"},
    ]
    record |= {"rewards": [0.5], "components": {"task": [0.5], "cost": [0.0]}}
    path.write_text(json.dumps(record) + "\n")
    assert view.run(["small"]) == 0
    printed = capsys.readouterr().out
    assert "[bold]hi[/bold] \\x1b[2J" in printed and "\x1b" not in printed
    assert "reply   [task +0.50]" in printed and "cost" not in printed


def test_view_without_transcripts_fails(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (desk / "runs/small/transcripts.jsonl").write_text("")
    assert view.run(["small"]) == 1
    assert "no transcripts" in capsys.readouterr().err
    (desk / "runs/small/transcripts.jsonl").write_text("x\n")
    assert view.run(["small"]) == 2
    assert "transcripts.jsonl:1" in capsys.readouterr().err


def test_view_refuses_a_line_that_is_no_transcript(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = desk / "runs/small/transcripts.jsonl"
    whole = path.read_text()
    path.write_text(f'{whole}{{"iteration": 1, "seed": 2}}\n')
    assert view.run(["small"]) == 2
    captured = capsys.readouterr()
    number = whole.count("\n") + 1
    assert f"transcripts.jsonl:{number} is damaged" in captured.err
    assert "it lacks components, messages" in captured.err and captured.out == ""


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["small", "--number", "0"],
        ["small", "--iteration", "99"],
        ["small", "--seed", "-5"],
        ["small", "--order", "random"],
    ],
)
def test_view_bad_usage_is_exit_code_2(desk: Path, argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        view.run(argv)
    assert caught.value.code == 2


class Parrot:
    """A decoder that replies with given ids, and remembers the contexts it saw."""

    def __init__(self, *replies: list[int]) -> None:
        self.replies = iter(replies)
        self.contexts: list[list[int]] = []

    def generate(
        self,
        contexts: list[np.ndarray],
        slots: list[int],
        sampling: Sampling,
        generator: object,
    ) -> Generation:
        self.contexts.append(contexts[0].tolist())
        ids = np.array([next(self.replies)], dtype=np.int64)
        lengths, log_probs = np.array([ids.shape[1]]), np.zeros(
            ids.shape, dtype=np.float32
        )
        return Generation(ids, lengths, log_probs, np.array([True]))


@pytest.fixture
def lm(desk: Path) -> Iterator[object]:
    yield load_run(desk / "runs/small")[1]


def conversation(
    lm: object, parrot: Parrot, max_new_tokens: int = 8
) -> chat.Conversation:
    tokenizer = load_tokenizer()
    stop_ids = load_template(tokenizer).stop_ids
    sampling = Sampling(max_new_tokens=max_new_tokens, stop_ids=stop_ids)
    opening = [system("Serve.")]
    return chat.Conversation(lm, parrot, tokenizer, opening, sampling, 0)  # type: ignore[arg-type]


def test_a_chat_is_written_as_in_an_environment(lm: object) -> None:
    tokenizer = load_tokenizer()
    template = load_template(tokenizer)
    (stop,) = template.stop_ids
    yes, cut = list(tokenizer.encode("Yes")), list(tokenizer.encode("No"))
    parrot = Parrot([*yes, stop], cut, [stop])
    talk = conversation(lm, parrot)
    assert [talk.reply(text) for text in ("a", "b", "c")] == ["Yes", "No", ""]
    opening = template.opening([system("Serve."), user("a")])
    second = [*opening, *yes, stop, *template.extension([user("b")])]
    third = [*second, *cut, *template.closing(None), *template.extension([user("c")])]
    assert parrot.contexts == [opening, second, third]
    # What was cut is closed for it: a later reading sees two whole messages.
    said = [system("Serve."), user("a"), assistant("Yes"), user("b"), assistant("No")]
    assert third == template.opening([*said, user("c")])


def test_a_chat_that_outgrows_the_context_begins_anew(
    lm: object, capsys: pytest.CaptureFixture[str]
) -> None:
    parrot = Parrot([1], [1], [1])
    talk = conversation(lm, parrot, max_new_tokens=500)
    text = "word " * 250
    for _ in range(3):
        talk.reply(text)
    assert "begins anew" in capsys.readouterr().err
    lengths = [len(context) for context in parrot.contexts]
    assert max(lengths) <= 1024 - 500 and lengths[0] == min(lengths)
    with pytest.raises(ValueError, match="tokens; the model attends to"):
        talk.reply("word " * 2000)


def test_a_person_talks_line_by_line(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\n\n/quit\nnever read\n"))
    assert chat.run(["small", "--max-tokens", "3"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("model> ") == 2
    assert captured.err.startswith(f"{Role.SYSTEM.value}: ")


def test_the_end_of_the_input_ends_the_chat(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hello"))
    assert chat.run(["--lm", "tiny", "--max-tokens", "2", "--greedy"]) == 0
    assert capsys.readouterr().out.count("model> ") == 1


def test_the_policy_is_watched_in_its_environment(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat.run(["small", "--env"]) == 0
    printed = capsys.readouterr().out
    assert "seed 0: " in printed and "seed 1: " in printed and "assistant" in printed


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["small", "--lm", "tiny"],
        ["--lm", "tiny", "--env"],
        ["small", "--max-tokens", "0"],
    ],
)
def test_chat_bad_usage_is_exit_code_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        chat.run(argv)
    assert caught.value.code == 2


def test_chat_with_what_is_not_there_is_exit_code_2(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat.run(["smal"]) == 2
    assert "Did you mean 'small'" in capsys.readouterr().err


def test_a_reply_that_fills_the_context_is_refused(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat.run(["small", "--max-tokens", "1024"]) == 2
    assert "attends to 1024 tokens" in capsys.readouterr().err
