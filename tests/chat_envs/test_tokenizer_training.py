"""The built-in tokenizer can be made again from the suite itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat_envs import tokenizer as tokenizer_module
from chat_envs import tokenizer_training
from chat_envs.commands import tokenizer as command
from chat_envs.registration import find
from chat_envs.tokenizer import MAX_ENTRIES, load_tokenizer, train_tokenizer
from chat_envs.tokenizer_training import collect, split_words, train
from tests.chat_envs.registered import registered
from tests.chat_envs.toy import WORDS

LETTERS = "bcdfghjklmnpqrstvwxyz"
Capture = pytest.CaptureFixture[str]


def test_the_corpus_is_what_is_said_in_both_splits() -> None:
    with registered() as env_id:
        texts = collect(find(env_id), num_episodes=3)
    assert texts.count("You have 3 turns.") == 6, "three seeds, two splits"
    # Each turn: a demand, and the expert's reply, uncut.
    assert len(texts) == 6 * (1 + 3 + 3)
    for demand, reply in zip(texts[1:7:2], texts[2:7:2], strict=True):
        assert demand == f"say {reply}" and reply in WORDS


def test_the_corpus_does_not_depend_on_the_tokenizer_of_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registration = find("Echo-easy-v0")
    before = collect(registration, num_episodes=2)
    other = train_tokenizer(["entirely other words " * 50])
    monkeypatch.setattr(tokenizer_module, "_builtin", lambda: other)
    assert load_tokenizer() is other
    assert collect(registration, num_episodes=2) == before


def test_training_is_the_same_each_time() -> None:
    corpus = {"a": ["hello there", "good day to you"], "b": ["some other words"]}
    first = train(corpus, ["a"]).to_json()
    assert first == train(corpus, ["a"]).to_json()
    assert first != train(corpus, []).to_json(), "weights change nothing"


def test_rare_words_of_an_easy_tier_are_one_token() -> None:
    # Plenty of other words, so that there is not room for all.
    many = " ".join(f"{a}{b}{c}" for a in LETTERS for b in "aeiou" for c in LETTERS)
    corpus = {"easy": ["zebra xylophone"], "default": [many] * 50}
    easy = train(corpus, ["easy"])
    assert split_words(easy, corpus["easy"]) == (["xylophone", "zebra"], [])
    plain = train(corpus, [])
    assert split_words(plain, corpus["easy"]) == ([], ["xylophone", "zebra"])
    assert len(easy) <= MAX_ENTRIES


def test_a_digit_is_one_token_with_and_without_a_space() -> None:
    tokenizer = train({"a": ["no number here"]}, [])
    for digit in "0123456789":
        (spaced,) = tokenizer.encode(digit)
        _, bare = tokenizer.encode(f"{digit}{digit}")
        assert spaced != bare


def test_the_shipped_tokenizer_has_the_easy_tier_s_words() -> None:
    texts = collect(find("Echo-easy-v0"), num_episodes=20)
    whole, pieces = split_words(load_tokenizer(), texts)
    assert len(whole) >= 0.8 * (len(whole) + len(pieces)), pieces
    assert len(load_tokenizer()) <= MAX_ENTRIES


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on few dialogues."""
    monkeypatch.setattr(tokenizer_training, "NUM_EPISODES", 2)
    corpus = {"chat_envs/Echo-easy-v0": ["say sun", "sun"], "chat_envs/Echo-v0": ["x"]}
    monkeypatch.setattr(command, "collect_corpus", lambda: corpus)


@pytest.mark.usefixtures("small")
def test_the_command_writes_and_checks(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "tokenizer.json"
    arguments = ["--output", str(path)]
    assert command.run(["--check", *arguments]) == 1
    assert not path.exists(), "--check wrote"
    assert command.run(arguments) == 0
    assert (
        "chat_envs/Echo-easy-v0: 2 of 2 words are one token" in capsys.readouterr().out
    )
    assert command.run(["--check", *arguments]) == 0
    path.write_text(path.read_text(encoding="utf-8").replace("sun", "fun"), "utf-8")
    assert command.run(["--check", *arguments]) == 1
