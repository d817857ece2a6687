"""`rescore`, as the command line runs it."""

from __future__ import annotations

import configparser
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from chat_envs import command_line
from chat_envs.replier import REPLIERS, play
from chat_envs.wrappers import RecordTranscript, rescore

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[3]
LENGTH = "chat_envs.envs._social_chat_proxy:reply_length"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "transcripts.jsonl"
    with RecordTranscript(gymnasium.make("chat_envs/SocialChat-easy-v0"), path) as env:
        for seed in range(3):
            play(env, REPLIERS["expert"], seed)
    return path


@pytest.fixture(autouse=True)
def declared_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find the commands that setup.cfg declares, whether or not they were installed since."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["options.entry_points"][command_line.GROUP].strip().splitlines()
    pairs = [[part.strip() for part in line.split("=")] for line in lines]
    found = [metadata.EntryPoint(*pair, command_line.GROUP) for pair in pairs]
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: found)


def run(*arguments: object) -> int:
    return command_line.main(["rescore", *map(str, arguments)])


def read(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_lines_are_printed(path: Path, capsys: Capture) -> None:
    assert run(path, "--reward", "proxy:reply_length") == 0
    lines = read(capsys.readouterr().out)
    assert lines == rescore(path, "proxy:reply_length")
    assert [line["seed"] for line in lines] == [0, 1, 2]


def test_or_written_and_summed_up(path: Path, capsys: Capture) -> None:
    output = path.with_name("scored.jsonl")
    assert run(path, "--reward", LENGTH, "--output", output) == 0
    lines = rescore(path, LENGTH)
    assert read(output.read_text("utf-8")) == lines
    gold = [line["return"] for line in rescore(path, "gold")]
    num_turns = sum(line["num_turns"] for line in lines)
    mean = sum(line["return"] for line in lines) / 3
    assert capsys.readouterr().out == (
        f"3 episodes, {num_turns} turns: mean return {mean:g}, of the task's own reward "
        f"{sum(gold) / 3:g}\nwrote {output}\n"
    )
    assert run(output, "--reward", "gold", "--output", path.with_name("again")) == 0


def test_a_mixture_is_a_json_object(path: Path, capsys: Capture) -> None:
    reward = {"gold": 0.5, "proxy:reply_length": {"weight": 0.1}}
    assert run(path, "--reward", json.dumps(reward)) == 0
    assert read(capsys.readouterr().out) == rescore(path, reward)
    with pytest.raises(SystemExit) as exit:
        run(path, "--reward", "{gold: 1}")
    assert exit.value.code == 2
    assert "argument --reward: no JSON object" in capsys.readouterr().err


def test_a_broken_line_is_named_or_skipped(path: Path, capsys: Capture) -> None:
    first, *rest = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([first, "{", *rest]))
    assert run(path, "--reward", LENGTH) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and f"rescore: {path}:2: " in captured.err
    assert run(path, "--reward", LENGTH, "--on-broken", "skip") == 0
    assert len(read(capsys.readouterr().out)) == 3


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        ("proxy:vadr", "has no proxy 'vadr', only"),
        ("no_such_module:judge", "no module named 'no_such_module'"),
        ("goldd", "Did you mean 'gold'"),
    ],
)
def test_a_reward_that_is_none_is_an_error(
    path: Path, capsys: Capture, reward: str, message: str
) -> None:
    output = path.with_name("scored.jsonl")
    assert run(path, "--reward", reward, "--output", output) == 1
    assert message in capsys.readouterr().err
    assert not output.exists()


def refuse(reply: str) -> float:
    raise OSError("no network")


def test_a_failing_reward_follows_its_policy(path: Path, capsys: Capture) -> None:
    reward = f"{__name__}:refuse"
    assert run(path, "--reward", reward) == 1
    assert "reward 'refuse' failed at turn 1" in capsys.readouterr().err
    assert run(path, "--reward", reward, "--on-error", "2") == 0
    turns = [turn for line in read(capsys.readouterr().out) for turn in line["turns"]]
    assert turns and all(turn["reward"] == 2.0 for turn in turns)
    assert run(path, "--reward", reward, "--on-error", "mask") == 0
    assert not read(capsys.readouterr().out)[0]["turns"][0]["reward_valid"]


def test_a_transcript_is_not_overwritten(path: Path, capsys: Capture) -> None:
    before = path.read_bytes()
    with pytest.raises(SystemExit) as exit:
        run(path, "--reward", LENGTH, "--output", path.parent / "." / path.name)
    assert exit.value.code == 2 and path.read_bytes() == before
    assert "another file than the transcript" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [(), ("x.jsonl",), ("--reward", "gold")])
def test_file_and_reward_are_required(arguments: Any, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as exit:
        run(*arguments)
    assert exit.value.code == 2
    assert "FILE and --reward are required" in capsys.readouterr().err


def test_a_missing_file_and_no_episodes_are_told(path: Path, capsys: Capture) -> None:
    assert run(path.with_name("none"), "--reward", LENGTH) == 1
    assert "No such file" in capsys.readouterr().err
    path.write_text("")
    assert run(path, "--reward", "gold", "--output", path.with_name("empty")) == 0
    assert capsys.readouterr().out.startswith("no episodes\n")


def test_help_has_an_example_that_runs(path: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as exit:
        run("--help")
    assert exit.value.code == 0
    *_, example = capsys.readouterr().out.strip().splitlines()
    assert example.split()[:2] == ["chat-envs", "rescore"]
    name, file, *flags = example.split()[1:]
    pytest.importorskip("vaderSentiment")
    flags[-1] = str(path.with_name(flags[-1]))
    assert command_line.main([name, str(path.with_name(file)), *flags]) == 0
