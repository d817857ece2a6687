"""A reward model learns from pairs: -log P(the better reply wins), Bradley and Terry (1952).

    loss = -log sigmoid(r_c - r_r - w m)

with r_c and r_r the scores of the better and the other reply to one prompt (Ouyang et al. 2022,
arXiv:2203.02155, eq. 1) and m the margin by which the one is better (Touvron et al. 2023,
arXiv:2307.09288, eq. 2), of weight w. The network begins as a policy, whose value head becomes the
scalar head and starts at 0 everywhere.

Shape legend: B pairs of a batch, N pairs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from agents.engine.causal_lm import CausalLM
from agents.engine.language_model import TrainingConfig
from agents.engine.reply_scorer import TokenReply
from agents.experience.seeding import numpy_generator
from agents.hyperparameter import build_config, check_hyperparameters, hyperparameter
from agents.imitation import ramped_rate
from agents.observer import Observer
from agents.reliability import Reliability, measure_reliability
from agents.reward_model import RewardModel
from chat_envs.preference_pair import PreferencePair
from chat_envs.simulators.preference_model import NGramReward
from chat_envs.tokenizer import Tokenizer

__all__ = [
    "RewardModelConfig",
    "RewardModeling",
    "RewardModelingResult",
    "bradley_terry_loss",
    "margins_of",
    "ngram_margins",
    "train_reward_model",
]

_NUM_REFERENCES = 1_000  # pairs of which both replies give the mean and deviation


@dataclass(frozen=True, kw_only=True)
class RewardModelConfig:
    """Hyperparameters of `RewardModeling`; the defaults suit the model `tiny`.

    A pretrained model wants a smaller `learning_rate`, 1e-5 say, and one epoch.
    """

    num_epochs: int = hyperparameter(2, "how often each pair is seen", low=1)
    batch_size: int = hyperparameter(32, "pairs of one optimizer step", low=1)
    learning_rate: float = hyperparameter(
        1e-3, "AdamW's peak step size; 0 is a control", low=0
    )
    num_warmup_steps: int = hyperparameter(
        20,
        "the step size rises linearly so long, then falls linearly to 0",
        unit="steps",
        low=0,
    )
    weight_decay: float = hyperparameter(0.01, "decoupled weight decay", low=0)
    max_grad_norm: float = hyperparameter(
        1.0, "the gradient's norm is clipped to this", low=0, is_low_open=True
    )
    margin_weight: float = hyperparameter(
        0.0, "w: how much of a pair's margin the scores must differ by", low=0
    )
    token_budget: int = hyperparameter(
        16_384, "most tokens of one forward", unit="tokens", low=1
    )
    seed: int = hyperparameter(0, "source of all randomness", low=0)

    def __post_init__(self) -> None:
        check_hyperparameters(self)


def bradley_terry_loss(
    chosen_B: torch.Tensor,
    rejected_B: torch.Tensor,
    margins_B: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return (B,) -log sigmoid(r_c - r_r - m), in nats.

    Args:
        chosen_B: scores of the better replies.
        rejected_B: scores of the others.
        margins_B: by how much the scores must differ; None for 0.

    >>> bradley_terry_loss(torch.tensor([2.0]), torch.tensor([2.0]))
    tensor([0.6931])
    """
    difference_B = chosen_B - rejected_B
    if margins_B is not None:
        difference_B = difference_B - margins_B
    return functional.softplus(-difference_B)


@dataclass(frozen=True)
class RewardModelingResult:
    """What `train_reward_model` returns.

    Attributes:
        model: the trained reward model, normalised on replies of the training pairs.
        reliability: accuracy and calibration on the held-out pairs; None without any.
        losses: mean loss of each epoch, as it was trained.
        config: the hyperparameters.
        num_pairs: how many it learned from.
    """

    model: RewardModel
    reliability: Reliability | None
    losses: tuple[float, ...]
    config: RewardModelConfig
    num_pairs: int

    def notes(self) -> dict[str, Any]:
        """Return plain JSON for `RewardModel.save`."""
        found = self.reliability
        return {
            "num_train_pairs": self.num_pairs,
            "losses": list(self.losses),
            "config": dataclasses.asdict(self.config),
            "held_out": None if found is None else found.as_dict(),
        }


