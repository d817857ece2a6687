"""`RewardModel`: a network that scores replies, one number each, whole batches in one call.

Two kinds of directory hold one: a causal language model of ours with a scalar head (its
`value_head.safetensors`), read at the last token of prompt and reply (Ouyang et al. 2022,
arXiv:2203.02155); or any Hugging Face sequence classifier with one label, safetensors alone. The
tokenizer with its chat template lies in the directory too, so the text of any policy can be
scored, and `reward_model.json` has the mean and the standard deviation of reference replies, which
are taken off.

What is too long for the network loses its *oldest* ids: the beginning of the dialogue goes, the
reply stays.

Shape legend: B replies, S tokens of prompt and reply (right-padded).
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import torch

from agents.checkpoint import DamagedFileError, read_json, write_json
from agents.engine.causal_lm import CausalLM
from agents.engine.pretrained import quiet
from agents.engine.reply_scorer import (
    HeadedNetwork,
    ReplyScorer,
    TokenReply,
    load_reply_scorer,
    micro_batches,
)
from agents.engine.saved_state import VALUE_HEAD_FILE
from agents.engine.state_file import read_tensors, write_tensors
from chat_envs.chat_template import load_template
from chat_envs.message import Message
from chat_envs.reward import RewardRequest
from chat_envs.tokenizer import Tokenizer, load_tokenizer

__all__ = [
    "Dialogue",
    "RECORD_FILE",
    "RewardModel",
    "check_critic",
    "check_target",
    "start_critic",
]

RECORD_FILE = "reward_model.json"
_FORMAT = 1
_MAX_CHARACTERS_A_TOKEN = 64

Dialogue = tuple[Sequence[Message], str]
"""A prompt and the reply to it."""

Floats = npt.NDArray[np.float64]


class RewardModel:
    """Scores replies; `reward={"agents.reward_model:RewardModel": {"kwargs": {...}}}` plugs it in.

    Args:
        directory: what `save` or `chat-envs reward-model` wrote, or any directory of a Hugging
            Face sequence classifier with its tokenizer: without `reward_model.json` its scores are
            passed on as they are.
        device: None takes CUDA where there is one, else the CPU; it need not be the policy's.
        batch_tokens: most tokens of one forward, padding included, unless one reply has more.

    Raises:
        FileNotFoundError: there is no such directory.
        ValueError: it holds no reward model, or one of another format; or something is damaged.
    """

    name = "reward_model"

    def __init__(
        self,
        directory: str | Path,
        *,
        device: torch.device | str | None = None,
        batch_tokens: int = 16_384,
    ) -> None:
        path = Path(directory).expanduser()
        if not path.is_dir():
            raise FileNotFoundError(f"There is no directory {directory}.")
        file = path / "config.json"
        config = read_json(file) if file.is_file() else {}
        if "model_type" not in config:  # a run has a config.json of another kind
            raise ValueError(
                f"{directory} holds no reward model: it has no config.json of a model. Give the "
                "directory that `chat-envs reward-model` wrote."
            )
        tokenizer = load_tokenizer(str(path.resolve()))
        network = load_reply_scorer(path, config, len(tokenizer), device)
        mean, std = _read_constants(path)
        self._become(network, tokenizer, mean, std, batch_tokens)

    @classmethod
    def of(
        cls, lm: CausalLM, tokenizer: Tokenizer, *, batch_tokens: int = 16_384
    ) -> RewardModel:
        """Return the reward model that a language model is with its value head; nothing is copied.

        Raises:
            ValueError: the model has no value head.
        """
        if lm.network.value_head is None:
            raise ValueError(
                f"{lm.name} has no value head to score with; load it with has_value_head=True."
            )
        model = cls.__new__(cls)
        model._become(HeadedNetwork(lm), tokenizer, 0.0, 1.0, batch_tokens)
        return model

    def _become(
        self,
        network: ReplyScorer,
        tokenizer: Tokenizer,
        mean: float,
        std: float,
        batch_tokens: int,
    ) -> None:
        if batch_tokens < 1:
            raise ValueError(f"batch_tokens must be at least 1, got {batch_tokens}.")
        self.tokenizer = tokenizer
        self.mean, self.std = mean, std
        self.batch_tokens = batch_tokens
        self._network = network
        self._template = load_template(tokenizer)

    def __deepcopy__(self, memo: dict[int, object]) -> RewardModel:
        return (
            self  # gym.make deep-copies keywords; a copy of the weights would be waste
        )

    def score(self, batch: Sequence[RewardRequest]) -> list[float]:
        """Return one normalised score a request."""
        raw = self.raw_scores([(r.prompt, r.reply) for r in batch])
        return ((raw - self.mean) / self.std).tolist()  # type: ignore[no-any-return]

    def raw_scores(self, dialogues: Sequence[Dialogue]) -> Floats:
        """Return (B,) scores as the network gives them; a pair's difference is in nats."""
        replies = [self.encode(prompt, reply) for prompt, reply in dialogues]
        raw_B = np.zeros(len(replies), dtype=np.float64)
        with torch.inference_mode():
            for rows in micro_batches(replies, self.batch_tokens):
                scores = self._network.scores([replies[row] for row in rows])
                raw_B[rows] = scores.double().cpu().numpy()
        if not np.isfinite(raw_B).all():
            raise FloatingPointError("A score is not finite: the weights are damaged.")
        return raw_B

    def encode(self, prompt: Sequence[Message], reply: str) -> TokenReply:
        """Return a dialogue as the network reads it, its oldest ids left out if it is too long."""
        limit = self._network.context_length
        text = reply[-limit * _MAX_CHARACTERS_A_TOKEN :]
        before = self._template.opening(prompt)
        said = [*self.tokenizer.encode(text), *self._template.closing(None)][-limit:]
        kept = before[max(len(before) + len(said) - limit, 0) :]
        return (*kept, *said), len(kept)

    def token_scores(self, replies: Sequence[TokenReply]) -> torch.Tensor:
        """Return (B,) scores of encoded replies in one forward, with gradients: for training."""
        return self._network.scores(replies)

    def normalise(self, references: Sequence[Dialogue]) -> None:
        """Give reference replies the mean 0 and the standard deviation 1.

        Raises:
            ValueError: there are fewer than 2, or all of them have the same score.
        """
        raw = self.raw_scores(references)
        if len(raw) < 2 or not raw.std() > 0:
            raise ValueError(
                f"The {len(raw)} reference replies have no spread of scores to measure by: the "
                "model tells no two replies apart."
            )
        self.mean, self.std = float(raw.mean()), float(raw.std())

    def save(
        self, directory: str | Path, notes: Mapping[str, Any] | None = None
    ) -> None:
        """Write weights, tokenizer and `reward_model.json`, at once or not at all.

        Args:
            directory: a new one; what another reward model was written to is replaced.
            notes: what else `reward_model.json` shall say, of the training say; JSON-able.

        Raises:
            FileExistsError: something else is there.
        """
        target = Path(directory).expanduser()
        check_target(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            with quiet():
                self._network.save(aside)
            # Of the protocol only those that can be written back have it.
            self.tokenizer.save_pretrained(aside)  # type: ignore[attr-defined]
            own = {"format": _FORMAT, "mean": self.mean, "std": self.std}
            write_json(aside / RECORD_FILE, {**(notes or {}), **own})
            aside.chmod(0o755)
            if target.exists():
                shutil.rmtree(target)
            aside.rename(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def check_target(directory: Path) -> None:
    """Refuse to write a reward model over something else.

    Raises:
        FileExistsError: there is a file, or a directory that holds no reward model.
    """
    is_ours = (directory / RECORD_FILE).is_file()
    is_empty = directory.is_dir() and not any(directory.iterdir())
    if directory.exists() and not (is_ours or is_empty):
        raise FileExistsError(
            f"{directory} is there and holds no reward model; give another directory."
        )


def _read_constants(directory: Path) -> tuple[float, float]:
    """Return the mean and standard deviation of reference replies; (0, 1) where none are known."""
    path = directory / RECORD_FILE
    if not path.is_file():
        return 0.0, 1.0
    record = read_json(path)
    if (found := record.get("format")) != _FORMAT:
        raise DamagedFileError(
            f"{path} has format {found!r}; this version reads {_FORMAT}."
        )
    mean, std = record.get("mean"), record.get("std")
    if not (_is_finite(mean) and _is_finite(std) and std > 0):
        raise DamagedFileError(
            f"{path} is damaged: mean is {mean!r} and std {std!r}, expected finite numbers, std "
            "above 0."
        )
    return float(mean), float(std)


def _is_finite(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and math.isfinite(value)


def check_critic(directory: str | Path, tokenizer: Tokenizer) -> None:
    """Refuse a critic that has learned to read other ids than the policy's.

    Args:
        directory: of the reward model that the critic is to start from.
        tokenizer: the policy's.

    Raises:
        ValueError: it has no tokenizer, or one with other entries.
    """
    source = Path(directory).expanduser()
    own = load_tokenizer(str(source.resolve()))
    is_same = len(own) == len(tokenizer) and all(
        own.decode([i]) == tokenizer.decode([i]) for i in range(len(own))
    )
    if not is_same:
        raise ValueError(
            f"The critic in {source} reads the ids of another tokenizer ({len(own)} entries) than "
            f"the policy writes ({len(tokenizer)}): train the reward model from the model that the "
            "run starts with (--lm). As a reward it scores the text of any policy."
        )


def start_critic(lm: CausalLM, directory: str | Path) -> None:
    """Let the value head of `lm` begin as the scalar head of a reward model.

    The head is scaled so that its values are normalised scores, as `RewardModel.score` pays them.
    It was trained on the reward model's own hidden states, so it is a good start where `lm` has the
    weights that the reward model began with, and none otherwise.

    Args:
        lm: has a value head; the rest of its weights stays.
        directory: of a reward model that is a language model with a head.

    Raises:
        FileNotFoundError: there is no such head.
        ValueError: the widths differ, or `lm` has no value head.
    """
    source = Path(directory).expanduser()
    path = source / VALUE_HEAD_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: a critic starts from a reward model that `chat-envs "
            "reward-model` wrote, not from a sequence classifier."
        )
    mean, std = _read_constants(source)
    head = read_tensors(path)
    width, own = head["weight"].shape[0], lm.network.hidden_width
    if width != own:
        raise ValueError(
            f"The head in {source} reads hidden states of width {width}, {lm.name} has width "
            f"{own}: train the reward model from a model of that shape (--lm)."
        )
    scaled = {"weight": head["weight"] / std, "bias": (head["bias"] - mean) / std}
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / VALUE_HEAD_FILE
        write_tensors(file, scaled)
        lm.load_value_head(file)
