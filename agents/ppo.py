"""PPO (Schulman et al. 2017) over dialogues: critic, generalised advantages, clipped surrogate.

One update: the critic values every context in which the agent chose a token; generalised advantage
estimation runs over the agent's tokens (`agents.objective.advantage` explains its two clocks); then
a few epochs of minibatches of whole episodes. The old log-probs are the sampler's own. Beside that
a step may imitate given data ("PPO-ptx", Ouyang et al. 2022, equation 2), a mean over its tokens.

Shape legend: N episodes of a rollout, B of a micro-batch, S tokens, K action tokens, T turns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Mapping, get_args

import numpy as np
import numpy.typing as npt
import torch

from agents.algorithm import Algorithm
from agents.algorithm_config import AlgorithmConfig
from agents.dialogue_data import Blend, load_blend
from agents.engine import process_group
from agents.engine.language_model import LanguageModel, TokenBatch, TrainingConfig
from agents.experience.micro_batch import MicroBatch, micro_batches
from agents.experience.rollout import ActionTokens, Rollout, gather_actions
from agents.experience.seeding import numpy_generator
from agents.experience.summary import describe_drift, measure_agreement
from agents.experience.tally import Tally
from agents.hyperparameter import hyperparameter
from agents.imitation import imitate
from agents.objective.advantage import generalized_advantages, whiten
from agents.objective.kl import estimate_kl
from agents.objective.loss import (
    Aggregation,
    clipped_policy_loss,
    entropy_loss,
    is_clipped,
    token_weights,
    value_loss,
    weighted_sum,
)
from chat_envs.vector import ChatVectorEnv

__all__ = ["PPO", "PPOConfig"]


@dataclass(frozen=True, kw_only=True)
class PPOConfig(AlgorithmConfig):
    """Hyperparameters of `PPO`; the defaults suit the model `tiny`."""

    learning_rate: float = hyperparameter(
        2e-4, "AdamW's step size; 0 is a control", low=0
    )
    value_learning_rate: float | None = hyperparameter(
        1e-3,
        "step size of the value head; None takes learning_rate",
        low=0,
        is_optional=True,
    )
    num_epochs: int = hyperparameter(2, "passes over each rollout", low=1)
    num_minibatches: int = hyperparameter(1, "optimizer steps of each pass", low=1)
    trace: float = hyperparameter(
        0.95, "lambda of the advantages, a token", low=0, high=1
    )
    clip_low: float = hyperparameter(
        0.2, "the ratio is kept above 1 - this", low=0, high=1
    )
    clip_high: float = hyperparameter(0.2, "the ratio is kept below 1 + this", low=0)
    dual_clip: float | None = hyperparameter(
        None,
        "floor of the objective, in advantages (Ye et al. 2020)",
        low=1,
        is_optional=True,
    )
    value_clip: float | None = hyperparameter(
        0.2,
        "how far a value may move",
        unit="reward",
        low=0,
        is_low_open=True,
        is_optional=True,
    )
    value_coefficient: float = hyperparameter(0.5, "weight of the critic's loss", low=0)
    is_whitened: bool = hyperparameter(
        True, "shift and scale the advantages to mean 0, variance 1"
    )
    target_kl: float | None = hyperparameter(
        None,
        "an update ends after the step whose KL from the sampler is above 1.5 times this",
        unit="nats a token",
        low=0,
        is_low_open=True,
        is_optional=True,
    )
    aggregation: Aggregation = hyperparameter(
        "token_mean",
        "how tokens are weighed in the loss",
        choices=get_args(Aggregation),
    )
    ptx_coefficient: float = hyperparameter(
        0.0, "weight of imitating ptx_data beside the policy's loss", low=0
    )
    ptx_data: str = hyperparameter(
        "", "sources of data as for `chat-envs sft --data`, ' + ' between them"
    )
    ptx_rows: int = hyperparameter(
        32, "rows of ptx_data that each optimizer step imitates", low=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.ptx_coefficient > 0) != bool(self.ptx_data):
            raise ValueError(
                f"ptx_coefficient={self.ptx_coefficient} and ptx_data={self.ptx_data!r}: a mixture "
                "needs both, what to imitate and how much."
            )
        if self.num_minibatches > self.num_episodes:
            raise ValueError(
                f"num_minibatches={self.num_minibatches} would leave minibatches empty: an update "
                f"has num_episodes={self.num_episodes}."
            )


@dataclass(frozen=True)
class _Targets:
    """What an update trains on; all (N, K), fixed over its epochs.

    Attributes:
        mask: bool, tokens whose turn has a known reward.
        values: the critic's, when the rollout was made.
        advantages: raw or whitened.
        returns: advantages before whitening plus values.
        reference: log-probs under the start model.
    """

    mask: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor
    reference: torch.Tensor

    def of(self, micro: MicroBatch) -> _Targets:
        """Return those of a micro-batch, cut and masked as its action axis is."""
        fields = (self.values, self.advantages, self.returns, self.reference)
        mask_BK = micro.of(self.mask) & micro.actions.mask
        return _Targets(mask_BK, *(micro.of(field) for field in fields))


class PPO(Algorithm):
    """PPO over whole dialogues; see `Algorithm` for the arguments. The model needs a value head.

    Raises:
        FileNotFoundError, ValueError: also where `ptx_data` cannot be read.
    """

    config_class: ClassVar[type[AlgorithmConfig]] = PPOConfig
    config: PPOConfig

    def __init__(
        self,
        lm: LanguageModel,
        env: str | ChatVectorEnv,
        config: PPOConfig | None = None,
        *,
        env_kwargs: Mapping[str, Any] | None = None,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(lm, env, config, env_kwargs=env_kwargs, **hyperparameters)
        probe = TokenBatch(
            input_ids=torch.zeros(1, 2, dtype=torch.int64, device=lm.device),
            lengths=torch.tensor([2], device=lm.device),
            action_mask=torch.tensor([[False, False]], device=lm.device),
        )
        if not lm.evaluate(probe).values.requires_grad:
            raise ValueError(
                f"PPO needs a critic, but the model {lm.name!r} has no value head: load it with "
                "has_value_head=True, or use REINFORCE, which needs none."
            )
        self.mixture: Blend | None = None
        if self.config.ptx_data:
            self.mixture = load_blend(
                self.config.ptx_data.split(" + "),
                self.env.tokenizer,
                lm.context_length,
                seed=self.config.seed,
            )

    def training_config(self) -> TrainingConfig:
        """Return the optimizer's settings, the value head's among them."""
        return replace(
            super().training_config(),
            value_learning_rate=self.config.value_learning_rate,
        )

    def update(self, rollout: Rollout) -> Tally:
        """Take some epochs over the rollout; return what was measured on the way."""
        config = self.config
        actions = rollout.actions(self.lm.device)
        reference_NK = self.reference_log_probs(rollout, actions)
        tally = describe_drift(actions, reference_NK)
        targets = self.targets(rollout, actions, reference_NK)
        tally.merge(describe_critic(targets))
        tally.add_total("trained_tokens", int(targets.mask.sum()))

        rng = numpy_generator(config.seed, "minibatch", self.iteration)
        num_steps = 0
        for _ in range(config.num_epochs):
            order = rng.permutation(len(rollout))
            for rows in np.array_split(order, config.num_minibatches):
                if not targets.mask[torch.as_tensor(rows)].any():
                    continue  # every reward in it is unknown: there is nothing to learn from
                step = self.optimize(rollout, actions, targets, rows, num_steps)
                tally.merge(step)
                num_steps += 1
                kl = step.result()["old_kl"]
                if config.target_kl is not None and kl > 1.5 * config.target_kl:
                    tally.add_total("optimizer_steps", num_steps)
                    return tally
        tally.add_total("optimizer_steps", num_steps)
        return tally

    def targets(
        self, rollout: Rollout, actions: ActionTokens, reference_NK: torch.Tensor
    ) -> _Targets:
        """Return advantages and returns of the agent's tokens."""
        config, device = self.config, self.lm.device
        valid_NK = actions.from_turns(rollout.reward_valid(device))
        values_NK, final_N = self.values(rollout, actions)
        rewards_NK = actions.from_turns(rollout.rewards(device)) * actions.is_turn_end
        if config.kl_placement == "reward" and self.kl_coefficient > 0:
            kl_NK = estimate_kl(actions.log_probs, reference_NK, config.kl_estimator)
            rewards_NK = rewards_NK - self.kl_coefficient * kl_NK
        advantages_NK = generalized_advantages(
            rewards_NK,
            values_NK,
            valid_NK,
            actions.is_turn_end,
            actions.lengths,
            torch.where(rollout.bootstraps(device), final_N, torch.zeros_like(final_N)),
            discount=config.discount,
            trace=config.trace,
        )
        returns_NK = advantages_NK + values_NK
        if config.is_whitened:
            advantages_NK = whiten(advantages_NK, valid_NK)
        return _Targets(valid_NK, values_NK, advantages_NK, returns_NK, reference_NK)

    @torch.no_grad()
    def values(
        self, rollout: Rollout, actions: ActionTokens
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return values: (N, K) of the agent's tokens' contexts, (N,) of the final contexts."""
        values_NK = torch.zeros_like(actions.log_probs)
        final_N = actions.log_probs.new_zeros(len(rollout))
        everyone = np.arange(len(rollout))
        for micro in micro_batches(
            rollout, actions, everyone, self.config.token_budget
        ):
            batch = rollout.token_batch(micro.rows, self.lm.device)
            values_BS = self.lm.evaluate(
                batch, temperature=self.config.temperature
            ).values
            # The context in which token s was chosen ends with token s - 1.
            values_BK = gather_actions(values_BS, micro.actions, shift=-1)
            micro.put(values_NK, values_BK)
            final_B = values_BS.gather(1, batch.lengths[:, None] - 1)[:, 0]
            micro.put_rows(final_N, final_B)
        process_group.add_up(values_NK)
        process_group.add_up(final_N)
        return values_NK, final_N

    def optimize(
        self,
        rollout: Rollout,
        actions: ActionTokens,
        targets: _Targets,
        rows: npt.NDArray[np.int64],
        number: int,
    ) -> Tally:
        """Take step `number` of an update on a minibatch of episodes; return what was measured."""
        config, lm, tally = self.config, self.lm, Tally()
        chosen_NK = targets.mask[torch.as_tensor(rows, device=lm.device)]
        num_tokens, num_episodes = int(chosen_NK.sum()), int(chosen_NK.any(1).sum())
        losses = torch.zeros(2, device=lm.device)
        for micro in micro_batches(rollout, actions, rows, config.token_budget):
            some, goal = micro.actions, targets.of(micro)
            weights_BK = token_weights(
                goal.mask,
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
            values_BK = gather_actions(evaluation.values, some, shift=-1)
            policy, critic = self.losses(
                log_probs_BK, values_BK, some, goal, weights_BK
            )
            loss = policy + config.value_coefficient * critic
            loss = loss + config.entropy_coefficient * entropy_loss(
                entropy_BK, weights_BK
            )
            if config.kl_placement == "loss" and self.kl_coefficient > 0:
                kl_BK = estimate_kl(log_probs_BK, goal.reference, config.kl_estimator)
                loss = loss + self.kl_coefficient * weighted_sum(kl_BK, weights_BK)
            lm.backward(loss)
            losses += torch.stack([policy.detach(), critic.detach()])
            tally.add("entropy", entropy_BK, some.mask)
            self._measure_ratio(tally, log_probs_BK.detach(), some, goal)
            if number == 0:  # before the first optimizer step the ratio must be 1
                measure_agreement(tally, log_probs_BK, some)
        process_group.add_up(losses)
        tally = tally.over_processes()
        tally.add_ratio("policy_loss", float(losses[0]), 1)
        tally.add_ratio("value_loss", float(losses[1]), 1)
        if self.mixture is not None:
            tally.merge(self._imitate(self.mixture, number))
        tally.add_ratio("grad_norm", lm.step(), 1)
        return tally

    def _imitate(self, mixture: Blend, number: int) -> Tally:
        """Add the gradient of the mixture to that of step `number`; return how likely its data is.

        Which rows are imitated follows from seed, iteration and step alone.
        """
        config = self.config
        step = self.iteration * config.num_epochs * config.num_minibatches + number
        rollout = mixture.deal(step * config.ptx_rows, config.ptx_rows)
        measured = imitate(
            self.lm, rollout, config.token_budget, config.ptx_coefficient
        ).result()
        tally = Tally()
        tally.add_ratio("ptx_cross_entropy", measured["cross_entropy"], 1)
        return tally

    def losses(
        self,
        log_probs_BK: torch.Tensor,
        values_BK: torch.Tensor,
        actions: ActionTokens,
        targets: _Targets,
        weights_BK: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the clipped surrogate and the critic's loss of a micro-batch, scalars."""
        config = self.config
        policy_loss = clipped_policy_loss(
            log_probs_BK,
            actions.log_probs,
            targets.advantages,
            weights_BK,
            clip_low=config.clip_low,
            clip_high=config.clip_high,
            dual_clip=config.dual_clip,
        )
        critic_loss = value_loss(
            values_BK,
            targets.values,
            targets.returns,
            weights_BK,
            clip=config.value_clip,
        )
        return policy_loss, critic_loss

    def _measure_ratio(
        self,
        tally: Tally,
        log_probs_BK: torch.Tensor,
        actions: ActionTokens,
        targets: _Targets,
    ) -> None:
        """Add how far the weights have moved from the sampler's, and what the clip did."""
        old_kl_BK = estimate_kl(actions.log_probs, log_probs_BK, "k3")
        tally.add("old_kl", old_kl_BK, targets.mask)
        clipped_BK = is_clipped(
            log_probs_BK,
            actions.log_probs,
            targets.advantages,
            clip_low=self.config.clip_low,
            clip_high=self.config.clip_high,
        )
        tally.add("clip_fraction", clipped_BK.float(), targets.mask)


def describe_critic(targets: _Targets) -> Tally:
    """Return how much of the returns' variance the critic explains, and their means."""
    tally = Tally()
    returns = targets.returns[targets.mask].double()
    errors = returns - targets.values[targets.mask].double()
    tally.add("value", targets.values, targets.mask)
    variance = returns.var(correction=0) if len(returns) else returns.new_tensor(0.0)
    is_defined = bool(variance > 0)  # equal returns leave nothing to explain: NaN
    explained = 1.0 - float(errors.var(correction=0) / variance) if is_defined else 0.0
    tally.add_ratio("explained_variance", explained, int(is_defined))
    return tally
