"""Epochs of minibatches over one rollout: what PPO and GRPO have in common.

The old log-probs are the sampler's own, so the first step has ratio 1 by measurement, not by
construction. What differs between the algorithms (how advantages are made, whether there is a
critic, of what the ratio is) is handed in.

Shape legend: N episodes of a rollout, B of a micro-batch, S tokens, K action tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from agents.algorithm import Algorithm
from agents.engine import process_group
from agents.experience.micro_batch import MicroBatch, micro_batches
from agents.experience.rollout import ActionTokens, Rollout, gather_actions
from agents.experience.seeding import numpy_generator
from agents.experience.summary import measure_agreement
from agents.experience.tally import Tally
from agents.objective.importance import RatioLevel, log_ratios, truncated_weights
from agents.objective.kl import estimate_kl
from agents.objective.loss import (
    clipped_policy_loss,
    is_clipped,
    token_weights,
    weighted_policy_loss,
)
from agents.regularizer import regularized
from agents.surrogate_config import SurrogateConfig

__all__ = ["Critic", "SurrogateUpdate", "Targets", "old_log_probs"]


@dataclass(frozen=True)
class Targets:
    """What an update trains on; all (N, K), fixed over its epochs.

    Attributes:
        mask: bool, tokens that take part.
        advantages: raw or scaled.
        reference: log-probs under the start model.
        old: log-probs that ratios are relative to: the sampler's, or the trainer's own of before
            the first step, where tokens are weighed by how the two differ.
    """

    mask: torch.Tensor
    advantages: torch.Tensor
    reference: torch.Tensor
    old: torch.Tensor

    def of(self, micro: MicroBatch) -> Targets:
        """Return those of a micro-batch, cut and masked as its action axis is."""
        return Targets(
            micro.of(self.mask) & micro.actions.mask,
            micro.of(self.advantages),
            micro.of(self.reference),
            micro.of(self.old),
        )


# (values (B, K) of now, the micro-batch, weights (B, K)) -> the loss, a scalar.
Critic = Callable[[torch.Tensor, MicroBatch, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class SurrogateUpdate:
    """One update of a policy.

    Attributes:
        algorithm: whose model is improved.
        config: its hyperparameters.
        rollout: the episodes to learn from.
        actions: their action axis.
        targets: what they are worth.
        ratio_level: of what ratios are.
        critic: the loss of the values; None for no critic.
        critic_coefficient: its weight.
        before_step: called with the number of a step before it is taken: may add a gradient.
    """

    algorithm: Algorithm
    config: SurrogateConfig
    rollout: Rollout
    actions: ActionTokens
    targets: Targets
    ratio_level: RatioLevel = "token"
    critic: Critic | None = None
    critic_coefficient: float = 0.0
    before_step: Callable[[int], Tally] | None = None

    def run(self) -> Tally:
        """Take the steps; return what was measured on the way."""
        config, tally, num_steps = self.config, Tally(), 0
        tally.add_total("trained_tokens", int(self.targets.mask.sum()))
        rng = numpy_generator(config.seed, "minibatch", self.algorithm.iteration)
        for _ in range(config.num_epochs):
            order = rng.permutation(len(self.rollout))
            for rows in np.array_split(order, config.num_minibatches):
                if not self.targets.mask[torch.as_tensor(rows)].any():
                    continue  # every reward in it is unknown: there is nothing to learn from
                step = self.take_step(rows, num_steps)
                tally.merge(step)
                num_steps += 1
                kl = step.result()["old_kl"]
                if config.target_kl is not None and kl > 1.5 * config.target_kl:
                    tally.add_total("optimizer_steps", num_steps)
                    return tally
        tally.add_total("optimizer_steps", num_steps)
        return tally

    def take_step(self, rows: npt.NDArray[np.int64], number: int) -> Tally:
        """Take step `number` on a minibatch of episodes; return what was measured."""
        config, lm, tally = self.config, self.algorithm.lm, Tally()
        chosen_NK = self.targets.mask[torch.as_tensor(rows, device=lm.device)]
        num_tokens, num_episodes = int(chosen_NK.sum()), int(chosen_NK.any(1).sum())
        losses = torch.zeros(2, device=lm.device)
        for micro in micro_batches(
            self.rollout, self.actions, rows, config.token_budget
        ):
            some, goal = micro.actions, self.targets.of(micro)
            weights_BK = token_weights(
                goal.mask,
                aggregation=config.aggregation,
                num_tokens=num_tokens,
                num_episodes=num_episodes,
                episode_limit=self.algorithm.episode_limit,
            )
            evaluation = lm.evaluate(
                self.rollout.token_batch(micro.rows, lm.device),
                temperature=config.temperature,
            )
            log_probs_BK = gather_actions(evaluation.log_probs, some)
            entropy_BK = gather_actions(evaluation.entropy, some)
            policy = self._policy_loss(log_probs_BK, some, goal, weights_BK, tally)
            loss = policy
            losses[0] += policy.detach()
            if self.critic is not None:
                values_BK = gather_actions(evaluation.values, some, shift=-1)
                critic = self.critic(values_BK, micro, weights_BK)
                loss = loss + self.critic_coefficient * critic
                losses[1] += critic.detach()
            paid = (log_probs_BK, entropy_BK, goal.reference, weights_BK)
            lm.backward(regularized(self.algorithm, loss, *paid))
            tally.add("entropy", entropy_BK, some.mask)
            if number == 0:  # before the first optimizer step the ratio must be 1
                measure_agreement(tally, log_probs_BK, some)
        process_group.add_up(losses)
        tally = tally.over_processes()
        tally.add_ratio("policy_loss", float(losses[0]), 1)
        if self.critic is not None:
            tally.add_ratio("value_loss", float(losses[1]), 1)
        if self.before_step is not None:
            tally.merge(self.before_step(number))
        tally.add_ratio("grad_norm", lm.step(), 1)
        return tally

    def _policy_loss(
        self,
        log_probs_BK: torch.Tensor,
        actions: ActionTokens,
        targets: Targets,
        weights_BK: torch.Tensor,
        tally: Tally,
    ) -> torch.Tensor:
        """Return the loss of a micro-batch; add how far it is from the sampler to `tally`."""
        config = self.config
        mask_BK, advantages_BK = targets.mask, targets.advantages
        ratio_BK = log_ratios(
            log_probs_BK, targets.old, mask_BK, actions.turn, level=self.ratio_level
        )
        if config.importance_cap is not None:
            factor_BK = truncated_weights(
                targets.old, actions.log_probs, config.importance_cap
            )
            tally.add("importance_weight", factor_BK, mask_BK)
            weights_BK = weights_BK * factor_BK
        old_kl_BK = estimate_kl(targets.old, log_probs_BK.detach(), "k3")
        tally.add("old_kl", old_kl_BK, mask_BK)
        limits = {"clip_low": config.clip_low, "clip_high": config.clip_high}
        if config.surrogate == "cispo":
            factor_BK = ratio_BK.detach().exp()
            is_out_BK = factor_BK > 1 + config.clip_high
            is_out_BK = is_out_BK | (factor_BK < 1 - config.clip_low)
            tally.add("clip_fraction", is_out_BK.float(), mask_BK)
            return weighted_policy_loss(
                log_probs_BK, ratio_BK, advantages_BK, weights_BK, **limits
            )
        is_out_BK = is_clipped(ratio_BK.detach(), advantages_BK, **limits)
        tally.add("clip_fraction", is_out_BK.float(), mask_BK)
        return clipped_policy_loss(
            ratio_BK, advantages_BK, weights_BK, dual_clip=config.dual_clip, **limits
        )


def old_log_probs(
    algorithm: Algorithm,
    config: SurrogateConfig,
    rollout: Rollout,
    actions: ActionTokens,
) -> torch.Tensor:
    """Return (N, K) what `Targets.old` is: the trainer's own only where tokens are weighed."""
    if config.importance_cap is None:
        return actions.log_probs
    return _trainer_log_probs(algorithm, rollout, actions)


@torch.no_grad()
def _trainer_log_probs(
    algorithm: Algorithm, rollout: Rollout, actions: ActionTokens
) -> torch.Tensor:
    """Return (N, K) log-probs of the agent's tokens under the weights of now, of all processes."""
    log_probs_NK = torch.zeros_like(actions.log_probs)
    config, lm = algorithm.config, algorithm.lm
    everyone = np.arange(len(rollout))
    for micro in micro_batches(rollout, actions, everyone, config.token_budget):
        evaluation = lm.evaluate(
            rollout.token_batch(micro.rows, lm.device), temperature=config.temperature
        )
        micro.put(log_probs_NK, gather_actions(evaluation.log_probs, micro.actions))
    process_group.add_up(log_probs_NK)
    return log_probs_NK
