"""Recorded episodes, scored again: as if they had been played for that reward."""

from __future__ import annotations

import copy
import json
import logging
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import Turn
from chat_envs.message import assistant, user
from chat_envs.replier import REPLIERS, play
from chat_envs.reward import RewardError, RewardRequest, reward_function
from chat_envs.wrappers import RecordTranscript, rescore
from tests.chat_envs.registered import registered
from tests.chat_envs.toy import SayIt

IDS = ("chat_envs/SocialChat-easy-v0", "chat_envs/Tutoring-easy-v0")


def length(reply: str) -> float:
    return float(len(reply))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "transcripts.jsonl"


def record(path: Path, env: gymnasium.Env[Any, Any], seeds: Any = (0, 1, 2)) -> None:
    with RecordTranscript(env, path) as recorder:
        for seed in seeds:
            play(recorder, REPLIERS["expert" if seed % 2 else "praise"], seed)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def without(line: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in keys}


class Everything:
    """Keeps what it was asked."""

    def __init__(self) -> None:
        self.batches: list[list[RewardRequest]] = []

    def score(self, batch: list[RewardRequest]) -> list[float]:
        self.batches.append(batch)
        return [float(len(request.reply_ids)) for request in batch]


def as_tuple(request: RewardRequest) -> tuple[Any, ...]:
    values = [getattr(request, name) for name in RewardRequest.__slots__]
    return tuple(getattr(value, "tolist", lambda v=value: v)() for value in values)


# As if played for it ------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize(
    "reward",
    [
        None,
        "gold",
        {"gold": 0.5, "tests.chat_envs.wrappers.test_rescoring:length": 0.1},
    ],
)
def test_the_lines_are_those_that_the_other_reward_would_have_left(
    path: Path, env_id: str, reward: Any
) -> None:
    record(path, gymnasium.make(env_id, reward=length))
    other = path.with_name("other.jsonl")
    record(other, gymnasium.make(env_id, reward=reward))
    before, expected = read(path), read(other)
    found = rescore(path, reward)
    assert [without(line, "rescored_with") for line in found] == expected
    assert [line["return"] for line in found] != [line["return"] for line in before]
    assert read(path) == before
    json.dumps(found)


def test_a_proxy_is_that_of_the_line_s_environment(path: Path) -> None:
    record(path, gymnasium.make(IDS[0]))
    expected = rescore(path, "chat_envs.envs._social_chat_proxy:reply_length")
    found = rescore(path, "proxy:reply_length")
    assert [without(line, "rescored_with") for line in found] == [
        without(line, "rescored_with") for line in expected
    ]
    assert found[0]["rescored_with"] == "proxy:reply_length"
    with pytest.raises(ValueError, match="SocialChat-easy-v0 has no proxy 'lengths'"):
        rescore(path, "proxy:lengths")


def test_a_function_sees_what_it_saw_when_the_episode_was_played(path: Path) -> None:
    played, again = Everything(), Everything()
    record(path, SayIt(reward=played))
    rescore(path, again)
    asked = [as_tuple(request) for batch in played.batches for request in batch]
    (batch,) = again.batches
    assert [as_tuple(request) for request in batch] == asked
    assert len(asked) == 9 and all(
        request.reply_ids.dtype.kind == "i" for request in batch
    )


def test_scoring_twice_is_scoring_once(path: Path) -> None:
    record(path, SayIt())
    once = rescore(path, length)
    assert rescore(once, length) == once
    back = [without(line, "rescored_with") for line in rescore(once, "gold")]
    assert back == read(path)
    assert once[0]["rescored_with"].endswith("test_rescoring:length")


@given(st.lists(st.text(alphabet=st.characters(), max_size=20), min_size=3, max_size=3))
def test_any_reply_is_scored_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("any") / "t.jsonl"
    rewards = []
    with RecordTranscript(SayIt(reward=length), path) as env:
        env.reset(seed=1)
        for text in texts:
            rewards.append(env.step(env.unwrapped.encode(text))[1])  # type: ignore
    (line,) = rescore(path, length)
    assert [turn["reward"] for turn in line["turns"]] == rewards
    assert line["return"] == sum(rewards)


# What is recorded ---------------------------------------------------------------------------


