"""The protocol that every language model of this project fulfils, and its records.

Agents are written against `LanguageModel` alone: they never know whether one process of plain
torch (`local`) or a DeepSpeed hybrid engine (`hybrid`) does the work.

Shape legend: B sequences, S tokens of a sequence (right-padded), R tokens of a reply, V vocabulary.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Protocol, Sequence

import numpy as np
import torch

__all__ = [
    "Decoder",
    "Evaluation",
    "Generation",
    "LanguageModel",
    "Sampling",
    "TokenBatch",
    "TrainingConfig",
]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a reply is drawn from the model's distribution.

    Attributes:
        max_new_tokens: longest reply in tokens, its stop id included; at least 1.
        stop_ids: ids that end a reply; the id itself belongs to the reply.
        temperature: divides the logits; finite and above 0.
        top_k: keep the k likeliest ids; 0 keeps all.
        top_p: keep the smallest set of ids of at least this probability; 1 keeps all.
        is_greedy: take the likeliest id; its log-prob is that of the whole distribution at
            `temperature`, without filters.
    """

    max_new_tokens: int
    stop_ids: frozenset[int]
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    is_greedy: bool = False

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(
                f"max_new_tokens must be at least 1, got {self.max_new_tokens}."
            )
        if not 0 < self.temperature < math.inf:
            raise ValueError(
                f"temperature must be finite and above 0, got {self.temperature}; "
                "use is_greedy=True for argmax."
            )
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 (off) or positive, got {self.top_k}.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie in (0, 1], got {self.top_p}.")


@dataclass(frozen=True)
class Generation:
    """Replies drawn by `Decoder.generate`, one row a context.

    Attributes:
        ids: (B, R) int64, on the CPU, padded with 0 after each reply's length.
        lengths: (B,) int64, tokens in each reply, its stop id included.
        log_probs: (B, R) float32, of each token under the *sampling* distribution (temperature,
            filters and vocabulary mask included); 0 past the length.
        finished: (B,) bool, whether the reply ended by a stop id (else it was cut).
    """

    ids: np.ndarray
    lengths: np.ndarray
    log_probs: np.ndarray
    finished: np.ndarray

    def reply(self, row: int) -> np.ndarray:
        """Return the (length,) ids of one reply."""
        return self.ids[row, : self.lengths[row]]


@dataclass(frozen=True)
class TokenBatch:
    """Whole dialogues as tokens, right-padded, with what the agent wrote marked.

    Attributes:
        input_ids: (B, S) int64.
        lengths: (B,) int64, real tokens of each row.
        action_mask: (B, S) bool, True where the agent wrote the token.
    """

    input_ids: torch.Tensor
    lengths: torch.Tensor
    action_mask: torch.Tensor


