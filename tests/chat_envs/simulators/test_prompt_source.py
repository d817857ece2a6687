"""Prompts of one's own: what a line may be, what is broken, what is held out."""

from __future__ import annotations

import importlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs import record_file
from chat_envs.message import assistant, system, user
from chat_envs.simulators.prompt_source import read_prompts

GOOD = '{"prompt": "Hello?"}'
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Bye"},
]


def write(path: Path, *lines: str | bytes) -> str:
    """Write lines to a file; return its path."""
    data = b"\n".join(x.encode("utf-8") if isinstance(x, str) else x for x in lines)
    path.write_bytes(data + b"\n")
    return str(path)


def texts(path: str, split: str = "train", **options: Any) -> list[str]:
    return [p.messages[-1].content for p in read_prompts(path, split, **options)]


def test_a_line_is_a_text_or_a_dialogue(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", GOOD, "", "  ", json.dumps({"prompt": TALK}))
    first, second = read_prompts(path, "train")
    assert first.messages == (user("Hello?"),)
    assert second.messages == (
        system("Be brief."),
        user("Hi"),
        assistant("Hello"),
        user("Bye"),
    )
    assert (first.source, second.source) == (f"{path}:1", f"{path}:4")


def test_the_field_may_have_another_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"question": "Why?", "prompt": 7}')
    assert texts(path, field="question") == ["Why?"]


def test_windows_lines_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + GOOD.encode() + b"\r", GOOD)
    assert texts(path) == ["Hello?", "Hello?"]


BROKEN = [
    ("{", "is not JSON"),
    ("nothing", "is not JSON"),
    (b'{"prompt": "\xff"}', "is not UTF-8"),
    ('"Hello?"', "is no JSON object"),
    ("[1]", "is no JSON object"),
    ("7", "is no JSON object"),
    ('{"text": "Hello?"}', "has no field 'prompt', only ['text']"),
    ('{"prompt": ""}', "the prompt is empty"),
    ('{"prompt": " \\n"}', "the prompt is empty"),
    ('{"prompt": 7}', "expected a text or a list of messages"),
    ('{"prompt": null}', "expected a text or a list of messages"),
    ('{"prompt": []}', "expected a text or a list of messages"),
    ('{"prompt": ["Hi"]}', "is no message"),
    ('{"prompt": [{"role": "judge", "content": "Hi"}]}', "is no message"),
    ('{"prompt": [{"role": ["user"], "content": "Hi"}]}', "is no message"),
    ('{"prompt": [{"role": "user"}]}', "is no message"),
    ('{"prompt": [{"role": "system", "content": "Hi"}]}', "is not the user's"),
    ("[" * 100_000, "nested too deeply"),
]


@pytest.mark.parametrize(("line", "problem"), BROKEN)
def test_a_broken_line_stops_and_is_named(
    tmp_path: Path, line: str | bytes, problem: str
) -> None:
    path = write(tmp_path / "a.jsonl", GOOD, "", line, GOOD)
    with pytest.raises(ValueError) as caught:
        read_prompts(path, "train")
    assert str(caught.value).startswith(f"{path}:3: ")
    assert problem in str(caught.value)
    assert "on_broken='skip'" in str(caught.value)


@pytest.mark.parametrize(("line", "problem"), BROKEN)
def test_a_broken_line_is_skipped_and_named(
    tmp_path: Path,
    line: str | bytes,
    problem: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = write(tmp_path / "a.jsonl", GOOD, "", line, GOOD)
    with caplog.at_level(logging.WARNING):
        prompts = read_prompts(path, "train", on_broken="skip")
    assert [p.source for p in prompts] == [f"{path}:1", f"{path}:4"]
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"{path}:3: ") and problem in message


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_no_file_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    path = write(tmp_path_factory.mktemp("prompts") / "a.jsonl", GOOD, *lines)
    assert "Hello?" in texts(path, on_broken="skip")