def test_the_turns_of_a_line_tell_both_rewards(path: Path) -> None:
    record(path, SayIt(reward=length), [1])
    (line,) = read(path)
    assert line["task_names"] == ["said", "pace"]
    assert [turn["turn"] for turn in line["turns"]] == [1, 2, 3]
    for turn, message in zip(line["turns"], line["messages"][2::2], strict=True):
        assert line["messages"][turn["reply_index"]] == message
        assert turn["reward"] == len(message["content"])
        assert turn["reward_components"] == {"length": turn["reward"]}
        assert turn["gold_reward"] == pytest.approx(0.9)
        assert turn["task_components"] == {"said": 1.0, "pace": -0.1}
        assert turn["reward_valid"] is True
    assert [turn["num_messages"] for turn in line["turns"]] == [4, 6, 7]
    assert [turn["terminated"] for turn in line["turns"]] == [False, False, True]
    assert line["return"] == sum(turn["reward"] for turn in line["turns"])


def test_of_a_restored_episode_the_turns_since_are_recorded_and_scored(
    path: Path,
) -> None:
    env = SayIt()
    env.reset(seed=1)
    env.step(env.encode("red"))
    state = env.state()
    with RecordTranscript(SayIt(), path) as recorder:
        recorder.reset(options={"state": state})
        while not recorder.step(env.encode("black"))[2]:
            pass
        play(recorder, REPLIERS["expert"], seed=1)
    line, whole = rescore(path, length)
    assert [turn["turn"] for turn in line["turns"]] == [2, 3]
    assert line["return"] == 10.0 and line["num_turns"] == 3
    assert len(whole["turns"]) == 3


def test_an_opening_with_the_agent_s_own_words_is_told_from_replies(
    path: Path,
) -> None:
    class Shown(SayIt):
        def _opening(self, rng: Any) -> Any:
            ask = super()._opening(rng)
            return [user("say big"), assistant("big"), *ask]

    played, again = Everything(), Everything()
    record(path, Shown(reward=played), [1])
    rescore(path, again)
    asked = [as_tuple(request) for batch in played.batches for request in batch]
    assert [as_tuple(request) for request in again.batches[0]] == asked


# One call -----------------------------------------------------------------------------------


def test_all_turns_of_all_environments_are_scored_in_one_call(path: Path) -> None:
    for env_id in IDS:
        record(path, gymnasium.make(env_id))
    record(path, SayIt())
    judge = Everything()
    lines = rescore(path, {judge: 0.5})  # type: ignore[dict-item]
    assert len(judge.batches) == 1
    assert len(judge.batches[0]) == sum(line["num_turns"] for line in lines)
    assert [line["id"] for line in lines] == [line["id"] for line in read(path)]
    assert lines[0]["return"] == 0.5 * sum(
        len(turn["reply_ids"]) for turn in lines[0]["turns"]
    )


def test_with_the_task_s_reward_in_it_there_is_one_call_an_environment(
    path: Path,
) -> None:
    for env_id in (*IDS, IDS[0]):
        record(path, gymnasium.make(env_id), [0])
    judge = Everything()
    lines = rescore(path, {judge: 1.0, "gold": 1.0})  # type: ignore[dict-item]
    assert len(judge.batches) == 2
    components = [list(line["reward_components"]) for line in lines]
    assert components[0] == ["everything", "engagement", "mood"] == components[2]
    assert components[1] == ["everything", "gain", "turn_cost", "leak"]


def test_an_empty_file_has_no_episodes(path: Path) -> None:
    path.write_text("\n\n")
    assert rescore(path, Everything()) == []
    with pytest.raises(FileNotFoundError):
        rescore(path.with_name("none"), length)


# Failures -----------------------------------------------------------------------------------


def test_a_failing_reward_follows_its_policy(path: Path) -> None:
    @reward_function
    def fail(turn: int) -> float:
        return float("nan") if turn == 2 else 1.0

    record(path, SayIt(), [0])
    with pytest.raises(RewardError, match="'fail' failed at turn 2"):
        rescore(path, fail)
    (line,) = rescore(path, fail, on_error="mask")
    assert [turn["reward_valid"] for turn in line["turns"]] == [True, False, True]
    assert line["return"] == 2.0
    assert rescore(path, fail, on_error=5.0)[0]["return"] == 7.0


def test_where_the_task_left_the_score_open_gold_is_an_error(path: Path) -> None:
    class Open(SayIt):
        def _respond(self, reply: str) -> Turn:
            return Turn(messages=[user("say more")], metrics={"num_said": 1})

    record(path, Open(reward=length), [0])
    assert read(path)[0]["turns"][0]["task_components"] is None
    assert read(path)[0]["turns"][0]["gold_reward"] == 0.0
    with pytest.raises(RewardError, match="gave no reward for this turn"):
        rescore(path, "gold")
    assert rescore(path, length)[0]["return"] > 0


