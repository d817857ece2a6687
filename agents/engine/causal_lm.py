"""What every engine shares: generation, evaluation, the reference, saving.

`LocalLM` and `HybridEngineLM` differ in how gradients become weights, and in nothing else.

Shape legend: B sequences, S tokens of a sequence (right-padded), N action tokens, V vocabulary.
"""

from __future__ import annotations

import abc
import importlib
import math
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from agents.engine.adapter import has_adapter, without_adapter
from agents.engine.context_length import context_length_of
from agents.engine.decoder import CachedDecoder
from agents.engine.evaluation import check_batch, evaluate
from agents.engine.language_model import Evaluation, TokenBatch, TrainingConfig
from agents.engine.network import (
    CausalNetwork,
    disable_dropout,
    num_input_ids,
    output_layer,
)
from agents.engine.optimizer import (
    build_adamw,
    learning_rates,
    set_learning_rates,
)
from agents.engine.packed_attention import packed_attention_of
from agents.engine.probe import check_family, probe
from agents.engine.process_group import agree, barrier, rank
from agents.engine.reference import frozen_copy
from agents.engine.runner import run_on
from agents.engine.saved_state import (
    AVERAGE_FILE,
    OPTIMIZER_FILE,
    RECORD_FILE,
    VALUE_HEAD_FILE,
    parts_of,
    read_state,
)
from agents.engine.state_file import (
    TrainingRecord,
    load_module,
    module_state,
    read_tensors,
    write_tensors,
)
from agents.engine.traced_step import StepTraces
from agents.engine.value_head import ValueHead
from agents.engine.weight_average import WeightAverage
from agents.engine.weight_store import WeightStore

__all__ = ["CausalLM"]


