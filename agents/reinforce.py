"""REINFORCE (Williams 1992) with a choice of baselines, RLOO and ReMax among them.

One update: the returns of a rollout minus a baseline weigh the gradient of the log-probs of every
token that the agent wrote; one optimizer step over the whole rollout, so the data is exactly on
policy and no ratio is needed.

Shape legend: N episodes of a rollout, B of a micro-batch, K action tokens, T turns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, get_args

import numpy as np
import torch

from agents.algorithm import Algorithm
from agents.algorithm_config import AlgorithmConfig
from agents.experience.micro_batch import micro_batches
from agents.experience.rollout import ActionTokens, Rollout, gather_actions
from agents.experience.summary import describe_drift, measure_agreement
from agents.experience.tally import Tally
from agents.hyperparameter import hyperparameter
from agents.objective.advantage import (
    Baseline,
    Credit,
    discounted_returns,
    known_returns,
    subtract_baseline,
    whiten,
)
from agents.objective.kl import estimate_kl
from agents.objective.loss import (
    Aggregation,
    entropy_loss,
    policy_gradient_loss,
    token_weights,
    weighted_sum,
)

__all__ = ["REINFORCE", "REINFORCEConfig"]


@dataclass(frozen=True, kw_only=True)
class REINFORCEConfig(AlgorithmConfig):
    """Hyperparameters of `REINFORCE`; the defaults suit the model `tiny`."""

    learning_rate: float = hyperparameter(
        5e-4, "AdamW's step size; 0 is a control", low=0
    )
    baseline: Baseline = hyperparameter(
        "leave_one_out", "what a return is compared with", choices=get_args(Baseline)
    )
    credit: Credit = hyperparameter(
        "episode",
        "a token is paid the return of its whole episode, or from its own turn on",
        choices=get_args(Credit),
    )
    is_whitened: bool = hyperparameter(
        False, "shift and scale the advantages to mean 0, variance 1"
    )
    aggregation: Aggregation = hyperparameter(
        "token_mean",
        "how tokens are weighed in the loss",
        choices=get_args(Aggregation),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.baseline == "leave_one_out" and self.group_size < 2:
            raise ValueError(
                "baseline='leave_one_out' compares episodes of one group, so group_size must be at "
                f"least 2, got {self.group_size}."
            )


class REINFORCE(Algorithm):
    """REINFORCE over whole dialogues; see `Algorithm` for the arguments."""

    config_class: ClassVar[type[AlgorithmConfig]] = REINFORCEConfig
    config: REINFORCEConfig

    def update(self, rollout: Rollout) -> Tally:
        """Take one policy gradient step; return what was measured on the way."""
        config, lm = self.config, self.lm
        actions = rollout.actions(lm.device)
        reference_NK = self.reference_log_probs(rollout, actions)
        tally = describe_drift(actions, reference_NK)
        advantages_NK, mask_NK = self.advantages(rollout, actions, reference_NK)
        num_tokens, num_episodes = int(mask_NK.sum()), int(mask_NK.any(1).sum())
        tally.add_total("trained_tokens", num_tokens)
        if num_tokens == 0:  # every reward is unknown: there is nothing to learn from
            return tally

        measured = Tally()
        for micro in micro_batches(
            rollout, actions, np.arange(len(rollout)), config.token_budget
        ):
            some = micro.actions
            mask_BK = micro.of(mask_NK) & some.mask
            weights_BK = token_weights(
                mask_BK,
                aggregation=config.aggregation,
                num_tokens=num_tokens,
                num_episodes=num_episodes,
            )
            evaluation = lm.evaluate(
                rollout.token_batch(micro.rows, lm.device),
                temperature=config.temperature,
            )
            log_probs_BK = gather_actions(evaluation.log_probs, some)
            entropy_BK = gather_actions(evaluation.entropy, some)
            loss = policy_gradient_loss(
                log_probs_BK, micro.of(advantages_NK), weights_BK
            )
            loss = loss + config.entropy_coefficient * entropy_loss(
                entropy_BK, weights_BK
            )
            if config.kl_placement == "loss" and self.kl_coefficient > 0:
                kl_BK = estimate_kl(
                    log_probs_BK, micro.of(reference_NK), config.kl_estimator
                )
                loss = loss + self.kl_coefficient * weighted_sum(kl_BK, weights_BK)
            lm.backward(loss)
            measured.add_total("loss", float(loss.detach()))
            measured.add("entropy", entropy_BK, some.mask)
            measure_agreement(measured, log_probs_BK, some)
        tally.merge(measured.over_processes())
        tally.add_total("grad_norm", lm.step())
        return tally

    def advantages(
        self, rollout: Rollout, actions: ActionTokens, reference_NK: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (N, K) advantages and (N, K) bool, the tokens that have one."""
        config, device = self.config, self.lm.device
        rewards_NT = rollout.rewards(device)
        if config.kl_placement == "reward" and self.kl_coefficient > 0:
            kl_NK = estimate_kl(actions.log_probs, reference_NK, config.kl_estimator)
            rewards_NT = rewards_NT - self.kl_coefficient * actions.sum_turns(
                kl_NK, rewards_NT.shape[1]
            )
        returns_NT = self._credited(discounted_returns(rewards_NT, config.discount))
        known_NT = self._credited(known_returns(rollout.reward_valid(device)))
        advantages_NT, has_NT = subtract_baseline(
            returns_NT,
            known_NT,
            torch.from_numpy(rollout.groups).to(device),
            baseline=config.baseline,
            greedy_returns_BT=(
                self.greedy_returns(rollout) if config.baseline == "greedy" else None
            ),
        )
        mask_NK = actions.mask & actions.from_turns(has_NT)
        advantages_NK = actions.from_turns(advantages_NT)
        if config.is_whitened:
            advantages_NK = whiten(advantages_NK, mask_NK)
        return advantages_NK, mask_NK

    def greedy_returns(self, rollout: Rollout) -> torch.Tensor:
        """Return (N, T): returns of the greedy dialogue on each episode's seed (ReMax).

        Played with the weights that played the rollout; NaN where a reward is unknown.
        """
        greedy = self.collector.collect(
            self.config.num_episodes // self.config.group_size,
            self.iteration,
            sampling=replace(self.collector.sampling, is_greedy=True),
            group_size=1,
        )
        device, num_turns = self.lm.device, int(rollout.num_turns.max())
        returns_GT = discounted_returns(greedy.rewards(device), self.config.discount)
        known_GT = known_returns(greedy.reward_valid(device))
        returns_GT = torch.where(known_GT, returns_GT, torch.nan)
        # A greedy dialogue that ended sooner earns nothing in the turns that it did not have.
        missing = max(num_turns - returns_GT.shape[1], 0)
        returns_GT = torch.nn.functional.pad(returns_GT, (0, missing))[:, :num_turns]
        groups_N = torch.from_numpy(rollout.groups).to(device)
        return self._credited(returns_GT[groups_N])

    def _credited(self, values_NT: torch.Tensor) -> torch.Tensor:
        """Return the first turn's value at every turn, if whole episodes are paid."""
        if self.config.credit == "episode":
            return values_NT[:, :1].expand_as(values_NT)
        return values_NT