def test_the_last_of_every_ten_is_held_out(tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": f"Prompt {n}"}) for n in range(1, 26)]
    path = write(tmp_path / "a.jsonl", *lines)
    assert texts(path, "test") == ["Prompt 10", "Prompt 20"]
    train = texts(path)
    assert len(train) == 23 and not {"Prompt 10", "Prompt 20"} & set(train)
    few = write(tmp_path / "b.jsonl", *lines[:9])
    assert texts(few, "test") == texts(few) == [f"Prompt {n}" for n in range(1, 10)]


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", GOOD)
    assert texts(path) == ["Hello?"]
    assert read_prompts(path, "train") is read_prompts(path, "train")
    write(tmp_path / "a.jsonl", '{"prompt": "Howdy?"}')
    os.utime(path, ns=(1, 1))
    assert texts(path) == ["Howdy?"]


def test_what_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There are no prompts at"):
        read_prompts(str(tmp_path / "none.jsonl"), "train")
    with pytest.raises(ValueError, match="has no prompts"):
        read_prompts(write(tmp_path / "a.jsonl", ""), "train")
    with pytest.raises(ValueError, match="has no prompts"):
        read_prompts(write(tmp_path / "b.jsonl", "{"), "train", on_broken="skip")
    with pytest.raises(ValueError, match="on_broken must be one of"):
        read_prompts(write(tmp_path / "c.jsonl", GOOD), "train", on_broken="ignore")


# A directory that `datasets` saved ------------------------------------------------------


def save(rows: list[Any], path: Path, field: str = "prompt") -> str:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({field: rows}).save_to_disk(path)
    return str(path)


def test_a_saved_dataset_is_read(tmp_path: Path) -> None:
    path = save([f"Prompt {n}" for n in range(1, 13)], tmp_path / "one")
    assert texts(path, "test") == ["Prompt 10"]
    assert read_prompts(path, "test")[0].source == f"{path}:10"
    talk = save([TALK, TALK], tmp_path / "two", field="dialogue")
    assert len(read_prompts(talk, "train", field="dialogue")[0].messages) == 4


def test_a_dataset_divided_into_splits_keeps_them(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    parts = {
        split: datasets.Dataset.from_dict(
            {"prompt": [f"{split} {n}" for n in range(20)]}
        )
        for split in ("train", "test")
    }
    divided, whole = str(tmp_path / "divided"), str(tmp_path / "whole")
    datasets.DatasetDict(parts).save_to_disk(divided)
    assert texts(divided, "test") == [f"test {n}" for n in range(20)]
    assert texts(divided, "train") == [f"train {n}" for n in range(20)]
    datasets.DatasetDict({"train": parts["train"]}).save_to_disk(whole)
    assert texts(whole, "test") == ["train 9", "train 19"]


def test_a_broken_row_is_named(tmp_path: Path) -> None:
    path = save(["a", "", "b"], tmp_path / "one")
    with pytest.raises(ValueError, match="one:2: the prompt is empty"):
        read_prompts(path, "train")
    assert texts(path, on_broken="skip") == ["a", "b"]


def test_a_dataset_without_the_field_is_refused(tmp_path: Path) -> None:
    path = save(["a"], tmp_path / "one", field="question")
    with pytest.raises(ValueError, match="has the columns .'question'., not 'prompt'"):
        read_prompts(path, "train")
    datasets = pytest.importorskip("datasets")
    odd = str(tmp_path / "odd")
    datasets.DatasetDict(
        {"valid": datasets.Dataset.from_dict({"prompt": ["a"]})}
    ).save_to_disk(odd)
    with pytest.raises(ValueError, match="one must be called 'train'"):
        read_prompts(odd, "train")


def test_without_datasets_a_directory_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(record_file.importlib, "import_module", refuse)
    with pytest.raises(ImportError, match="pip install datasets"):
        read_prompts(str(tmp_path), "train")
    monkeypatch.undo()
    assert importlib.import_module("json") is json
