from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from chat_envs.message import Message, user
from chat_envs.replier import REPLIERS, play
from chat_envs.wrappers import RecordTranscript, TokenActions
from tests.chat_envs.registered import registered
from tests.chat_envs.toy import SayIt


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "transcripts.jsonl"


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_has_the_whole_episode(path: Path) -> None:
    with RecordTranscript(SayIt(), path) as env:
        record = play(env, REPLIERS["expert"], seed=5)
        (line,) = read(path)  # on disk before the file is closed
    assert line["id"] == "SayIt"
    assert (line["seed"], line["num_turns"], line["success"]) == (5, 3, True)
    assert (line["is_complete"], line["is_truncated"]) == (True, False)
    assert line["termination_reason"] == "done"
    assert line["return"] == record.episode_return
    assert line["reward_components"] == record.components
    assert line["metrics"] == {"num_said": 3.0}
    assert line["messages"] == [message.as_dict() for message in record.messages]


def test_wrapping_changes_nothing(path: Path) -> None:
    plain = play(SayIt(), REPLIERS["praise"], seed=9)
    with RecordTranscript(SayIt(), path) as env:
        assert play(env, REPLIERS["praise"], seed=9) == plain


def test_every_episode_is_a_line_of_its_own(path: Path) -> None:
    with RecordTranscript(SayIt(), path) as env:
        for seed in range(4):
            play(env, REPLIERS["expert" if seed % 2 else "empty"], seed)
    assert [line["seed"] for line in read(path)] == [0, 1, 2, 3]
    assert [line["return"] for line in read(path)] == pytest.approx(
        [-0.3, 2.7, -0.3, 2.7]
    )


def test_what_is_there_is_kept(path: Path) -> None:
    for seed in range(2):
        with RecordTranscript(SayIt(), path) as env:
            play(env, REPLIERS["expert"], seed)
    assert [line["seed"] for line in read(path)] == [0, 1]


@pytest.mark.parametrize("leave", ["reset", "close"])
def test_an_abandoned_episode_is_marked(path: Path, leave: str) -> None:
    env = RecordTranscript(SayIt(), path)
    env.reset(seed=1)
    env.step(env.unwrapped.encode("red"))  # type: ignore[attr-defined]
    getattr(env, leave)()
    (line,) = read(path)
    assert (line["is_complete"], line["num_turns"], line["seed"]) == (False, 1, 1)
    env.close()
    assert len(read(path)) == 1


def test_an_episode_without_a_turn_is_no_line(path: Path) -> None:
    env = RecordTranscript(SayIt(), path)
    env.reset(seed=1)
    env.reset(seed=2)
    env.close()
    env.close()
    assert read(path) == []


def test_a_truncated_episode_says_so(path: Path) -> None:
    limited = gymnasium.wrappers.TimeLimit(SayIt(), max_episode_steps=1)
    with RecordTranscript(limited, path) as env:
        play(env, REPLIERS["expert"], seed=0)
    (line,) = read(path)
    assert (line["is_truncated"], line["is_complete"], line["num_turns"]) == (
        True,
        True,
        1,
    )


def test_the_id_is_the_registered_one(path: Path) -> None:
    with registered() as id, RecordTranscript(gymnasium.make(id), path) as env:
        play(env, REPLIERS["expert"], seed=0)
        assert env.spec is not None
        json.loads(env.spec.to_json())
    assert read(path)[0]["id"] == "toy/SayIt-v0"


def test_text_that_has_no_utf8_form_is_written(path: Path) -> None:
    class Odd(SayIt):
        """Says a lone surrogate and line ends."""

        def _ask(self) -> Message:
            return user("\ud800 \u2028 \n 你好")

    with RecordTranscript(Odd(), path) as env:
        play(env, REPLIERS["expert"], seed=0)
    (line,) = read(path)
    assert line["messages"][1]["content"] == "\ud800 \u2028 \n 你好"


def test_single_tokens_are_recorded_by_turn_under_the_wrapper(path: Path) -> None:
    env = TokenActions(RecordTranscript(SayIt(), path))
    env.reset(seed=0)
    while not env.step(1)[2]:
        pass
    env.close()
    (line,) = read(path)
    assert (line["num_turns"], line["is_complete"]) == (3, True)


def test_another_environment_is_refused(path: Path) -> None:
    with pytest.raises(TypeError, match="needs a ChatEnv, got CartPoleEnv"):
        RecordTranscript(gymnasium.make("CartPole-v1"), path)
    assert not path.exists()
