"""How near a reply is in meaning to a reference, or to what the user said."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from chat_envs.reward import RewardRequest
from chat_envs.rewards.description import (
    BuiltinReward,
    Exploit,
    as_texts,
    last_user,
)
from chat_envs.rewards.optional_package import load_module, package_folder

__all__ = ["Similarity"]

_EXTRA = "similarity"
_PACKAGE = "wordllama"
_PACKAGE_FILES = (
    "weights/l2_supercat_256.safetensors",
    "tokenizers/l2_supercat_tokenizer_config.json",
)
_FOLDER_FILES = ("model.safetensors", "tokenizer.json")
_MOST_CHARACTERS = 2000  # of a text; the rest is not embedded
_MOST_TEXTS = 4096  # whose embeddings are kept

Embedding = NDArray[np.float32]


class Similarity(BuiltinReward):
    """Cosine of the embeddings of reply and reference; of several references the best counts.

    An embedding is the mean of static vectors, one a token: fast on a processor, and blind to the
    order of words. The vectors are those that the package wordllama ships (256 numbers a token);
    its files are read and its code is never run, so nothing is downloaded. 0 where one side is
    empty.

    Args:
        reference: a text or a list; None compares with what the user said last.
        model: a folder with another model of that kind, as model2vec saves it: one matrix in
            `model.safetensors` and a `tokenizer.json`.
    """

    name = "similarity"
    range = (-1.0, 1.0)
    sees = ("reply", "prompt")
    extra = _EXTRA
    exploits = (
        Exploit(
            "echo",
            "Without a reference nothing is nearer to the user's words than these.",
            hostile="My parcel is late. What can you do?",
            honest="I am sorry. May I have the order number?",
            asked="My parcel is late. What can you do?",
        ),
        Exploit(
            "shuffled words",
            "The order of words does not count: the same words in disorder beat a paraphrase.",
            hostile="nine on meeting at the Monday is not the",
            honest="We start Monday, 9:00.",
            asked="When is the meeting?",
            kwargs={"reference": "the meeting is at nine on Monday"},
        ),
    )

    def __init__(
        self,
        *,
        reference: str | Sequence[str] | None = None,
        model: str | None = None,
    ) -> None:
        self._references = () if reference is None else as_texts("reference", reference)
        if model is not None and not Path(model).expanduser().is_dir():
            raise ValueError(f"model {model!r} is no folder")
        self._model = model

    def score(self, batch: Sequence[RewardRequest]) -> list[float]:
        """Return one cosine a reply."""
        model = _load(self._model)
        return [
            max(
                _cosine(model.embed(request.reply), model.embed(text))
                for text in self._references or (last_user(request.prompt),)
            )
            for request in batch
        ]


class _StaticModel:
    """Embeds a text as the unit mean of its tokens' vectors; zeros where it has none."""

    def __init__(self, vectors: NDArray[np.floating], tokenizer: Tokenizer) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._vectors = vectors
        self._tokenizer = tokenizer
        self._embed_cached = functools.lru_cache(_MOST_TEXTS)(self._embed)

    def embed(self, text: str) -> Embedding:
        """Return its embedding, (D,), of length 1 or 0."""
        # A lone surrogate has no UTF-8 form, and the tokenizer would raise.
        plain = text[:_MOST_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
        return self._embed_cached(plain)

    def _embed(self, text: str) -> Embedding:
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        rows = self._vectors[ids].astype(np.float32)
        total = rows.sum(axis=0)
        return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12))


def _cosine(one: Embedding, other: Embedding) -> float:
    return float(np.clip(one @ other, -1.0, 1.0))


@functools.cache
def _load(folder: str | None) -> _StaticModel:
    """Return the model in a folder, or the one that the package ships."""
    if folder is None:
        home = package_folder(_PACKAGE, reward="similarity", extra=_EXTRA)
        weights, tokenizer_file = (home / name for name in _PACKAGE_FILES)
    else:
        home = Path(folder).expanduser()
        weights, tokenizer_file = (home / name for name in _FOLDER_FILES)
    for path in (weights, tokenizer_file):
        if not path.is_file():
            raise FileNotFoundError(f"The model of 'similarity' lacks {path}")
    # By name: safetensors comes with the extra.
    module = load_module("safetensors.numpy", reward="similarity", extra=_EXTRA)
    tensors = module.load_file(weights)
    matrices = [tensor for tensor in tensors.values() if tensor.ndim == 2]
    if len(matrices) != 1:
        raise ValueError(
            f"{weights} has {sorted(tensors)}, of which exactly one must be a matrix"
        )
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    num_tokens = tokenizer.get_vocab_size()
    if num_tokens > len(matrices[0]):
        raise ValueError(
            f"{tokenizer_file} knows {num_tokens} tokens, {weights} only {len(matrices[0])}"
        )
    return _StaticModel(matrices[0], tokenizer)
