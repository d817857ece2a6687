"""Tokenizers of transformers behind the suite's protocol."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_envs.core import ChatEnv
from chat_envs.message import assistant, system, user
from chat_envs.pretrained_tokenizer import (
    PretrainedTokenizer,
    load_pretrained_tokenizer,
)
from chat_envs.tokenizer import load_tokenizer
from tests.chat_envs.toy import SayIt
from tests.chat_envs.toy_pretrained import make_source, make_words_source

CHATML = PretrainedTokenizer(make_source("chatml"), "toy")
WORDS = PretrainedTokenizer(make_words_source(), "words")


def save(source: object, directory: Path) -> str:
    source.save_pretrained(directory)  # type: ignore[attr-defined]
    return str(directory)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_survives_encoding_and_decoding(text: str) -> None:
    assert CHATML.decode(CHATML.encode(text)) == text


@given(st.text())
def test_no_text_encodes_to_a_control_id(text: str) -> None:
    for tokenizer in (CHATML, WORDS):
        ids = tokenizer.encode(text + "<|im_end|><|eot|><unk>" + text)
        assert not tokenizer.control_ids & set(ids)
        assert all(0 <= i < len(tokenizer) for i in ids)


@pytest.mark.parametrize("text", ["\ud800 hi \udfff", "\0\0", "", "\u202e\ufeff"])
def test_odd_text_is_read(text: str) -> None:
    expected = text.encode("utf-8", "replace").decode()
    assert CHATML.decode(CHATML.encode(text)) == expected


def test_a_million_characters_are_read() -> None:
    assert CHATML.decode(CHATML.encode("ab " * 333_333)) == "ab " * 333_333


def test_what_the_vocabulary_cannot_write_is_a_question_mark() -> None:
    assert WORDS.decode(WORDS.encode("order ü")) == "order ?"


def test_control_ids_are_left_out_and_spaces_kept_in_decoding() -> None:
    end = CHATML.make_template().end_id
    ids = [end, *CHATML.encode("yes , no"), end]
    assert CHATML.decode(ids) == "yes , no"


def test_special_tokens_in_text_are_plain_text_though_the_source_recognises_them() -> (
    None
):
    source = make_source("chatml")
    end = source.convert_tokens_to_ids("<|im_end|>")
    assert source("a<|im_end|>", add_special_tokens=False).input_ids[-1] == end
    ids = PretrainedTokenizer(source, "toy").encode("a<|im_end|>")
    assert end not in ids
    plain = source("a<|im_end|>", add_special_tokens=False, split_special_tokens=True)
    assert list(ids) == plain.input_ids
    # The source is left as it was.
    assert source("a<|im_end|>", add_special_tokens=False).input_ids[-1] == end


def test_an_added_token_is_a_control_id_if_the_template_writes_it() -> None:
    source = make_words_source()
    think = source.convert_tokens_to_ids("<think>")
    assert think in WORDS.encode("<think>"), "an ordinary word of this vocabulary"
    source.chat_template = source.chat_template.replace("<|start|>", "<think><|start|>")
    tokenizer = PretrainedTokenizer(source, "toy")
    assert think in tokenizer.control_ids
    assert think not in tokenizer.encode("<think>")
    assert tokenizer.decode(tokenizer.encode("<think>")) == "<think>"


def test_the_padding_id_is_its_own_unless_that_ends_a_reply() -> None:
    own = make_source("chatml", pad_token="[INST]")
    assert PretrainedTokenizer(own, "toy").pad_id == own.pad_token_id
    ending = make_source("chatml", pad_token="<|im_end|>")
    tokenizer = PretrainedTokenizer(ending, "toy")
    assert tokenizer.pad_id in tokenizer.control_ids
    assert tokenizer.pad_id not in tokenizer.make_template().stop_ids
    none = PretrainedTokenizer(make_source("chatml"), "toy")
    assert none.pad_id in none.control_ids - none.make_template().stop_ids


def test_the_length_covers_every_id() -> None:
    source = make_source("chatml")
    assert len(CHATML) == len(source) == max(source.get_vocab().values()) + 1


def test_a_template_s_date_is_always_the_same() -> None:
    source = make_source("chatml")
    source.chat_template = (
        "  {% if true %}{{ strftime_now('%d %b %Y') }}{% endif %}<|im_start|>"
        + source.chat_template
    )
    tokenizer = PretrainedTokenizer(source, "toy")
    ids = tokenizer.make_template().opening([user("Hi")])
    assert tokenizer.decode(ids).startswith("26 Jul 2024")


def test_it_is_shared_by_copies_and_survives_pickling() -> None:
    assert copy.deepcopy(CHATML) is CHATML
    other = pickle.loads(pickle.dumps(CHATML))
    assert other.encode("May I") == CHATML.encode("May I")
    assert other.make_template().stop_ids == CHATML.make_template().stop_ids


# Loading ----------------------------------------------------------------------------------


def test_a_directory_is_read_and_read_again_once_it_changed(tmp_path: Path) -> None:
    name = save(make_source("chatml"), tmp_path)
    first = load_tokenizer(name)
    assert load_tokenizer(name) is first
    assert first.encode("the order") == CHATML.encode("the order")
    save(make_source("llama3"), tmp_path)
    os.utime(tmp_path / "chat_template.jinja", ns=(1, 1))
    second = load_pretrained_tokenizer(name)
    assert second.make_template().end_id != CHATML.make_template().end_id


def test_an_unknown_name_is_told_the_nearest_and_that_nothing_is_downloaded() -> None:
    with pytest.raises(ValueError, match="'smollm2-135m'.*downloaded.*local directory"):
        load_tokenizer("smollm-135m")
    with pytest.raises(ValueError, match="nothing is downloaded"):
        load_tokenizer("nobody/nothing-of-that-name")


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_tokenizer(str(tmp_path / "nowhere"))


def test_a_directory_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="no tokenizer"):
        load_tokenizer(str(tmp_path))


def test_a_tokenizer_without_a_template_is_refused() -> None:
    with pytest.raises(ValueError, match="no chat template"):
        PretrainedTokenizer(make_source(None), "toy")


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(TypeError, match="fast tokenizer"):
        PretrainedTokenizer(object(), "toy")


def test_code_beside_a_tokenizer_is_not_run(tmp_path: Path) -> None:
    name = save(make_source("chatml"), tmp_path)
    canary = tmp_path / "canary"
    (tmp_path / "evil.py").write_text(f"open({str(canary)!r}, 'w')", encoding="utf-8")
    config = tmp_path / "tokenizer_config.json"
    text = config.read_text(encoding="utf-8")
    added = '{"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]},'
    config.write_text(added + text.lstrip()[1:], encoding="utf-8")
    load_tokenizer(name)
    assert not canary.exists()


# In an environment ------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["chatml", "llama3", "gemma"])
def test_an_expert_plays_an_episode_through_it(template: str) -> None:
    env = SayIt(
        tokenizer=PretrainedTokenizer(make_source(template), template),
        context_length=800,
        reply_length=12,
    )
    env.reset(seed=3)
    is_over, total = False, 0.0
    while not is_over:
        _, reward, terminated, truncated, info = env.step(
            env.encode(env.expert_reply())
        )
        total += reward
        is_over = terminated or truncated
    assert info["success"] and total == pytest.approx(3 * 0.9)


def test_a_cut_reply_in_an_environment_is_closed_with_mask_zero() -> None:
    env = SayIt(tokenizer=CHATML, context_length=400, reply_length=4)
    env.reset(seed=3)
    before = len(env.context)
    ids = CHATML.encode("abcdefgh")[:4]
    env.step(np.array(ids))
    new, mask = env.context.ids[before:], env.context.action_mask[before:]
    end = CHATML.make_template().end_id
    assert new[:5].tolist() == [*ids, end]
    assert mask[:5].tolist() == [1, 1, 1, 1, 0]
    assert not mask[5:].any()


# SmolLM2 ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_smollm2_writes_dialogues_as_its_own_template_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gguf")
    monkeypatch.setenv("CHAT_ENVS_CACHE", str(tmp_path / "cache"))
    tokenizer = load_pretrained_tokenizer("smollm2-135m")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [
        "smollm2-135m-tokenizer-1"
    ]
    template = tokenizer.make_template()
    assert len(tokenizer) == 49152
    assert tokenizer.pad_id not in template.stop_ids
    talk = [system("Rules"), user("Hi"), assistant("Hello."), system("A"), user("B")]
    ids = template.opening(talk[:2])
    ids += [*tokenizer.encode("Hello."), template.end_id]
    ids += template.closing(template.end_id) + template.extension(talk[3:])
    assert ids == tokenizer._source.apply_chat_template(
        [message.as_dict() for message in talk],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=False,
    )
    shutil.rmtree(tmp_path / "cache")
    assert load_pretrained_tokenizer("smollm2-135m") is not None
    env = gymnasium.make("chat_envs/Echo-easy-v0", tokenizer="smollm2-135m")
    env.reset(seed=1)
    chat_env = env.unwrapped
    assert isinstance(chat_env, ChatEnv)
    assert np.isfinite(env.step(chat_env.encode("Hello."))[1])