class RewardModeling:
    """Trains the scalar head of a language model, and all its weights, on pairs.

    Every draw is a function of (seed, epoch), so the same pairs give the same weights on one
    machine.

    Args:
        lm: where the weights begin; it is trained in place. Its value head starts at 0 again.
        tokenizer: the model's own.
        pairs: what to learn from.
        config: hyperparameters.

    Raises:
        ValueError: there is no pair, or no value head.
    """

    def __init__(
        self,
        lm: CausalLM,
        tokenizer: Tokenizer,
        pairs: Sequence[PreferencePair],
        config: RewardModelConfig,
    ) -> None:
        if not pairs:
            raise ValueError("A reward model needs at least one pair.")
        lm.check_processes()
        self.model = RewardModel.of(lm, tokenizer, batch_tokens=config.token_budget)
        self.config = config
        self.step = 0
        self._lm = lm
        head = lm.network.value_head
        assert head is not None  # `RewardModel.of` has made sure
        with torch.no_grad():
            head.weight.zero_()
            head.bias.zero_()
        lm.configure_training(
            TrainingConfig(
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                max_grad_norm=config.max_grad_norm,
            )
        )
        encode = self.model.encode
        self._chosen = [encode(p.prompt, p.chosen) for p in pairs]
        self._rejected = [encode(p.prompt, p.rejected) for p in pairs]
        self._margins = [config.margin_weight * p.margin for p in pairs]
        batches_an_epoch = -(-len(pairs) // config.batch_size)
        self.num_steps = config.num_epochs * batches_an_epoch

    def train_epoch(self, epoch: int, observer: Observer | None = None) -> float:
        """See every pair once, in the order of this epoch; return the mean loss."""
        rng = numpy_generator(self.config.seed, "minibatch", epoch)
        order = rng.permutation(len(self._chosen))
        total = 0.0
        for begin in range(0, len(order), self.config.batch_size):
            rows = order[begin : begin + self.config.batch_size]
            total += self.update(rows)
            if observer is not None:
                words = f"loss {total / (begin + len(rows)):.3f}"
                observer.advance(self.step, words)
        return total / len(order)

    def update(self, rows: npt.NDArray[np.int64]) -> float:
        """Take one step on the mean loss of some pairs; return the sum of their losses."""
        total = 0.0
        self._lm.set_learning_rate(self.learning_rate())
        for part in self._cuts(rows):
            replies = [side[row] for row in part for side in self._sides()]
            scores = self.model.token_scores(replies)
            margins = torch.tensor(
                [self._margins[row] for row in part], device=scores.device
            )
            losses = bradley_terry_loss(scores[0::2], scores[1::2], margins)
            self._lm.backward(losses.sum() / len(rows))
            total += float(losses.detach().sum())
        self._lm.step()
        self.step += 1
        return total

    def _sides(self) -> tuple[Sequence[TokenReply], Sequence[TokenReply]]:
        return self._chosen, self._rejected

    def learning_rate(self) -> float:
        """Return the step size of the present step."""
        return ramped_rate(
            self.step + 1,
            peak=self.config.learning_rate,
            num_warmup_steps=self.config.num_warmup_steps,
            num_steps=self.num_steps,
        )

    def _cuts(self, rows: npt.NDArray[np.int64]) -> list[list[int]]:
        """Return the pairs in parts of at most `token_budget` tokens, padding included."""

        def length(row: int) -> int:
            return max(len(self._chosen[row][0]), len(self._rejected[row][0]))

        parts: list[list[int]] = [[]]
        for row in sorted(
            rows.tolist(), key=length
        ):  # the longest of a part is its last
            if parts[-1] and 2 * (len(parts[-1]) + 1) * length(row) > (
                self.config.token_budget
            ):
                parts.append([])
            parts[-1].append(row)
        return parts


def train_reward_model(
    lm: CausalLM,
    tokenizer: Tokenizer,
    pairs: Sequence[PreferencePair],
    valid: Sequence[PreferencePair] = (),
    config: RewardModelConfig | None = None,
    *,
    observer: Observer | None = None,
    **hyperparameters: Any,
) -> RewardModelingResult:
    """Return a reward model that learned from `pairs`, and how good it is on `valid`.

    Args:
        lm: where the weights begin, with a value head; it is trained in place.
        tokenizer: the model's own.
        pairs: what to learn from.
        valid: held-out pairs, at least 2; empty for no measurement.
        config: hyperparameters.
        observer: told how it goes.
        **hyperparameters: fields of `RewardModelConfig`, over those of `config`.

    Raises:
        ValueError, TypeError: bad hyperparameters, no pairs, no value head.
    """
    base = {} if config is None else dataclasses.asdict(config)
    config = build_config(RewardModelConfig, base | hyperparameters)
    observer = observer or Observer()
    training = RewardModeling(lm, tokenizer, pairs, config)
    observer.begin("reward model", training.num_steps, "steps")
    losses = [training.train_epoch(n, observer) for n in range(config.num_epochs)]
    observer.end()
    model = training.model
    references = [
        (pair.prompt, reply)
        for pair in pairs[:_NUM_REFERENCES]
        for reply in (pair.chosen, pair.rejected)
    ]
    model.normalise(references)
    found = None
    if valid:
        found = measure_reliability(margins_of(model, valid), seed=config.seed)
    return RewardModelingResult(model, found, tuple(losses), config, len(pairs))


def ngram_margins(
    reward: NGramReward, pairs: Sequence[PreferencePair]
) -> npt.NDArray[np.float64]:
    """Return (N,) differences of logits, chosen less rejected: not normalised."""
    return np.array(
        [
            reward.logit(pair.prompt, pair.chosen)
            - reward.logit(pair.prompt, pair.rejected)
            for pair in pairs
        ]
    )


def margins_of(
    model: RewardModel, pairs: Sequence[PreferencePair]
) -> npt.NDArray[np.float64]:
    """Return (N,) r_c - r_r of pairs, in nats: not normalised."""
    raw = model.raw_scores(
        [
            (pair.prompt, reply)
            for pair in pairs
            for reply in (pair.chosen, pair.rejected)
        ]
    )
    margins: npt.NDArray[np.float64] = raw[0::2] - raw[1::2]
    return margins