def test_an_unregistered_environment_brings_its_proxies(path: Path) -> None:
    record(path, SayIt(), [0])
    with pytest.raises(ValueError, match="no environment 'SayIt'"):
        rescore(path, "proxy:length")
    (line,) = rescore(path, "proxy:length", proxies={"length": length})
    assert list(line["reward_components"]) == ["length"]
    with registered() as env_id:
        record(path.with_name("named"), gymnasium.make(env_id), [0])
        with pytest.raises(ValueError, match="toy/SayIt-v0 declares no proxies"):
            rescore(path.with_name("named"), "proxy:length")


def damaged(line: dict[str, Any], where: str, value: Any) -> str:
    """Return a line with one thing in it replaced, or taken away where `value` is `...`."""
    broken = copy.deepcopy(line)
    place: Any = broken
    *path, last = where.split(".")
    for key in path:
        place = place[int(key) if key.isdigit() else key]
    if value is ...:
        del place[last]
    else:
        place[int(last) if last.isdigit() else last] = value
    return json.dumps(broken)


DAMAGES = [
    ("messages", ..., "there is no field 'messages'"),
    ("messages", 3, "'messages' is 3, expected"),
    ("messages", [{"role": "user"}], "is no message"),
    ("messages.0.role", "judge", "'judge'.* is no message; expected a role"),
    ("turns", ..., "before turns were recorded.*play the episode anew"),
    ("task_names", ..., "before turns were recorded"),
    ("turns", [3], "without a right 'turn'"),
    ("turns", 3, "not iterable"),
    ("turns.1.reply_ids", ..., "without a right 'reply_ids'"),
    ("turns.1.reply_ids", ["x"], "invalid literal"),
    ("turns.1.reply_ids", [10**30], "too large"),
    ("turns.1.terminated", 1, "without a right 'terminated'"),
    ("turns.1.task_components", {"said": "x"}, "unsupported operand"),
    ("turns.1.reply_index", 99, "messages 99 to"),
    ("turns.1.num_messages", 99, "to 99, of 7"),
    ("turns.1.reply_index", 1, "reply is a message of the user"),
]


@pytest.mark.parametrize(("where", "value", "message"), DAMAGES)
def test_a_broken_line_is_named_and_raised_or_skipped(
    path: Path, where: str, value: Any, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    record(path, SayIt())
    first, second, third = read(path)
    lines = [json.dumps(first), "", damaged(second, where, value), json.dumps(third)]
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=rf"transcripts.jsonl:3: .*{message}"):
        rescore(path, length)
    with caplog.at_level(logging.WARNING):
        kept = rescore(path, length, on_broken="skip")
    assert [line["seed"] for line in kept] == [0, 2]
    assert f"{path}:3: " in caplog.text and "It is skipped." in caplog.text


@pytest.mark.parametrize("line", ["{", "3", "[]", '"x"', "null", "{}", "\ud800"])
def test_what_is_no_episode_is_broken(line: str, path: Path) -> None:
    with pytest.raises(ValueError, match="^line 1: "):
        rescore([line], length)
    assert rescore([line], length, on_broken="skip") == []


def test_line_ends_inside_a_text_end_no_line(path: Path) -> None:
    record(path, SayIt(), [0])
    (line,) = read(path)
    line["messages"][0]["content"] = "one\u2028two\x85three"
    path.write_text(json.dumps(line, ensure_ascii=False) + "\n", "utf-8")
    assert len(rescore(path, length)) == 1


def test_a_line_cut_by_a_crash_costs_that_line_alone(path: Path) -> None:
    record(path, SayIt())
    whole = path.read_text("utf-8")
    path.write_text(whole[:-40], "utf-8")
    with pytest.raises(ValueError, match="transcripts.jsonl:3: the line is not JSON"):
        rescore(path, length)
    assert len(rescore(path, length, on_broken="skip")) == 2


def test_bytes_that_are_no_text_are_a_broken_line(path: Path) -> None:
    record(path, SayIt(), [0])
    whole = path.read_bytes()
    path.write_bytes(b"\xef\xbb\xbf" + whole + b'{"id": "\xff"}\n')
    with pytest.raises(ValueError, match="transcripts.jsonl:2: the line is not UTF-8"):
        rescore(path, length)
    assert len(rescore(path, length, on_broken="skip")) == 1


def test_a_line_of_countless_brackets_is_a_broken_one() -> None:
    with pytest.raises(ValueError, match="^line 2: the line is nested too deeply"):
        rescore(["", "[" * 200_000], length)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="on_broken must be one of.*got 'raise'"):
        rescore([], length, on_broken="raise")


def test_lines_of_one_environment_stay_as_they_are_read(path: Path) -> None:
    record(path, SayIt())
    lines = read(path)
    kept = copy.deepcopy(lines)
    assert rescore(iter(lines), length) == rescore(path, length)
    assert lines == kept
