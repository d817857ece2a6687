"""The built-in tokenizer: every text comes back, and no text becomes a control id."""

from __future__ import annotations

import copy
import json
import os
import pickle
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chat_envs.chat_template import load_template
from chat_envs.message import user
from chat_envs.tokenizer import (
    CONTROL_TOKENS,
    MAX_ENTRIES,
    BuiltinTokenizer,
    head,
    load_tokenizer,
    plain,
    train_tokenizer,
)

TOKENIZER = load_tokenizer()
BYTES_ALONE = train_tokenizer([], num_entries=261)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT)
@example(" two  spaces ")
@example("\0\0")
@example("e\u0301 \u202e \ufeff 漢字 🙂")
def test_text_survives_encoding_and_decoding(text: str) -> None:
    for tokenizer in (TOKENIZER, BYTES_ALONE):
        assert tokenizer.decode(tokenizer.encode(text)) == text


ASCII = st.text(st.characters(max_codepoint=127), max_size=40)
WORDS = st.lists(
    st.sampled_from(["order", "Order", "  ", "7", "?!", "<|end|>", "x" * 70])
)


@given(st.one_of(TEXT, ASCII, WORDS.map(" ".join)))
@example("\x1c\x1d\x0b\x85 a\x7f")
@example("\r\n\t two  spaces ")
@example("a1b22 'tis _under_score")
def test_pieces_are_encoded_as_the_whole_text_is(text: str) -> None:
    for tokenizer in (TOKENIZER, BYTES_ALONE):
        whole = tokenizer._tokenizer.encode(" " + text, add_special_tokens=False)
        assert list(tokenizer.encode(text)) == whole.ids


def test_a_tokenizer_that_splits_otherwise_encodes_whole_texts() -> None:
    record = json.loads(TOKENIZER.to_json())
    del record["pre_tokenizer"]["pretokenizers"][0]  # merges may now cross words
    other = BuiltinTokenizer(json.dumps(record), name="other")
    text = "May I have the order number?"
    whole = other._tokenizer.encode(" " + text, add_special_tokens=False)
    assert list(other.encode(text)) == whole.ids
    assert other.decode(other.encode(text)) == text


@given(st.text(), st.sampled_from(CONTROL_TOKENS))
def test_no_text_encodes_to_a_control_id(text: str, token: str) -> None:
    for written in (text, text + token, token + text, token + token):
        ids = TOKENIZER.encode(written)
        assert not TOKENIZER.control_ids & set(ids)
        assert all(0 <= i < len(TOKENIZER) for i in ids)


@given(st.lists(st.integers(0, len(TOKENIZER) - 1)))
def test_any_ids_decode_to_text_without_the_control_ids(ids: list[int]) -> None:
    text = TOKENIZER.decode(ids)
    assert text == TOKENIZER.decode([i for i in ids if i not in TOKENIZER.control_ids])
    text.encode("utf-8")  # whole characters only


def test_a_lone_surrogate_is_a_question_mark() -> None:
    assert plain("a\ud800b\udfff") == "a?b?"
    assert TOKENIZER.decode(TOKENIZER.encode("a\ud800b")) == "a?b"


def test_broken_utf8_is_the_replacement_character() -> None:
    ids = TOKENIZER.encode("é")
    assert TOKENIZER.decode(ids[:-1]) == "\ufffd"


@given(st.text(st.sampled_from("0123456789"), min_size=1, max_size=12))
def test_every_digit_is_a_token(digits: str) -> None:
    # Behind the space that every text gets, the first digit is one token too.
    assert len(TOKENIZER.encode(digits)) == len(digits)
    assert len(TOKENIZER.encode("order " + digits)) == len(
        TOKENIZER.encode("order")
    ) + (len(digits))


def test_a_word_is_the_same_token_wherever_it_stands() -> None:
    (first,) = TOKENIZER.encode("the")
    assert TOKENIZER.encode("the order")[0] == first
    assert TOKENIZER.encode("is the order")[1:][:1] == (first,)


