"""The training step and the whole step, side by side: ours, a plain loop, TRL.

The training step is one update on replies that are there already. The whole step generates, scores
and updates; TRL's is timed inside one `trainer.train()`, and ours runs between its steps, so that
the two take turns.
"""

from __future__ import annotations

import copy
import importlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from agents.engine.causal_lm import CausalLM
from agents.engine.language_model import Generation, TrainingConfig
from agents.experience.rollout import Rollout
from benchmarks.decoding import now, our_generations
from benchmarks.measurement import Comparison, check_pairs
from benchmarks.shape import Shape
from benchmarks.token_task import BareREINFORCE, make_task, share_of_even_ids
from benchmarks.workload import Ids, fixed_plan, make_rollout

__all__ = [
    "OPTIMIZER",
    "Replies",
    "algorithm_of",
    "interleave",
    "our_update",
    "plain_update",
    "task_prompts",
    "trl_update",
    "twin",
]

# The weights move by next to nothing, so that every pair trains the same model.
OPTIMIZER = TrainingConfig(learning_rate=1e-6)


def algorithm_of(lm: CausalLM, shape: Shape) -> BareREINFORCE:
    """Return our side: REINFORCE with a leave-one-out baseline, which is RLOO."""
    return BareREINFORCE(
        lm,
        make_task(shape),
        num_envs=shape.num_rows,
        num_episodes=shape.num_rows,
        group_size=shape.group_size,
        learning_rate=OPTIMIZER.learning_rate,
        weight_decay=OPTIMIZER.weight_decay,
        max_grad_norm=OPTIMIZER.max_grad_norm,
    )


class Replies:
    """Replies of full length, drawn once, that every side trains on.

    Args:
        lm: draws them.
        shape: rows, groups and lengths.
    """

    def __init__(self, lm: CausalLM, shape: Shape) -> None:
        plan = fixed_plan(shape, seed=0)
        generator = torch.Generator(device=lm.device).manual_seed(0)
        self.contexts: Sequence[Ids] = plan.news[0]
        self.generation: Generation
        (self.generation,) = our_generations(lm, plan, generator)
        rewards = [share_of_even_ids(reply.tolist()) for reply in self.ids]
        self.rollout: Rollout = make_rollout(
            self.contexts, self.generation, shape.group_size, np.array(rewards)
        )
        self.num_tokens = int(self.generation.lengths.sum())

    @property
    def ids(self) -> list[Ids]:
        """The replies."""
        return [self.generation.reply(n) for n in range(len(self.contexts))]


def our_update(algorithm: BareREINFORCE, replies: Replies) -> Callable[[], float]:
    """Return a measurement of our update: seconds a trained token."""
    device = algorithm.lm.device

    def measure() -> float:
        began = now(device)
        algorithm.update(replies.rollout)
        return (now(device) - began) / replies.num_tokens

    return measure


def plain_update(model: PreTrainedModel, replies: Replies) -> Callable[[], float]:
    """Return the same of a plain loop: one forward over all, logits of the replies, AdamW.

    It is what a careful author writes by hand: logits at the replies' places alone
    (`logits_to_keep`), one micro-batch, no padding (all rows are equally long).
    """
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=OPTIMIZER.learning_rate, weight_decay=0.0
    )
    ids = np.stack([np.concatenate(p) for p in zip(replies.contexts, replies.ids)])
    ids_NS = torch.from_numpy(ids).to(device)
    num_reply = len(replies.ids[0])
    advantages_N1 = _advantages(replies, device)[:, None]

    def measure() -> float:
        began = now(device)
        model.train()
        output: Any = model(
            input_ids=ids_NS, use_cache=False, logits_to_keep=num_reply + 1
        )
        log_probs_NRV = output.logits[:, :-1].float().log_softmax(-1)
        said_NR1 = ids_NS[:, -num_reply:, None]
        log_probs_NR = log_probs_NRV.gather(-1, said_NR1).squeeze(-1)
        loss = -(advantages_N1 * log_probs_NR).mean()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return (now(device) - began) / replies.num_tokens

    return measure


def trl_update(
    model: PreTrainedModel, shape: Shape, replies: Replies
) -> Callable[[], float]:
    """Return the same of `GRPOTrainer`: its loss on the same replies, its optimizer's step."""
    peer = importlib.import_module("benchmarks.trl_peer")
    device = next(model.parameters()).device
    with tempfile.TemporaryDirectory() as directory:
        trainer = peer.make_trainer(
            "trl-grpo",
            model,
            shape,
            replies.contexts,
            config=OPTIMIZER,
            num_steps=1,
            directory=Path(directory),
        )
    optimizer = trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = 1
    advantages_N = _advantages(replies, device)
    inputs = peer.loss_inputs(replies.contexts, replies.ids, advantages_N)

    def measure() -> float:
        began = now(device)
        model.train()
        loss = trainer.compute_loss(model, inputs)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return (now(device) - began) / replies.num_tokens

    return measure


def _advantages(replies: Replies, device: torch.device) -> torch.Tensor:
    """Return (N,) rewards less their mean; which advantages they are costs nothing."""
    rewards = [episode.total_reward for episode in replies.rollout]
    rewards_N = torch.tensor(rewards, dtype=torch.float32, device=device)
    return rewards_N - rewards_N.mean()


def interleave(
    name: str,
    lm: CausalLM,
    model: PreTrainedModel,
    shape: Shape,
    num_pairs: int,
) -> Comparison:
    """Return whole steps of ours and of a TRL trainer, in turns, in seconds a reply token.

    Two rounds come first and do not count: the trainer's first steps are slower than the rest.

    Args:
        name: "trl-grpo" or "trl-rloo".
        lm: ours, trained in place.
        model: theirs, with the same weights, trained in place.
        shape: rows, groups and lengths.
        num_pairs: rounds that count, at least five.
    """
    check_pairs(num_pairs)
    num_warm = 2
    peer = importlib.import_module("benchmarks.trl_peer")
    algorithm = algorithm_of(lm, shape)
    ours: list[float] = []

    def our_step() -> None:
        began = now(lm.device)
        report = algorithm.iterate()
        seconds = now(lm.device) - began
        if report.metrics["reply_tokens"] != shape.num_tokens:
            raise RuntimeError(
                f"Our step made {report.metrics['reply_tokens']:.0f} tokens instead of "
                f"{shape.num_tokens}: the two sides would not have done the same work."
            )
        ours.append(seconds / shape.num_tokens)

    clock = peer.StepClock(lambda: now(lm.device), our_step)
    with tempfile.TemporaryDirectory() as directory:
        trainer = peer.make_trainer(
            name,
            model,
            shape,
            task_prompts(shape, (num_warm + num_pairs) * shape.num_rows),
            config=OPTIMIZER,
            num_steps=num_warm + num_pairs,
            directory=Path(directory),
            callback=clock,
        )
        trainer.train()
    theirs = [seconds / shape.num_tokens for seconds in clock.seconds]
    return Comparison({"ours": ours[num_warm:], name: theirs[num_warm:]})


def task_prompts(shape: Shape, num_prompts: int) -> list[Ids]:
    """Return prompts as the environment of our side draws them."""
    rng = np.random.default_rng(0)
    size = (num_prompts, shape.prompt_length)
    return list(rng.integers(shape.fields["vocab_size"], size=size))


def twin(model: PreTrainedModel) -> PreTrainedModel:
    """Return a model with weights of its own that are the same."""
    return copy.deepcopy(model)
