"""Embeddings that lie on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from chat_envs.rewards import similarity
from chat_envs.rewards.description import make_request
from chat_envs.rewards.similarity import Similarity
from tests.chat_envs.rewards.ratings import rate


@pytest.mark.usefixtures("no_network")
def test_similar_texts_are_nearer_and_no_package_code_runs() -> None:
    similarity._load.cache_clear()
    reward = Similarity(reference=["Where is my parcel?", "zebra"])
    near, far, same, empty = rate(
        reward, "Has my package arrived?", "I like jazz", "zebra", ""
    )
    assert same == pytest.approx(1.0, abs=1e-6) and empty == 0.0
    assert near > far + 0.2
    assert "wordllama" not in sys.modules


def test_similarity_without_a_reference_compares_with_the_user() -> None:
    same, other = rate(Similarity(), "my hat", "an opera", asked="my hat")
    assert same == pytest.approx(1.0, abs=1e-6) and other < 0.5
    assert Similarity().score([make_request("my hat")]) == [0.0]


def test_a_reply_is_as_similar_alone_as_among_others() -> None:
    reward = Similarity(reference="Where is my parcel?")
    replies = ["My parcel", "no", "\ud800", "a much longer reply " * 40, ""]
    assert rate(reward, *replies) == [rate(reward, reply)[0] for reply in replies]


def save_model(folder: Path, num_vectors: int = 3) -> None:
    """Write a model of three words, each an axis of its own."""
    vocabulary = {"red": 0, "green": 1, "blue": 2}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="red"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(length=8)
    tokenizer.enable_truncation(1)
    tokenizer.save(str(folder / "tokenizer.json"))
    vectors = np.eye(num_vectors, 3, dtype=np.float16)
    save_file({"embeddings": vectors}, folder / "model.safetensors")


def test_another_model_is_read_from_its_folder(tmp_path: Path) -> None:
    save_model(tmp_path)
    reward = Similarity(reference="red green", model=str(tmp_path))
    values = rate(reward, "green red", "red", "blue", "red blue")
    assert values == pytest.approx([1.0, 0.5**0.5, 0.0, 0.5], abs=1e-6)


def test_a_broken_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no folder"):
        Similarity(model=str(tmp_path / "nowhere"))
    similarity._load.cache_clear()
    with pytest.raises(FileNotFoundError, match="lacks .*model.safetensors"):
        Similarity(model=str(tmp_path)).score([make_request("red")])
    save_model(tmp_path, num_vectors=2)
    with pytest.raises(ValueError, match="knows 3 tokens, .* only 2"):
        Similarity(model=str(tmp_path)).score([make_request("red")])
    two = {"a": np.eye(3, dtype=np.float32), "b": np.eye(3, dtype=np.float32)}
    save_file(two, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="exactly one must be a matrix"):
        Similarity(model=str(tmp_path)).score([make_request("red")])
