"""TRL's GRPO and RLOO trainers as peers: generate, score, one update, again and again.

The settings are ours, where the trainers have them: same model, prompts, group size, reply length,
optimizer, no reference model (`beta=0`), no vLLM, no gradient checkpointing, weights of the dtype
that is measured without autocast. Everything else is TRL's default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from datasets import Dataset
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_config import RLOOConfig
from trl.trainer.rloo_trainer import RLOOTrainer

from agents.engine.language_model import TrainingConfig
from benchmarks.shape import Shape
from benchmarks.token_task import share_of_even_ids
from benchmarks.workload import Ids

__all__ = ["StepClock", "TRAINERS", "id_tokenizer", "loss_inputs", "make_trainer"]

TRAINERS: dict[str, tuple[type[Any], type[Any]]] = {
    "trl-grpo": (GRPOTrainer, GRPOConfig),
    "trl-rloo": (RLOOTrainer, RLOOConfig),
}


def id_tokenizer(num_ids: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose words are the ids themselves: "17 403" is [17, 403].

    So that prompts have exactly the length that we want. Its end-of-sequence id, which is its
    padding too, is one that the model does not have: replies have their full length, and padding,
    of which there must be none, would be an index error.
    """
    # Special tokens are found inside words too, so none may be written with digits.
    words = {str(i): i for i in range(num_ids)} | {"<end>": num_ids}
    inner = tokenizers.Tokenizer(WordLevel(words, unk_token="0"))
    inner.pre_tokenizer = WhitespaceSplit()
    wrap: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerFast = wrap(
        tokenizer_object=inner,
        eos_token="<end>",
        pad_token="<end>",
        padding_side="left",
    )
    return tokenizer


class StepClock(TrainerCallback):
    """Times each step of a trainer, and does something else between two steps.

    Args:
        now: the time.
        between: called after each step, off the clock.
    """

    def __init__(self, now: Callable[[], float], between: Callable[[], None]) -> None:
        self.seconds: list[float] = []
        self._now = now
        self._between = between
        self._began = 0.0

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        """Start the clock of the first step."""
        self._began = self._now()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: Any,
    ) -> None:
        """Stop the clock, do the other thing, and start it again."""
        self.seconds.append(self._now() - self._began)
        self._between()
        self._began = self._now()


def make_trainer(
    name: str,
    model: PreTrainedModel,
    shape: Shape,
    prompts: Sequence[Ids],
    *,
    config: TrainingConfig,
    num_steps: int,
    directory: Path,
    callback: TrainerCallback | None = None,
) -> Any:
    """Return a trainer that makes `num_steps` updates of `shape.num_rows` replies each.

    Args:
        name: a key of `TRAINERS`.
        model: is trained in place.
        shape: rows, group and lengths.
        prompts: distinct ones, of which each update takes rows / group size.
        config: optimizer settings.
        num_steps: updates of `trainer.train()`.
        directory: nothing is written there, but the trainer wants one.
        callback: told of each step.
    """
    trainer_class, config_class = TRAINERS[name]
    is_cpu = next(model.parameters()).device.type == "cpu"
    arguments = config_class(
        **_optimizer(config),
        output_dir=str(directory),
        per_device_train_batch_size=shape.num_rows,
        gradient_accumulation_steps=1,
        num_generations=shape.group_size,
        max_completion_length=shape.reply_length,
        num_iterations=1,
        max_steps=num_steps,
        beta=0.0,
        temperature=1.0,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=is_cpu,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    trainer = trainer_class(
        model=model,
        reward_funcs=_share_of_even_ids,
        args=arguments,
        train_dataset=_dataset(prompts),
        processing_class=id_tokenizer(shape.fields["vocab_size"]),
        callbacks=[] if callback is None else [callback],
    )
    trainer.remove_callback(PrinterCallback)  # it prints its figures to our table
    return trainer


def _optimizer(config: TrainingConfig) -> dict[str, Any]:
    return {
        "optim": "adamw_torch",
        "lr_scheduler_type": "constant",
        "learning_rate": config.learning_rate,
        "weight_decay": config.weight_decay,
        "adam_beta1": config.betas[0],
        "adam_beta2": config.betas[1],
        "adam_epsilon": config.epsilon,
        "max_grad_norm": config.max_grad_norm,
    }


def _dataset(prompts: Sequence[Ids]) -> Dataset:
    texts = [" ".join(map(str, prompt.tolist())) for prompt in prompts]
    return Dataset.from_dict({"prompt": texts})


def _share_of_even_ids(
    completion_ids: Sequence[Sequence[int]], **_: Any
) -> list[float]:
    return [share_of_even_ids(ids) for ids in completion_ids]


def loss_inputs(
    prompts: Sequence[Ids], replies: Sequence[Ids], advantages: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return what `GRPOTrainer.compute_loss` takes: equally long prompts and replies."""
    device = advantages.device
    prompt_ids = torch.from_numpy(np.stack(prompts)).to(device)
    completion_ids = torch.from_numpy(np.stack(replies)).to(device)
    return {
        "prompt_ids": prompt_ids,
        "prompt_mask": torch.ones_like(prompt_ids),
        "completion_ids": completion_ids,
        "completion_mask": torch.ones_like(completion_ids),
        "advantages": advantages,
        "num_items_in_batch": torch.tensor(completion_ids.numel(), device=device),
    }
