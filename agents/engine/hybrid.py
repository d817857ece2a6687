"""DeepSpeed's hybrid engine around the same network; the only file that imports deepspeed.

DeepSpeed's kernel injection works for no current decoder family, so nothing is injected: our
decoder generates on the parameters that the engine trains. What the engine does beyond that, it
does through `CausalLM` like the local engine, so the two cannot drift apart.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import deepspeed
import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.runtime import hybrid_engine
from deepspeed.runtime.engine import DeepSpeedEngine
from deepspeed.runtime.hybrid_engine import DeepSpeedHybridEngine
from deepspeed.runtime.zero import GatheredParameters
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)
from torch import nn
from transformers import PreTrainedModel

from agents.engine import process_group
from agents.engine.causal_lm import CausalLM
from agents.engine.deepspeed_config import build_config
from agents.engine.language_model import Evaluation, TokenBatch, TrainingConfig
from agents.engine.optimizer import clip_gradients
from agents.engine.sharded_store import ShardAccess, ShardedStore
from agents.engine.weight_store import WeightStore

__all__ = ["HybridEngineLM", "SharedWeightsEngine"]

# `deepspeed.comm.torch` as an attribute is torch itself; the module is found by name alone.
_BACKEND = importlib.import_module("deepspeed.comm.torch")
_SHARDS = ShardAccess(
    get=safe_get_full_fp32_param,
    set=safe_set_full_fp32_param,
    get_moment=safe_get_full_optimizer_state,
    set_moment=safe_set_full_optimizer_state,
    set_local=safe_set_local_fp32_param,
    set_local_moment=safe_set_local_optimizer_state,
    gathered=GatheredParameters,
)


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
        """Reduce gradients; a parameter that has none in any process still has none.

        The parent gives it zeros, by which AdamW would decay it and move it by its old momentum.
        """
        parameters = list(self.module.parameters())
        has_gradient = torch.tensor(
            [p.grad is not None for p in parameters], device=self.device
        ).int()
        torch.distributed.all_reduce(has_gradient)
        super().buffered_allreduce_fallback(*args, **kwargs)
        for parameter, count in zip(parameters, has_gradient.tolist(), strict=True):
            if not count:
                parameter.grad = None

    def clip_fp32_gradients(self) -> None:
        """Clip as the local engine does, and keep the norm, which the parent throws away."""
        max_norm = self.gradient_clipping()
        self.grad_norm = clip_gradients(self.module.parameters(), max_norm)

    def step(self, lr_kwargs: dict[str, Any] | None = None) -> None:
        """Reduce, clip and update; usable again after an error.

        Raises:
            FloatingPointError: the gradient is not finite, in every process alike.
        """
        try:
            super().step(lr_kwargs=lr_kwargs)
        finally:
            self._running_engine_step = False
        if self.zero_optimization():
            self._check_norm()

    def _check_norm(self) -> None:
        """Keep the norm that ZeRO clipped by; where it is not finite, ZeRO has not updated."""
        norm = float(self.optimizer._global_grad_norm)
        if self.optimizer.overflow or not math.isfinite(norm):
            raise FloatingPointError(
                f"The gradient is not finite (ZeRO stage {self.zero_optimization_stage()}); the "
                "weights were not changed. Look for a loss that is not finite, or lower the "
                "learning rate."
            )
        self.grad_norm = norm


class HybridEngineLM(CausalLM):
    """A `LanguageModel` on a `DeepSpeedHybridEngine`: ZeRO stages 0 to 3, any number of processes.

    Processes are those of a launcher (torchrun, deepspeed). Their gradients are summed, not
    averaged: each divides its loss by the count of all, so two processes with half of a batch each
    are one process with all of it. At stages 2 and 3 all must call `evaluate`, `backward` and
    `step` the same number of times, at stage 3 open the same `decoder` blocks too.

    At stage 3 the whole weights are gathered for the length of a `decoder` block: no decode step
    waits for another process, so processes may decode for as long as their own dialogues last.
    Inside the block `evaluate` gives no gradients.

    At stages 1 to 3 a parameter without a gradient counts as one with a gradient of 0 (it decays
    and moves by its momentum), since ZeRO keeps gradients in flat shards.

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
        if process_group.num_processes() > 1:
            self._join()  # playing and evaluating share out their work too
        self._engine: SharedWeightsEngine | None = None

    @property
    def engine(self) -> SharedWeightsEngine:
        """Return the DeepSpeed engine; there is one after `configure_training`."""
        if self._engine is None:
            raise RuntimeError(
                "There is no engine yet: call configure_training(TrainingConfig(...)) first."
            )
        return self._engine

    def evaluate(self, batch: TokenBatch, *, temperature: float = 1.0) -> Evaluation:
        """Return log-probs, entropy and values; no gradients in a `decoder` block at stage 3."""
        # The gathered weights go away with the block, and a graph would still need them.
        wants_gradient = torch.is_grad_enabled() and not self._store.is_gathered
        with torch.set_grad_enabled(wants_gradient):
            return super().evaluate(batch, temperature=temperature)

    def _attach(self, optimizer: torch.optim.AdamW, config: TrainingConfig) -> None:
        merged = build_config(
            {**self._deepspeed_config, **config.engine_options},
            max_grad_norm=config.max_grad_norm,
            dtype=next(self.module.parameters()).dtype,
            num_parameters=sum(
                getattr(parameter, "ds_numel", parameter.numel())
                for parameter in self.network.parameters()
            ),
        )
        self._join()
        if self._engine is not None:
            self._engine.destroy()
            self._engine = None
        if merged["zero_optimization"]["stage"] == 3:
            # DeepSpeed reads it in every forward, launcher or not.
            os.environ.setdefault("LOCAL_RANK", "0")
        with _hybrid_engine_is_ours():
            engine, *_ = deepspeed.initialize(
                model=self.network,
                optimizer=optimizer,
                config=merged,
                dist_init_required=False,
            )
        if (
            not isinstance(engine, SharedWeightsEngine)
            or engine.basic_optimizer is not optimizer
        ):
            raise RuntimeError(
                f"deepspeed.initialize built a {type(engine).__name__} with its own optimizer; "
                "this project knows DeepSpeed 0.19. Install that, or use engine='local'."
            )
        self._engine = engine
        if engine.zero_optimization_partition_weights():
            # Each chunk of logits would gather weights, and processes have different numbers.
            self.network.max_logits = sys.maxsize
        self._store = WeightStore(self.network)
        if engine.zero_optimization():
            rank = process_group.rank()
            self._store = ShardedStore(self.network, engine.optimizer, _SHARDS, rank)
        self._store.discard_gradients(optimizer)

    def _join(self) -> None:
        """Join the other processes, or a group of this one alone."""
        accelerator = get_accelerator()
        if process_group.num_processes() > 1 and self.device.type != "cpu":
            accelerator.set_device(process_group.local_rank())
        process_group.join(accelerator.communication_backend_name())

    def _accumulate(self, loss: torch.Tensor) -> None:
        # DeepSpeed divides by the number of processes; the caller's loss is already normalised.
        # Nor is it divided by the number of micro-batches.
        loss = loss * process_group.num_processes()
        self.engine.backward(loss, scale_wrt_gas=False)

    def _apply(self, max_grad_norm: float) -> float:
        self.engine.step()
        return self.engine.grad_norm

    def _trained_network(self) -> nn.Module:
        if self._engine is None or self._store.is_gathered:
            return self.network  # evaluating needs no optimizer
        trained: nn.Module = self._engine
        return trained

    def _set_mode(self, *, is_training: bool) -> None:
        if self._engine is None:
            self.network.train(is_training)
        elif is_training:
            self._engine.train()
        else:
            self._engine.eval()


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
