"""DeepSpeed's hybrid engine around the same network; the only file that imports deepspeed.

DeepSpeed's kernel injection works for no current decoder family, so nothing is injected: our
decoder generates on the parameters that the engine trains. What the engine does beyond that, it
does through `CausalLM` like the local engine, so the two cannot drift apart.
"""

from __future__ import annotations

import copy
import importlib
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.runtime import hybrid_engine
from deepspeed.runtime.engine import DeepSpeedEngine
from deepspeed.runtime.hybrid_engine import DeepSpeedHybridEngine
from torch import nn
from torch.distributed import HashStore  # type: ignore[attr-defined]
from transformers import PreTrainedModel

from agents.engine.causal_lm import CausalLM
from agents.engine.language_model import TrainingConfig
from agents.engine.optimizer import clip_gradients

__all__ = ["HybridEngineLM", "SharedWeightsEngine", "merge_config"]

# `deepspeed.comm.torch` as an attribute is torch itself; the module is found by name alone.
_BACKEND = importlib.import_module("deepspeed.comm.torch")


class SharedWeightsEngine(DeepSpeedHybridEngine):  # type: ignore[misc]
    """A hybrid engine that injects nothing: one set of weights, generating and training."""

    grad_norm: float = 0.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The parent broadcasts rank 0's random state, after which all ranks would sample alike.
        state = get_accelerator().get_rng_state()
        super().__init__(*args, **kwargs)
        get_accelerator().set_rng_state(state)

    def populate_all_inference_policies(self) -> None:
        """Leave the policies empty: no layer is replaced, none copied."""
        self.inference_policies: dict[Any, Any] = {}

    def eval(self) -> None:
        """Switch to eval mode, without the parent's line of timings on standard output."""
        DeepSpeedEngine.eval(self)

    def train(self, mode: bool = True) -> None:
        """Switch to training mode; there are no injected layers to switch back."""
        DeepSpeedEngine.train(self, mode)

    def generate(self, *inputs: Any, **kwargs: Any) -> Any:
        """Generate by transformers, on the trained weights.

        The parent's method needs injected layers. `HybridEngineLM.decoder` is the fast way, with
        caches that outlive a call.
        """
        return self.module.language_model.generate(*inputs, **kwargs)

    def buffered_allreduce_fallback(self, *args: Any, **kwargs: Any) -> None:
        """Reduce gradients; a parameter that has none anywhere still has none.

        The parent gives it zeros, by which AdamW would decay it and move it by its old momentum.
        """
        idle = [p for p in self.module.parameters() if p.grad is None]
        super().buffered_allreduce_fallback(*args, **kwargs)
        for parameter in idle:
            if parameter.grad is not None and not parameter.grad.any():
                parameter.grad = None

    def clip_fp32_gradients(self) -> None:
        """Clip as the local engine does, and keep the norm, which the parent throws away."""
        max_norm = self.gradient_clipping()
        self.grad_norm = clip_gradients(self.module.parameters(), max_norm)

    def step(self, lr_kwargs: dict[str, Any] | None = None) -> None:
        """Clip, reduce and update; usable again after an error."""
        try:
            super().step(lr_kwargs=lr_kwargs)
        finally:
            self._running_engine_step = False


