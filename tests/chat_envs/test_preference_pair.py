"""Preference pairs: every usual format, what is broken and where, who is held out."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.message import Message, Role, assistant, system, user
from chat_envs.preference_pair import (
    PreferencePair,
    divide_pairs,
    read_pairs,
    write_pairs,
)

OURS = {"prompt": "Hi", "chosen": "Hello!", "rejected": "No."}
TALK = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
GOOD = {"role": "assistant", "content": "Hello!"}
BAD = {"role": "assistant", "content": "No."}
HUMAN = "\n\nHuman: Hi there.\n\nAssistant: Hello.\n\nHuman: And now?\n\nAssistant:"


def write(path: Path, *rows: Any) -> Path:
    """Write rows to a file, a text as it is; return its path."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def one(tmp_path: Path, row: Any) -> PreferencePair:
    (pair,) = read_pairs(write(tmp_path / "pairs.jsonl", row))
    return pair


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        (OURS, (user("Hi"),)),
        ({**OURS, "prompt": TALK}, (system("Be kind."), user("Hi"))),
        # The prompt is what both lists begin with.
        (
            {"chosen": [*TALK, GOOD], "rejected": [*TALK, BAD]},
            (system("Be kind."), user("Hi")),
        ),
        # It stands in a field of its own, and the lists hold the replies alone.
        (
            {"prompt": TALK, "chosen": [GOOD], "rejected": [BAD]},
            (system("Be kind."), user("Hi")),
        ),
        # It stands there and in the lists too.
        (
            {"prompt": "Hi", "chosen": [TALK[1], GOOD], "rejected": [TALK[1], BAD]},
            (user("Hi"),),
        ),
        (
            {"chosen": HUMAN + " Hello!", "rejected": HUMAN + " No."},
            (user("Hi there."), assistant("Hello."), user("And now?")),
        ),
        # What TRL makes of HH-RLHF: the transcript up to the reply is the prompt.
        (
            {"prompt": HUMAN, "chosen": "Hello!", "rejected": "No."},
            (user("Hi there."), assistant("Hello."), user("And now?")),
        ),
    ],
)
def test_every_usual_format_is_read(
    tmp_path: Path, row: dict[str, Any], prompt: tuple[Message, ...]
) -> None:
    assert one(tmp_path, row) == PreferencePair(prompt, "Hello!", "No.")


def test_formats_may_be_mixed_and_other_fields_are_passed_over(tmp_path: Path) -> None:
    lists = {"chosen": [*TALK, GOOD], "rejected": [*TALK, BAD], "score": 3}
    path = write(tmp_path / "a.jsonl", {**OURS, "margin": 2, "source": "x"}, "", lists)
    first, second = read_pairs(path)
    assert (first.margin, second.margin) == (2.0, 0.0)
    assert second.prompt[0].role is Role.SYSTEM


