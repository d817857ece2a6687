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
from agents.credit import CreditRule, returns_of
from agents.experience.micro_batch import micro_batches
from agents.experience.rollout import ActionTokens, Rollout, gather_actions
from agents.experience.summary import describe_drift, measure_agreement
from agents.experience.tally import Tally
from agents.hyperparameter import hyperparameter
from agents.objective.baseline import Baseline, Credit, Scale
from agents.objective.importance import truncated_weights
from agents.objective.loss import Aggregation, policy_gradient_loss, token_weights
from agents.regularizer import drift_price, regularized

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
        "a token is paid the return of its episode, from its turn on, or from itself on",
        choices=get_args(Credit),
    )
    scale: Scale = hyperparameter(
        "none", "unit of the advantages (see `CreditRule`)", choices=get_args(Scale)
    )
    importance_cap: float | None = hyperparameter(
        None,
        "weigh tokens by p_trainer / p_sampler, at most this; None trusts that they agree",
        low=1,
        is_optional=True,
    )
    aggregation: Aggregation = hyperparameter(
        "token-mean",
        "how tokens are weighed in the loss",
        choices=get_args(Aggregation),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        needs_group = self.baseline in ("leave_one_out", "group_mean")
        if (needs_group or self.scale == "group_std") and self.group_size < 2:
            raise ValueError(
                f"baseline={self.baseline!r}, scale={self.scale!r} compares episodes of one group, "
                f"so group_size must be at least 2, got {self.group_size}."
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
                episode_limit=self.episode_limit,
            )
            evaluation = lm.evaluate(
                rollout.token_batch(micro.rows, lm.device),
                temperature=config.temperature,
            )
            log_probs_BK = gather_actions(evaluation.log_probs, some)
            entropy_BK = gather_actions(evaluation.entropy, some)
            policy_BK = weights_BK
            if config.importance_cap is not None:
                policy_BK = weights_BK * truncated_weights(
                    log_probs_BK, some.log_probs, config.importance_cap
                )
            loss = policy_gradient_loss(
                log_probs_BK, micro.of(advantages_NK), policy_BK
            )
            reference_BK = micro.of(reference_NK)
            loss = regularized(
                self, loss, log_probs_BK, entropy_BK, reference_BK, weights_BK
            )
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
        config = self.config
        rule = CreditRule(
            credit=config.credit,
            baseline=config.baseline,
            scale=config.scale,
            discount=config.discount,
        )
        is_greedy = config.baseline == "greedy"
        return rule.advantages(
            rollout,
            actions,
            rollout.rewards(self.lm.device),
            drift_price(self, actions, reference_NK),
            self.greedy_returns(rollout) if is_greedy else None,
        )

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
        returns_GT, known_GT = returns_of(
            greedy.rewards(device),
            greedy.reward_valid(device),
            credit=self.config.credit,
            discount=self.config.discount,
        )
        returns_GT = torch.where(known_GT, returns_GT, torch.nan)
        # A greedy dialogue that ended sooner earns nothing in the turns that it did not have; paid
        # by the episode, what it earned is compared with at every turn.
        missing = max(num_turns - returns_GT.shape[1], 0)
        is_whole = self.config.credit == "episode"
        last_G1 = (
            returns_GT[:, -1:] if is_whole else torch.zeros_like(returns_GT[:, -1:])
        )
        returns_GT = torch.cat([returns_GT, last_G1.expand(-1, missing)], dim=1)
        returns_GT = returns_GT[:, :num_turns]
        return returns_GT[torch.from_numpy(rollout.groups).to(device)]
