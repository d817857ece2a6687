"""One process, plain torch: the engine for a laptop, and the yardstick for the other."""

from __future__ import annotations

import torch

from agents.engine import process_group
from agents.engine.causal_lm import CausalLM
from agents.engine.language_model import TrainingConfig
from agents.engine.optimizer import clip_gradients

__all__ = ["LocalLM"]


class LocalLM(CausalLM):
    """A `LanguageModel` in one process; see `CausalLM` for its arguments.

    >>> from agents.engine.tiny_model import build_tiny
    >>> lm = LocalLM(build_tiny("tiny", vocab_size=64, seed=0), name="tiny")
    >>> lm.vocab_size, lm.context_length
    (64, 1024)
    """

    def check_processes(self) -> None:
        """Raise where a launcher started several: this engine trains in one.

        Raises:
            ValueError: says how many there are.
        """
        num_processes = process_group.num_processes()
        if num_processes > 1:
            raise ValueError(
                f"A launcher started {num_processes} processes, and the local engine trains in "
                "one: each would train a model of its own. Use engine='deepspeed' (--engine "
                "deepspeed), or start without torchrun or the deepspeed launcher."
            )

    def _attach(self, optimizer: torch.optim.AdamW, config: TrainingConfig) -> None:
        self.check_processes()
        if config.engine_options:
            raise ValueError(
                f"engine_options {sorted(config.engine_options)} are for engine='deepspeed'; "
                "the local engine has none."
            )
        optimizer.zero_grad(set_to_none=True)

    def _accumulate(self, loss: torch.Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def _apply(self, max_grad_norm: float) -> float:
        norm = clip_gradients(self.network.parameters(), max_grad_norm)
        optimizer, _ = self._ready()
        optimizer.step()
        return norm