def test_the_first_ids_are_the_control_tokens() -> None:
    assert TOKENIZER.control_ids == frozenset(range(len(CONTROL_TOKENS)))
    assert TOKENIZER.pad_id in TOKENIZER.control_ids
    assert 256 + len(CONTROL_TOKENS) <= len(TOKENIZER) <= MAX_ENTRIES


def test_every_byte_has_an_entry() -> None:
    for tokenizer in (TOKENIZER, BYTES_ALONE):
        assert isinstance(tokenizer, BuiltinTokenizer)
        assert {bytes([b]) for b in range(256)} <= set(tokenizer._bytes)


# Training ---------------------------------------------------------------------------------


def test_training_on_nothing_gives_single_bytes() -> None:
    assert len(BYTES_ALONE) == 261
    assert len(BYTES_ALONE.encode("abc")) == len(" abc")


def test_frequent_words_become_tokens() -> None:
    tokenizer = train_tokenizer(["blue sky"] * 9, num_entries=270)
    assert len(tokenizer.encode("blue sky")) < len(BYTES_ALONE.encode("blue sky"))
    assert len(tokenizer) <= 270
    same = train_tokenizer(["blue sky"] * 9, num_entries=270)
    assert same.to_json() == tokenizer.to_json()


def test_a_vocabulary_too_small_for_the_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 261"):
        train_tokenizer(["a"], num_entries=260)


# Loading ----------------------------------------------------------------------------------


def test_it_is_loaded_once_and_shared_by_copies() -> None:
    assert load_tokenizer("builtin") is load_tokenizer()
    assert copy.deepcopy(TOKENIZER) is TOKENIZER
    other: Any = pickle.loads(pickle.dumps(TOKENIZER))
    assert other.encode("May I") == TOKENIZER.encode("May I")


def test_a_tokenizer_is_returned_as_it_is() -> None:
    assert load_tokenizer(BYTES_ALONE) is BYTES_ALONE


def test_a_file_without_the_control_tokens_is_refused() -> None:
    data = BYTES_ALONE.to_json().replace("<|end|>", "<|fin|>")
    with pytest.raises(ValueError, match="must begin with the control tokens"):
        BuiltinTokenizer(data, "other")


def test_without_transformers_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "chat_envs.pretrained_tokenizer", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'chat-envs\[agents\]'"):
        load_tokenizer("smollm2-135m")


def test_a_long_text_need_not_be_read_whole() -> None:
    text = "ab cd " * 100_000
    few = TOKENIZER.encode(head(text, 10))
    assert few[:10] == TOKENIZER.encode(text)[:10]


def test_a_saved_tokenizer_is_found_again_by_its_directory(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    assert load_tokenizer(str(tmp_path)) is TOKENIZER


def test_another_one_of_the_kind_keeps_its_own_words(tmp_path: Path) -> None:
    BYTES_ALONE.save_pretrained(tmp_path)
    found = load_tokenizer(str(tmp_path))
    assert isinstance(found, BuiltinTokenizer)
    assert found.fingerprint == BYTES_ALONE.fingerprint != TOKENIZER.fingerprint
    assert found.name == str(tmp_path) and len(found) == 261
    TOKENIZER.save_pretrained(tmp_path)
    os.utime(tmp_path / "tokenizer.json", ns=(1, 1))
    assert load_tokenizer(str(tmp_path)) is TOKENIZER  # what was read is not kept


def test_a_damaged_saved_tokenizer_is_named(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="tokenizer.json is damaged"):
        load_tokenizer(str(tmp_path))


@given(st.lists(TEXT, min_size=1, max_size=3))
@settings(max_examples=20)
def test_transformers_writes_a_dialogue_as_the_template_does(texts: list[str]) -> None:
    transformers = pytest.importorskip("transformers")
    with tempfile.TemporaryDirectory() as directory:
        TOKENIZER.save_pretrained(Path(directory))
        theirs = transformers.AutoTokenizer.from_pretrained(directory)
    messages = [user(text) for text in texts if "<|" not in text]
    found = theirs.apply_chat_template(
        [message.as_dict() for message in messages],
        add_generation_prompt=True,
        return_dict=True,
    )
    assert found["input_ids"] == load_template(TOKENIZER).opening(messages)
