"""Replies as token ids, and the networks that score them: a number for each, in one forward.

Shape legend: B replies, S tokens of prompt and reply (right-padded).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from agents.engine.causal_lm import CausalLM
from agents.engine.language_model import TokenBatch
from agents.engine.loading import load_lm
from agents.engine.saved_state import VALUE_HEAD_FILE
from agents.engine.sequence_classifier import (
    SequenceClassifier,
    is_sequence_classifier,
)

__all__ = [
    "HeadedNetwork",
    "ReplyScorer",
    "TokenReply",
    "load_reply_scorer",
    "micro_batches",
]

TokenReply = tuple[tuple[int, ...], int]
"""Ids of prompt and reply, and how many of them are the prompt's."""


class ReplyScorer(Protocol):
    """What scores token ids."""

    context_length: int

    def scores(self, replies: Sequence[TokenReply]) -> torch.Tensor:
        """Return (B,) float32 scores, with gradients unless disabled."""

    def save(self, directory: Path) -> None:
        """Write weights and config."""


def micro_batches(
    replies: Sequence[TokenReply], batch_tokens: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield rows that are computed together: like lengths, and one prompt's replies, side by side.

    Args:
        replies: what to compute.
        batch_tokens: most tokens at a time, padding included, unless one row has more.
    """
    order = sorted(
        range(len(replies)),
        key=lambda row: (
            replies[row][1],
            replies[row][0][: replies[row][1]],
            len(replies[row][0]),
        ),
    )
    rows: list[int] = []
    longest = 0
    for row in order:
        longest_then = max(longest, len(replies[row][0]))
        if rows and longest_then * (len(rows) + 1) > batch_tokens:
            yield np.array(rows)
            rows, longest_then = [], len(replies[row][0])
        rows.append(row)
        longest = longest_then
    if rows:
        yield np.array(rows)


class HeadedNetwork:
    """A causal language model whose value head scores what stands before the head's place.

    Prompts that several replies share are computed once (`agents.engine.packing`).
    """

    def __init__(self, lm: CausalLM) -> None:
        self.lm = lm
        self.context_length = lm.context_length

    def scores(self, replies: Sequence[TokenReply]) -> torch.Tensor:
        """Return (B,) float32 scores, with gradients unless disabled."""
        ids_BS, lengths_B = _padded(replies, 0)
        mask_BS = np.zeros(ids_BS.shape, dtype=np.bool_)
        for row, (_, start) in enumerate(replies):
            # What precedes the first marked id is the prompt, which may be shared.
            mask_BS[row, max(start, 1)] = True
        device = self.lm.device
        lengths = torch.from_numpy(lengths_B).to(device)
        batch = TokenBatch(
            torch.from_numpy(ids_BS).to(device),
            lengths,
            torch.from_numpy(mask_BS).to(device),
        )
        values_BS = self.lm.evaluate(batch).values
        return values_BS[torch.arange(len(replies), device=device), lengths - 1]

    def save(self, directory: Path) -> None:
        """Write weights, head and config."""
        self.lm.save_pretrained(directory)


def _padded(
    replies: Sequence[TokenReply], pad_id: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (B, S) ids and (B,) lengths."""
    lengths_B = np.array([len(ids) for ids, _ in replies])
    ids_BS = np.full((len(replies), lengths_B.max()), pad_id, dtype=np.int64)
    for row, (ids, _) in enumerate(replies):
        ids_BS[row, : len(ids)] = ids
    return ids_BS, lengths_B


class _Classifier:
    """A sequence classifier."""

    def __init__(self, classifier: SequenceClassifier) -> None:
        self.classifier = classifier
        self.context_length = classifier.context_length

    def scores(self, replies: Sequence[TokenReply]) -> torch.Tensor:
        return self.classifier.logits(*_padded(replies, 0))

    def save(self, directory: Path) -> None:
        self.classifier.save(directory)


def load_reply_scorer(
    directory: Path,
    config: Mapping[str, Any],
    vocab_size: int,
    device: torch.device | str | None,
) -> ReplyScorer:
    """Return the network that a directory holds.

    Args:
        directory: of a sequence classifier, or of a language model with a value head.
        config: its `config.json`.
        vocab_size: ids of its tokenizer.
        device: None takes CUDA where there is one, else the CPU.

    Raises:
        ValueError: it holds neither, or something is missing.
    """
    if is_sequence_classifier(config):
        return _Classifier(SequenceClassifier(directory, vocab_size, device))
    if not (directory / VALUE_HEAD_FILE).is_file():
        raise ValueError(
            f"{directory} holds no reward model: it is neither a sequence classifier nor a "
            f"language model with a {VALUE_HEAD_FILE}; `chat-envs reward-model` makes one."
        )
    lm = load_lm(
        directory,
        vocab_size=vocab_size,
        engine="local",
        device=device,
        has_value_head=True,
    )
    return HeadedNetwork(lm)