@dataclass(frozen=True)
class Evaluation:
    """What the training module says of a `TokenBatch`, with gradients.

    Attributes:
        log_probs: (B, S) float32; [b, s] = log p(ids[s] | ids[:s]), aligned with `input_ids`;
            0 where `action_mask` is False.
        entropy: (B, S) float32, entropy in nats of the distribution that token s was drawn from;
            0 where `action_mask` is False.
        values: (B, S) float32; [b, s] = value of the prefix ids[: s + 1] (so the state in which
            token s was chosen has its value at s - 1, and the final context's value stands at
            lengths - 1); zeros where the model has no value head.
    """

    log_probs: torch.Tensor
    entropy: torch.Tensor
    values: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How gradients become weights (AdamW; Loshchilov and Hutter 2019).

    Attributes:
        learning_rate: step size, at least 0 (0 is the negative control).
        weight_decay: decoupled, at least 0.
        betas: decay rates of the two moments, each in [0, 1).
        epsilon: added to the root of the second moment, above 0.
        max_grad_norm: global gradient norm is clipped to this; above 0 (inf turns it off).
        value_learning_rate: step size of the value head; None takes `learning_rate`.
        ema_decay: share of a moving average of the weights that each update keeps, above 0 and
            below 1; 0 keeps no average.
        engine_options: passed to the engine as they are (a DeepSpeed config for `deepspeed`).
    """

    learning_rate: float = 1e-5
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    value_learning_rate: float | None = None
    ema_decay: float = 0.0
    engine_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("learning_rate", "weight_decay", "value_learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} must be finite and at least 0, got {value}.")
        if not all(0 <= beta < 1 for beta in self.betas) or len(self.betas) != 2:
            raise ValueError(f"betas must be two numbers in [0, 1), got {self.betas}.")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(
                f"ema_decay must lie in [0, 1), got {self.ema_decay}; 0 keeps no average."
            )
        for name in ("epsilon", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}.")


class Decoder(Protocol):
    """Generates on the training module's own parameters; obtained from `LanguageModel.decoder`.

    A *slot* is one dialogue's cache; between calls it keeps the keys and values of the ids that it
    has seen, so that only new ids are computed. Reuse is decided by comparing ids.
    """

    def generate(
        self,
        contexts: Sequence[np.ndarray],
        slots: Sequence[int],
        sampling: Sampling,
        generator: torch.Generator | None = None,
    ) -> Generation:
        """Return one reply for each context.

        Args:
            contexts: B arrays of (S_b,) int64 ids, S_b at least 1, lengths ragged.
            slots: B distinct slot numbers below `num_slots`; a slot whose ids are not a prefix of
                the context starts over from their longest common prefix.
            sampling: how to draw.
            generator: source of randomness on the model's device; required unless greedy.

        Raises:
            ValueError: bad slots or contexts, or no generator; nothing was computed.
            FloatingPointError: the model's logits are not finite. After this or any other error
                while computing, all slots start over.
        """

    def reset(self, slots: Sequence[int] | None = None) -> None:
        """Forget the caches of `slots` (all when None).

        Updates, `load` and writes to parameters are noticed without it; writes through
        `parameter.data` are not, since torch does not count them.
        """


class LanguageModel(Protocol):
    """A causal language model that generates and trains on one copy of its weights."""

    name: str
    device: torch.device
    vocab_size: int  # ids that may be produced; others are masked everywhere
    context_length: int  # positions the model can attend to

    @property
    def module(self) -> torch.nn.Module:
        """The network of which generation and training share the one copy."""

    def decoder(self, num_slots: int) -> AbstractContextManager[Decoder]:
        """Return a context manager: eval mode, and caches for `num_slots` dialogues."""

    def forbid(self, ids: Sequence[int]) -> None:
        """Give these ids probability 0 in decoder and trainer alike (control ids, say)."""

    def configure_training(self, config: TrainingConfig) -> None:
        """Build optimizer state, before the first `backward`; calling again starts afresh."""

    def evaluate(self, batch: TokenBatch, *, temperature: float = 1.0) -> Evaluation:
        """Return log-probs, entropy and values of `batch`, with gradients unless disabled."""

    def freeze_reference(self) -> None:
        """Remember the weights of now as the reference model (a frozen copy)."""

    def reference_log_probs(
        self, batch: TokenBatch, *, temperature: float = 1.0
    ) -> torch.Tensor:
        """Return (B, S) float32 reference log-probs, without gradient, 0 off the mask."""

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate gradients of `loss` (already normalised by the caller: no rescaling here)."""

    def step(self) -> float:
        """Clip, update the weights, clear the gradients; return the norm before clipping."""

    def set_learning_rate(self, learning_rate: float) -> None:
        """Change the step size from now on; the value head keeps one of its own if it has one."""

    def save_pretrained(self, directory: Path) -> None:
        """Write a plain Hugging Face directory (config + safetensors) that `load_lm` reads back."""

    def save(self, directory: Path) -> None:
        """Write weights, value head, reference and optimizer as safetensors and JSON."""

    def load(self, directory: Path) -> None:
        """Restore what `save` wrote, bit for bit; configure_training must have been called.

        Where a file is missing, damaged or another model's, the error names it and nothing changes.
        """
