"""A Hugging Face sequence classifier with one label: one number a row, however rows are padded.

Shape legend: B rows, S tokens of a row (right-padded).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForSequenceClassification

from agents.engine.context_length import context_length_of
from agents.engine.network import num_input_ids
from agents.engine.pretrained import read_pretrained

__all__ = ["SequenceClassifier", "is_sequence_classifier"]

_ARCHITECTURE = "ForSequenceClassification"


def is_sequence_classifier(config: Mapping[str, Any]) -> bool:
    """Return whether the `config.json` of a directory is that of a sequence classifier."""
    named = config.get("architectures") or []
    return any(str(name).endswith(_ARCHITECTURE) for name in named)


class SequenceClassifier:
    """One number a row of ids; nothing that came with the weights is run.

    Args:
        directory: config and safetensors.
        vocab_size: ids that the tokenizer produces.
        device: None takes CUDA where there is one, else the CPU.

    Raises:
        ValueError: no safetensors, weights missing, several labels, or too small a vocabulary.
    """

    def __init__(
        self, directory: Path, vocab_size: int, device: torch.device | str | None = None
    ) -> None:
        if not any(directory.glob("*.safetensors")):
            raise ValueError(
                f"{directory} has no *.safetensors; weights are read from nothing else, since a "
                "pickle can run code."
            )
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        module = read_pretrained(
            AutoModelForSequenceClassification, directory, torch.float32
        )
        self.module = module.to(self.device).eval()  # type: ignore[arg-type]
        config = self.module.config
        if config.num_labels != 1:
            raise ValueError(
                f"{directory} is a classifier of {config.num_labels} labels; a reward is one "
                "number: take a model with num_labels=1."
            )
        if vocab_size > num_input_ids(self.module):
            raise ValueError(
                f"The tokenizer in {directory} has {vocab_size} ids but the model only "
                f"{num_input_ids(self.module)}: they do not belong together."
            )
        self.context_length = context_length_of(self.module)
        self._num_ids = num_input_ids(self.module)
        self._own_pad_id = config.get_text_config().pad_token_id

    def logits(
        self, ids_BS: npt.NDArray[np.int64], lengths_B: npt.NDArray[np.int64]
    ) -> torch.Tensor:
        """Return (B,) float32 logits.

        Args:
            ids_BS: what lies past a row's length does not matter.
            lengths_B: each at least 1.
        """
        pad_id = self._pad_id(ids_BS[np.arange(len(ids_BS)), lengths_B - 1])
        is_real_BS = np.arange(ids_BS.shape[1]) < lengths_B[:, None]
        ids = np.where(is_real_BS, ids_BS, pad_id)
        # Read at every call: causal families look for a row's end by this id.
        self.module.config.get_text_config().pad_token_id = pad_id
        output = self.module(
            input_ids=torch.from_numpy(ids).to(self.device),
            attention_mask=torch.from_numpy(is_real_BS.astype(np.int64)).to(
                self.device
            ),
        )
        logits_B: torch.Tensor = output.logits[:, 0].float()
        return logits_B

    def save(self, directory: Path) -> None:
        """Write config and weights."""
        self.module.config.get_text_config().pad_token_id = self._own_pad_id
        self.module.save_pretrained(directory)

    def _pad_id(self, last_B: npt.NDArray[np.int64]) -> int:
        """Return the model's padding, or another id where some row ends with it.

        A causal family takes the last id that is not padding for a row's end.
        """
        ends = set(last_B.tolist())
        if self._own_pad_id is not None and self._own_pad_id not in ends:
            return int(self._own_pad_id)
        return next(i for i in range(self._num_ids) if i not in ends)