def test_the_text_of_a_reply_is_left_as_it_is(tmp_path: Path) -> None:
    assert one(tmp_path, {**OURS, "chosen": " a\n\nHuman: b "}).chosen == (
        " a\n\nHuman: b "
    )
    lines = HUMAN + " One.\n\nTwo: Human being."
    pair = one(tmp_path, {"chosen": lines, "rejected": HUMAN + " No."})
    assert pair.chosen == "One.\n\nTwo: Human being."


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "Hi", "chosen": "Hello!"}, "no field 'rejected'"),
        ({"prompt": "Hi", "rejected": "Hello!"}, "no field 'chosen'"),
        ({"chosen": "Hello!", "rejected": "No."}, "the prompt is empty"),
        ({**OURS, "prompt": "  "}, "the prompt is empty"),
        ({**OURS, "prompt": []}, "the prompt is \\[\\]"),
        ({**OURS, "prompt": [*TALK, GOOD]}, "the assistant's own"),
        ({**OURS, "rejected": " Hello! "}, "are equal: 'Hello!'"),
        ({**OURS, "chosen": 3}, "'chosen' is 3"),
        ({**OURS, "chosen": [GOOD]}, "one of 'chosen' and 'rejected' is a text"),
        ({**OURS, "margin": -1}, "the margin is -1"),
        ({**OURS, "margin": True}, "the margin is True"),
        ({**OURS, "margin": "1"}, "the margin is '1'"),
        ('{"prompt": "Hi", "chosen": "a", "rejected": "b", "margin": NaN}', "margin"),
        ({"chosen": [GOOD], "rejected": [BAD]}, "the prompt is empty"),
        ({"chosen": [*TALK, GOOD], "rejected": TALK}, "'chosen' has"),
        (
            {"chosen": [*TALK, GOOD, TALK[1], GOOD], "rejected": [*TALK, BAD]},
            "differ in their last alone",
        ),
        (
            {"chosen": [*TALK, {"role": "bot", "content": ""}], "rejected": TALK},
            "no message",
        ),
        ({"chosen": HUMAN + " x\n\nHuman: y", "rejected": HUMAN + " z"}, "'chosen'"),
        ('{"prompt": "Hi", ', "not JSON"),
        ("[1, 2]", "no JSON object"),
        ("[" * 100_000, "nested too deeply|not JSON"),
    ],
)
def test_a_broken_line_is_named_and_stops_or_is_skipped(
    tmp_path: Path, row: Any, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.jsonl", OURS, row, OURS)
    with pytest.raises(ValueError, match=f"a.jsonl:2: .*({problem})"):
        read_pairs(path)
    with caplog.at_level(logging.WARNING):
        assert len(read_pairs(path, on_broken="skip")) == 2
    assert "a.jsonl:2" in caplog.text


def test_a_file_without_pairs_or_without_being_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no preference pairs"):
        read_pairs(write(tmp_path / "a.jsonl", ""))
    with pytest.raises(FileNotFoundError, match="There is no"):
        read_pairs(tmp_path / "b.jsonl")
    path = write(tmp_path / "a.jsonl", OURS)
    with pytest.raises(ValueError, match="on_broken must be one of"):
        read_pairs(path, on_broken="ignore")
    with pytest.raises(ValueError, match="split must be one of"):
        read_pairs(path, split="valid")


def test_a_saved_dataset_is_read_with_its_own_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{**OURS, "prompt": f"Question {n}?"} for n in range(12)]
    train = datasets.Dataset.from_list(rows)
    lists = [{"chosen": [*TALK, GOOD], "rejected": [*TALK, BAD]}]
    test = datasets.Dataset.from_list(lists)
    datasets.DatasetDict(train=train, test=test).save_to_disk(str(tmp_path / "two"))
    assert len(read_pairs(tmp_path / "two")) == 12
    assert len(read_pairs(tmp_path / "two", split="train")) == 12
    (pair,) = read_pairs(tmp_path / "two", split="test")
    assert pair == PreferencePair((system("Be kind."), user("Hi")), "Hello!", "No.")
    broken = datasets.Dataset.from_list([{**OURS, "rejected": "Hello!"}])
    broken.save_to_disk(str(tmp_path / "broken"))
    with pytest.raises(ValueError, match="broken:1: .*are equal"):
        read_pairs(tmp_path / "broken")


def make_pairs(*prompts: int) -> list[PreferencePair]:
    return [
        PreferencePair((user(f"{prompt}?"),), "yes", f"no {number}")
        for number, prompt in enumerate(prompts)
    ]


def test_no_prompt_is_on_both_sides_of_a_division() -> None:
    pairs = make_pairs(*range(20), *range(20))
    train, test = divide_pairs(pairs)
    assert {p.prompt[0].content for p in test} == {"9?", "19?"}
    assert len(test) == 4 and len(train) == 36
    assert not {p.prompt for p in train} & {p.prompt for p in test}
    assert divide_pairs(pairs[:9]) == (tuple(pairs[:9]), tuple(pairs[:9]))


def test_a_file_is_divided_when_a_split_is_asked_for(tmp_path: Path) -> None:
    pairs = make_pairs(*range(10))
    path = tmp_path / "a.jsonl"
    write_pairs(path, pairs)
    assert read_pairs(path) == tuple(pairs)
    assert read_pairs(path, split="train") == tuple(pairs[:9])
    assert read_pairs(path, split="test") == tuple(pairs[9:])


def test_notes_stand_beside_pairs_and_never_over_them(tmp_path: Path) -> None:
    pairs = make_pairs(1, 2)
    path = tmp_path / "new" / "a.jsonl"
    write_pairs(path, pairs, [{"seed": 1, "chosen": "?"}, {"seed": 2}])
    assert read_pairs(path) == tuple(pairs)
    assert [json.loads(line)["seed"] for line in path.open()] == [1, 2]
    with pytest.raises(ValueError):
        write_pairs(path, pairs, [{}])
    assert read_pairs(path) == tuple(pairs)
    assert [p.name for p in path.parent.iterdir()] == ["a.jsonl"]


texts = st.text(max_size=20).filter(lambda text: "\ud800" > text or text > "\udfff")


@given(
    st.lists(st.builds(Message, st.sampled_from(Role), texts), max_size=3),
    texts,
    texts,
    st.floats(0, 1e9),
)
def test_what_was_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[Message],
    chosen: str,
    rejected: str,
    margin: float,
) -> None:
    pair = PreferencePair((*before, user("Hi")), chosen, rejected + "!", margin)
    if pair.chosen.strip() == pair.rejected.strip():
        return
    path = tmp_path_factory.mktemp("pairs") / "a.jsonl"
    write_pairs(path, [pair])
    assert read_pairs(path) == (pair,)
