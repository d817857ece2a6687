"""Sources and blends: what is held out, what is dealt when, what is wrong where."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict

from agents.dialogue_data import (
    Blend,
    DataSource,
    SourceName,
    load_blend,
    read_source,
)
from agents.dialogue_record import as_episode
from chat_envs.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer()
ENV = "env:CustomerService-easy-v0"


def write_lines(path: Path, records: list[Any]) -> str:
    lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
    path.write_text("".join(f"{text}\n" for text in lines), "utf-8")
    return str(path)


def pairs(number: int) -> list[dict[str, str]]:
    return [{"prompt": f"say {n}", "completion": str(n)} for n in range(number)]


def said(source: DataSource) -> dict[str, list[str]]:
    return {
        "train": [e.messages[-1]["content"] for e in source.train],
        "valid": [e.messages[-1]["content"] for e in source.valid],
    }


def marked(name: str, weight: float, number: int, base: int) -> DataSource:
    """Return a source whose rows are numbered from `base` on."""
    rows = tuple(as_episode(base + n, [5, 6], [-1, 0]) for n in range(number))
    return DataSource(name, weight, rows, (), 0, 0)


def test_the_last_of_every_ten_is_held_out(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", pairs(25))
    found = said(read_source(path, TOKENIZER, 64))
    assert found["valid"] == ["9", "19"]
    assert sorted(found["train"] + found["valid"], key=int) == [
        str(n) for n in range(25)
    ]
    few = read_source(write_lines(tmp_path / "f.jsonl", pairs(9)), TOKENIZER, 64)
    assert len(few.train) == 9 and not few.valid


def test_a_file_of_its_own_may_be_held_out(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", pairs(12))
    other = write_lines(tmp_path / "v.jsonl", pairs(3))
    found = said(read_source(f"{path}?valid={other}:0.5", TOKENIZER, 64))
    assert len(found["train"]) == 12 and found["valid"] == ["0", "1", "2"]


def test_a_saved_dataset_keeps_its_own_split(tmp_path: Path) -> None:
    data = DatasetDict(
        {
            "train": Dataset.from_list(pairs(12)),
            "test": Dataset.from_list(pairs(2)),
        }
    )
    data.save_to_disk(str(tmp_path / "d"))
    found = said(read_source(str(tmp_path / "d"), TOKENIZER, 64))
    assert len(found["train"]) == 12 and found["valid"] == ["0", "1"]


def test_a_broken_line_is_named_and_stops_or_is_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_lines(tmp_path / "d.jsonl", [*pairs(2), "{", {"prompt": "a"}])
    with pytest.raises(ValueError, match=r"d\.jsonl:3: the line is not JSON"):
        read_source(path, TOKENIZER, 64)
    with caplog.at_level(logging.WARNING):
        source = read_source(path, TOKENIZER, 64, on_broken="skip")
    assert source.num_broken == 2 and len(source.train) == 2
    assert "d.jsonl:3" in caplog.text and "d.jsonl:4" in caplog.text


def test_a_dialogue_that_is_too_long_is_named_and_skipped_cut_or_stops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    long = {"prompt": "say it", "completion": "one two three four five six seven"}
    path = write_lines(tmp_path / "d.jsonl", [*pairs(2), long])
    with caplog.at_level(logging.WARNING):
        skipped = read_source(path, TOKENIZER, 10)
        cut = read_source(path, TOKENIZER, 10, on_long="cut")
    assert (skipped.num_long, len(skipped.train)) == (1, 2)
    assert (cut.num_long, len(cut.train)) == (1, 3)
    assert len(cut.train[-1].ids) == 10 and cut.train[-1].action_mask[-1]
    assert caplog.text.count("d.jsonl:3") == 2
    with pytest.raises(ValueError, match=r"d\.jsonl:3: the dialogue has \d+ tokens"):
        read_source(path, TOKENIZER, 10, on_long="stop")


def test_texts_and_dialogues_of_one_file_are_both_learnt(tmp_path: Path) -> None:
    texts = [{"text": f"text number {n}"} for n in range(9)]
    path = write_lines(tmp_path / "d.jsonl", [*pairs(9), *texts])
    source = read_source(path, TOKENIZER, 16)
    plain = [e for e in source.train if not e.messages]
    assert plain and all(len(e.ids) == 16 for e in plain[:-1])
    assert all(e.action_mask[1:].all() and not e.action_mask[0] for e in plain)
    assert sum(bool(e.messages) for e in source.train) == 9


def test_a_script_is_a_source() -> None:
    source = read_source(f"{ENV}?script=careless&episodes=20&seed=3", TOKENIZER, 1024)
    again = read_source(f"{ENV}?script=careless&episodes=20&seed=3", TOKENIZER, 1024)
    other = read_source(f"{ENV}?script=careless&episodes=20&seed=4", TOKENIZER, 1024)
    assert (len(source.train), len(source.valid)) == (18, 2)
    ids = [[e.ids.tolist() for e in s.train] for s in (source, again, other)]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no source"),
        ("d.jsonl:0", "weight above 0"),
        ("env:", "no source"),
        ("missing.jsonl", "missing.jsonl"),
        ("env:CustomerServise-easy-v0", "CustomerService"),
        (f"{ENV}?script=expret", "expert"),
        (f"{ENV}?episodes=none", "episodes"),
    ],
)
def test_a_bad_source_says_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        read_source(text, TOKENIZER, 64)


def test_an_unknown_option_of_a_file_is_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", pairs(2))
    with pytest.raises(ValueError, match="'vaild'.* Did you mean 'valid'"):
        read_source(f"{path}?vaild=x", TOKENIZER, 64)


def test_nothing_left_to_learn_from_is_an_error(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", pairs(2))
    with pytest.raises(ValueError, match="2 longer than 3 tokens"):
        read_source(path, TOKENIZER, 3)


def test_a_weight_is_read_from_the_end() -> None:
    assert SourceName.parse("a:b.jsonl:0.25").place == "a:b.jsonl"
    assert SourceName.parse("a:b.jsonl:0.25").weight == 0.25
    assert SourceName.parse("d.jsonl") == SourceName("d.jsonl", {}, 1.0)


def test_every_prefix_of_a_blend_has_the_proportions() -> None:
    blend = Blend([marked("a", 7, 50, 0), marked("b", 3, 50, 100)])
    seeds = [episode.seed for episode in blend.deal(0, 1000)]
    shares = [sum(s < 100 for s in seeds[:n]) - 0.7 * n for n in range(1, 1001)]
    assert max(map(abs, shares)) < 3


def test_each_source_is_dealt_whole_before_it_is_dealt_again() -> None:
    blend = Blend([marked("a", 1, 30, 0), marked("b", 1, 10, 100)], seed=2)
    seeds = [episode.seed for episode in blend.deal(0, 200)]
    own = [seed for seed in seeds if seed < 100]
    assert Counter(own[:30]) == Counter(range(30)) == Counter(own[30:60])
    assert own[:30] != own[30:60] and own[:30] != sorted(own[:30])


def test_what_is_dealt_depends_on_seed_and_position_alone() -> None:
    sources = [marked("a", 2, 7, 0), marked("b", 1, 5, 100)]

    def deal(seed: int, first: int, number: int) -> list[int]:
        return [e.seed for e in Blend(sources, seed).deal(first, number)]

    whole = deal(1, 0, 40)
    assert deal(1, 0, 13) + deal(1, 13, 27) == whole
    assert deal(2, 0, 40) != whole


def test_held_out_rows_are_never_dealt(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", pairs(20))
    blend = load_blend([path, f"{ENV}?episodes=10"], TOKENIZER, 1024)
    held_out = {e.ids.tobytes() for r in blend.valid().values() for e in r}
    dealt = {e.ids.tobytes() for e in blend.deal(0, 200)}
    assert len(held_out) == 3 and not held_out & dealt
    assert sorted(blend.valid()) == sorted([path, ENV])