class HybridEngineLM(CausalLM):
    """A `LanguageModel` on a `DeepSpeedHybridEngine`: ZeRO stage 0, one process.

    Args:
        module: any transformers causal language model.
        name: what errors and reports call it.
        vocab_size: ids that may be produced; None allows every id.
        has_value_head: give it a critic.
        deepspeed_config: merged with ours; a contradiction is an error.
    """

    def __init__(
        self,
        module: PreTrainedModel,
        *,
        name: str,
        vocab_size: int | None = None,
        has_value_head: bool = False,
        deepspeed_config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            module, name=name, vocab_size=vocab_size, has_value_head=has_value_head
        )
        accelerator = get_accelerator().device_name()
        if self.device.type != accelerator:
            raise ValueError(
                f"The weights are on {self.device.type!r} but DeepSpeed runs on "
                f"{accelerator!r}; pass device={accelerator!r}, or set DS_ACCELERATOR."
            )
        self._deepspeed_config = dict(deepspeed_config or {})
        self._engine: SharedWeightsEngine | None = None

    @property
    def engine(self) -> SharedWeightsEngine:
        """Return the DeepSpeed engine; there is one after `configure_training`."""
        if self._engine is None:
            raise RuntimeError(
                "There is no engine yet: call configure_training(TrainingConfig(...)) first."
            )
        return self._engine

    def _attach(self, optimizer: torch.optim.AdamW, config: TrainingConfig) -> None:
        options = {**self._deepspeed_config, **config.engine_options}
        merged = merge_config(_our_config(config.max_grad_norm), options)
        _join_process_group()
        if self._engine is not None:
            self._engine.destroy()
            self._engine = None
        with _hybrid_engine_is_ours():
            engine, *_ = deepspeed.initialize(
                model=self.network,
                optimizer=optimizer,
                config=merged,
                dist_init_required=False,
            )
        if (
            not isinstance(engine, SharedWeightsEngine)
            or engine.optimizer is not optimizer
        ):
            raise RuntimeError(
                f"deepspeed.initialize built a {type(engine).__name__} with its own optimizer; "
                "this project knows DeepSpeed 0.19. Install that, or use engine='local'."
            )
        self._engine = engine
        optimizer.zero_grad(set_to_none=True)

    def _accumulate(self, loss: torch.Tensor) -> None:
        # No division by the number of micro-batches: the caller's loss is already normalised.
        self.engine.backward(loss, scale_wrt_gas=False)

    def _apply(self, max_grad_norm: float) -> float:
        self.engine.step()
        return self.engine.grad_norm

    def _trained_network(self) -> nn.Module:
        if self._engine is None:  # evaluating needs no optimizer
            return self.network
        trained: nn.Module = self._engine
        return trained

    def _set_mode(self, *, is_training: bool) -> None:
        if self._engine is None:
            self.network.train(is_training)
        elif is_training:
            self._engine.train()
        else:
            self._engine.eval()


def merge_config(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return both configurations as one.

    Raises:
        ValueError: they contradict each other; names the key, their value and ours.

    >>> merge_config({"zero": {"stage": 0}}, {"zero": {"reduce_scatter": True}})
    {'zero': {'stage': 0, 'reduce_scatter': True}}
    """
    merged = copy.deepcopy(dict(ours))
    for key, value in theirs.items():
        if key not in merged:
            merged[key] = copy.deepcopy(value)
        elif isinstance(merged[key], Mapping) and isinstance(value, Mapping):
            try:
                merged[key] = merge_config(merged[key], value)
            except ValueError as error:
                raise ValueError(f"In {key!r}: {error}") from None
        elif merged[key] != value:
            raise ValueError(
                f"The DeepSpeed configuration sets {key!r} to {value!r}, this engine needs "
                f"{merged[key]!r}; leave the key out (TrainingConfig has the optimizer's settings)."
            )
    return merged


def _our_config(max_grad_norm: float) -> dict[str, Any]:
    return {
        # DeepSpeed wants a batch size; with unmanaged accumulation it means nothing: each
        # step() applies whatever backward() has gathered.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": max_grad_norm,
        "zero_optimization": {"stage": 0},
        "hybrid_engine": {"enabled": True},
        "steps_per_print": None,
        "zero_allow_untested_optimizer": True,
    }


@contextmanager
def _hybrid_engine_is_ours() -> Iterator[None]:
    """Make `deepspeed.initialize` build our engine, without compiling kernels nobody calls."""
    names = {
        (deepspeed, "DeepSpeedHybridEngine"): SharedWeightsEngine,
        # The workspace compiles the inference kernels, the backend shared-memory reductions.
        (hybrid_engine, "WorkspaceOp"): lambda: None,
        (_BACKEND, "build_shm_op"): lambda: None,
    }
    before = {key: getattr(*key) for key in names}
    local_rank = os.environ.get("LOCAL_RANK")
    logger = deepspeed.utils.logger
    level = logger.level
    try:
        for (owner, name), value in names.items():
            setattr(owner, name, value)
        logger.setLevel(max(level, logging.WARNING))  # it writes to standard output
        os.environ.setdefault(
            "LOCAL_RANK", "0"
        )  # asserted, though there is no launcher
        yield
    finally:
        logger.setLevel(level)
        if local_rank is None:
            os.environ.pop("LOCAL_RANK", None)
        for (owner, name), value in before.items():
            setattr(owner, name, value)


def _join_process_group() -> None:
    """Join the group of this one process; no launcher, no port.

    Raises:
        NotImplementedError: a launcher started several processes.
    """
    is_joined = torch.distributed.is_initialized()
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    num_processes = torch.distributed.get_world_size() if is_joined else launched
    if num_processes > 1:
        raise NotImplementedError(
            f"{num_processes} processes were launched; this engine trains in one. "
            "Start it without torchrun or the deepspeed launcher."
        )
    if not is_joined:
        torch.distributed.init_process_group(
            backend=get_accelerator().communication_backend_name(),
            store=HashStore(),
            rank=0,
            world_size=1,
        )