class CausalLM(abc.ABC):
    """A `LanguageModel` but for its optimizer.

    Args:
        module: any transformers causal language model; its dropout is turned off.
        name: what errors and reports call it.
        vocab_size: ids that may be produced; None allows every id of the output layer.
        has_value_head: give it a critic, whose values start at 0.

    Raises:
        ValueError: the vocabulary does not fit, or the family cannot be decoded (see `probe`).
    """

    def __init__(
        self,
        module: PreTrainedModel,
        *,
        name: str,
        vocab_size: int | None = None,
        has_value_head: bool = False,
    ) -> None:
        check_family(module)
        self.name = name
        self.module = module
        disable_dropout(module)
        self.device = next(module.parameters()).device
        if vocab_size is None:
            vocab_size = min(
                output_layer(module).weight.shape[0], num_input_ids(module)
            )
        self.vocab_size = vocab_size
        self.context_length = context_length_of(module)
        self.network = CausalNetwork(module, self.vocab_size)
        if has_value_head:
            width = self.network.hidden_width
            self.network.value_head = ValueHead(width).to(self.device)
        probe(self.network, self.context_length)
        self.network.train()
        self._store = WeightStore(self.network)
        self._traces = StepTraces()
        self._reference: CausalNetwork | None = None
        self._average: WeightAverage | None = None
        self._num_updates = 0
        self._optimizer: torch.optim.AdamW | None = None
        self._config: TrainingConfig | None = None
        self._has_gradient = False

    @contextmanager
    def decoder(self, num_slots: int) -> Iterator[CachedDecoder]:
        """Return a context manager: eval mode, and caches for `num_slots` dialogues."""
        with self._store.gathered():
            # Hooks that gather weights are no part of a step and cannot be traced.
            traces = None if self._store.is_gathered else self._traces
            decoder = CachedDecoder(
                self.network,
                num_slots,
                context_length=self.context_length,
                version=self._weights_version,
                runner=partial(run_on, traces=traces),
            )
            was_training = self.network.training
            self._set_mode(is_training=False)
            try:
                yield decoder
            finally:
                decoder.close()
                self._set_mode(is_training=was_training)

    def forbid(self, ids: Sequence[int]) -> None:
        """Give these ids probability 0 in decoder and trainer alike."""
        self.network.forbid(ids)
        if self._reference is not None and self._reference is not self.network:
            self._reference.forbid(ids)

    def evaluate(self, batch: TokenBatch, *, temperature: float = 1.0) -> Evaluation:
        """Return log-probs, entropy and values of `batch`, with gradients unless disabled.

        Raises:
            ValueError: rows longer than the model's context, an action mask past a row's length
                or at its first token, or an action that the vocabulary mask forbids.
        """
        check_batch(batch, self.context_length, self.network)
        return evaluate(self._trained_network(), batch, temperature)

    def freeze_reference(self) -> None:
        """Remember the weights of now as the reference model (a frozen copy).

        Where adapters are trained there is no copy: the reference is the model without them,
        whatever they say by now.
        """
        if has_adapter(self.module):
            self._reference = self.network
            return
        self._reference = frozen_copy(self.network)
        with self._store.gathered():
            tensors = module_state(self.module)
            load_module(self._reference.language_model, tensors, Path(self.name))

    def reference_log_probs(
        self, batch: TokenBatch, *, temperature: float = 1.0
    ) -> torch.Tensor:
        """Return (B, S) float32 log-probs under the reference, without gradient, 0 off the mask.

        Raises:
            RuntimeError: `freeze_reference` has not been called.
        """
        if self._reference is None:
            raise RuntimeError(
                "There is no reference yet: call freeze_reference() at the weights to stay near."
            )
        check_batch(batch, self.context_length, self.network)
        with torch.no_grad(), without_adapter(self.module):
            return evaluate(self._reference, batch, temperature).log_probs

    def save_pretrained(self, directory: Path) -> None:
        """Write a plain Hugging Face directory (config + safetensors) that `load_lm` reads back.

        Adapters are merged into it, rounded once; `adapter/` in it has them alone and exactly, for
        `load_lm(base, lora=directory / "adapter")`.
        """
        directory = Path(directory)
        with self._store.gathered():
            if rank() == 0 and has_adapter(self.module):
                # By name: peft is optional and takes seconds to import.
                lora = importlib.import_module("agents.engine.lora")
                lora.save_merged(self.module, directory)
                lora.save_adapter(self.module, directory / "adapter")
            elif rank() == 0:
                self.module.save_pretrained(directory)
            if rank() == 0:
                if self.network.value_head is not None:
                    tensors = module_state(self.network.value_head)
                    write_tensors(directory / VALUE_HEAD_FILE, tensors)
        barrier()

    def load_value_head(self, path: Path) -> None:
        """Take the critic's weights from a file that `save_pretrained` wrote."""
        if self.network.value_head is None:
            raise ValueError(
                f"{self.name} has no value head; load it with has_value_head=True."
            )
        self._store.set_weights(self.network.value_head, read_tensors(path), path)

    def save(self, directory: Path) -> None:
        """Write all that training needs: weights, value head, reference, optimizer.

        The files are the same whatever the engine, so another engine can go on from them.

        Raises:
            RuntimeError: `configure_training` has not been called.
        """
        optimizer, _ = self._ready()
        directory = Path(directory)
        parts = parts_of(self.network, self._reference)
        files = {name: self._store.weights(part) for name, part in parts.items()}
        files[OPTIMIZER_FILE] = self._store.moments(optimizer)
        if self._average is not None:
            files[AVERAGE_FILE] = self._average.tensors
        record = TrainingRecord(
            has_value_head=self.network.value_head is not None,
            has_reference=self._reference is not None,
            num_updates=self._num_updates,
            learning_rates=learning_rates(optimizer),
        )
        if rank() == 0:
            directory.mkdir(parents=True, exist_ok=True)
            for name, tensors in files.items():
                write_tensors(directory / name, tensors)
            record.write(directory / RECORD_FILE)
        barrier()

    def load(self, directory: Path) -> None:
        """Restore what `save` wrote, bit for bit; configure_training must have been called.

        With several processes all of them read the files, or none changes anything.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: a file is damaged, or belongs to another model; the file is named, and
                nothing has changed.
        """
        optimizer, _ = self._ready()
        directory = Path(directory)
        try:
            saved = read_state(directory, self.network, self._store, self._average)
        except (OSError, ValueError) as error:
            agree(error)
            raise
        agree(None)
        for name, part in parts_of(self.network, saved.reference).items():
            self._store.set_weights(part, saved.files[name], directory / name)
        self._store.discard_gradients(optimizer)
        self._store.set_moments(optimizer, saved.moments)
        set_learning_rates(optimizer, *saved.record.learning_rates)
        if self._average is not None:
            self._average.set(saved.average)
        self._reference = saved.reference
        self._num_updates = saved.record.num_updates
        self._has_gradient = False

    def check_processes(self) -> None:  # noqa: B027 - most engines take any number
        """Raise ValueError where the engine cannot train in as many processes as there are."""

    def configure_training(self, config: TrainingConfig) -> None:
        """Build optimizer state, before the first `backward`; calling again starts afresh.

        Raises:
            ValueError: the engine does not know some of `config.engine_options`.
        """
        optimizer = build_adamw(self.network, config)
        self._attach(optimizer, config)
        self._optimizer, self._config = optimizer, config
        self._has_gradient = False
        self._average = None
        if config.ema_decay:
            self._average = WeightAverage(self.network, self._store, config.ema_decay)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Return a block that decodes, evaluates and saves as a model with the averaged weights.

        Training and `save` wait until it has ended; `save_pretrained` writes the average.

        Raises:
            RuntimeError: TrainingConfig.ema_decay keeps no average.
        """
        if self._average is None:
            raise RuntimeError(
                "There is no average of the weights: configure_training with ema_decay above 0."
            )
        with self._average.swapped():
            yield

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate gradients of `loss` (already normalised by the caller: no rescaling here).

        Raises:
            RuntimeError: `configure_training` has not been called.
            ValueError: `loss` is not one number with a gradient.
        """
        self._ready()
        if loss.numel() != 1 or not loss.requires_grad:
            raise ValueError(
                f"backward() takes one number that depends on the weights, got shape "
                f"{tuple(loss.shape)}, requires_grad={loss.requires_grad}. Was it computed under "
                "no_grad, or from a batch without actions?"
            )
        # Activations that were not kept are computed anew in here.
        with packed_attention_of(self.module):
            self._accumulate(loss)
        self._has_gradient = True

    def step(self) -> float:
        """Clip, update the weights, clear the gradients; return the norm before clipping.

        Raises:
            RuntimeError: there is no gradient: `backward` was not called since the last step.
            FloatingPointError: the gradient is not finite; the weights are left alone.
        """
        optimizer, config = self._ready()
        if not self._has_gradient:
            raise RuntimeError(
                "step() without backward(): there is no gradient to apply."
            )
        self._has_gradient = False
        try:
            norm = self._apply(config.max_grad_norm)
        finally:
            self._store.discard_gradients(optimizer)
        self._num_updates += 1
        if self._average is not None:
            self._average.update()
        return norm

    def set_learning_rate(self, learning_rate: float) -> None:
        """Change the step size from now on.

        The value head follows unless `value_learning_rate` gave it a step size of its own.

        Raises:
            ValueError: it is negative or not finite.
        """
        optimizer, config = self._ready()
        if not 0 <= learning_rate < math.inf:
            raise ValueError(
                f"learning_rate must be finite and at least 0, got {learning_rate}."
            )
        _, critic = learning_rates(optimizer)
        follows = config.value_learning_rate is None
        set_learning_rates(
            optimizer, learning_rate, learning_rate if follows else critic
        )

    @abc.abstractmethod
    def _attach(self, optimizer: torch.optim.AdamW, config: TrainingConfig) -> None:
        """Get ready to train with `optimizer`, which holds the live parameters."""

    @abc.abstractmethod
    def _accumulate(self, loss: torch.Tensor) -> None:
        """Add the gradients of `loss` to those of the parameters."""

    @abc.abstractmethod
    def _apply(self, max_grad_norm: float) -> float:
        """Clip the gradients, update the weights; return the norm before clipping."""

    def _ready(self) -> tuple[torch.optim.AdamW, TrainingConfig]:
        if self._optimizer is None or self._config is None:
            raise RuntimeError(
                "There is no optimizer yet: call configure_training(TrainingConfig(...)) first."
            )
        if self._average is not None and self._average.is_swapped:
            raise RuntimeError(
                "The averaged weights are in: leave the block of averaged_weights() first."
            )
        return self._optimizer, self._config

    def _trained_network(self) -> nn.Module:
        """Return what must be called for a forward that will be trained through."""
        return self.network

    def _set_mode(self, *, is_training: bool) -> None:
        self.network.train(is_training)

    def _weights_version(self) -> Hashable:
        """Return something that changes whenever a weight does: caches of other weights are stale.

        Torch counts in-place writes of a tensor itself; its address changes where `.data` is
        replaced; the number of updates covers engines that write through aliases, which both miss.
        """
        writes = [(p.data_ptr(), p._version) for p in self.module.parameters()]
        return self._num_updates, *writes
