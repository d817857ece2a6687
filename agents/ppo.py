"""PPO (Schulman et al. 2017) over dialogues: critic, generalised advantages, clipped surrogate.

One update: the critic values every context in which the agent chose a token; generalised advantage
estimation runs over the agent's tokens (`agents.objective.advantage` explains its two clocks); then
a few epochs of minibatches of whole episodes. The old log-probs are the sampler's own. Beside that
a step may imitate given data ("PPO-ptx", Ouyang et al. 2022, equation 2), a mean over its tokens.

Shape legend: N episodes of a rollout, B of a micro-batch, S tokens, K action tokens, T turns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Mapping

import numpy as np
import torch

from agents.algorithm import Algorithm
from agents.algorithm_config import AlgorithmConfig
from agents.dialogue_data import Blend, load_blend
from agents.engine import process_group
from agents.engine.language_model import LanguageModel, TokenBatch, TrainingConfig
from agents.experience.micro_batch import MicroBatch, micro_batches
from agents.experience.rollout import ActionTokens, Rollout, gather_actions
from agents.experience.summary import describe_drift
from agents.experience.tally import Tally
from agents.hyperparameter import hyperparameter
from agents.imitation import imitate
from agents.objective.advantage import generalized_advantages, whiten
from agents.objective.loss import value_loss
from agents.regularizer import drift_price
from agents.surrogate import SurrogateUpdate, Targets, old_log_probs
from agents.surrogate_config import SurrogateConfig
from chat_envs.tokenizer import Tokenizer
from chat_envs.vector import ChatVectorEnv

__all__ = ["PPO", "PPOConfig", "load_mixture"]


@dataclass(frozen=True, kw_only=True)
class PPOConfig(SurrogateConfig):
    """Hyperparameters of `PPO`; the defaults suit the model `tiny`."""

    value_learning_rate: float | None = hyperparameter(
        1e-3,
        "step size of the value head; None takes learning_rate",
        low=0,
        is_optional=True,
    )
    trace: float = hyperparameter(
        0.95, "lambda of the advantages, a token", low=0, high=1
    )
    critic_trace: float | None = hyperparameter(
        None,
        "lambda of the critic's targets, a token (VC-PPO: 1); None takes trace",
        low=0,
        high=1,
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


@dataclass(frozen=True)
class PPOTargets(Targets):
    """What an update trains on, the critic's part included; all (N, K), fixed over its epochs.

    Attributes:
        values: the critic's, when the rollout was made.
        returns: what the critic is to say.
    """

    values: torch.Tensor
    returns: torch.Tensor


class PPO(Algorithm):
    """PPO over whole dialogues; see `Algorithm` for the arguments. The model needs a value head.

    Args:
        mixture: what `load_mixture` has made of `ptx_data`; None makes it.

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
        mixture: Blend | None = None,
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
        if mixture is not None and not self.config.ptx_data:
            raise ValueError(
                "There is a mixture, but no ptx_data and ptx_coefficient to imitate it by."
            )
        if mixture is None and self.config.ptx_data:
            mixture = load_mixture(self.config, self.env.tokenizer, lm.context_length)
        self.mixture = mixture

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

        def critic(
            values_BK: torch.Tensor, micro: MicroBatch, weights_BK: torch.Tensor
        ) -> torch.Tensor:
            return value_loss(
                values_BK,
                micro.of(targets.values),
                micro.of(targets.returns),
                weights_BK,
                clip=config.value_clip,
            )

        update = SurrogateUpdate(
            algorithm=self,
            config=config,
            rollout=rollout,
            actions=actions,
            targets=targets,
            critic=critic,
            critic_coefficient=config.value_coefficient,
            before_step=self._imitate if self.mixture is not None else None,
        )
        tally.merge(update.run())
        return tally

    def targets(
        self, rollout: Rollout, actions: ActionTokens, reference_NK: torch.Tensor
    ) -> PPOTargets:
        """Return advantages and returns of the agent's tokens.

        The critic's targets may have a trace of their own, so that it can be unbiased (1) while the
        advantages are not ("decoupled GAE": VC-PPO, Yuan et al. 2025, arXiv:2503.01491).
        """
        config, device = self.config, self.lm.device
        valid_NK = actions.from_turns(rollout.reward_valid(device))
        values_NK, final_N = self.values(rollout, actions)
        rewards_NK = actions.from_turns(rollout.rewards(device)) * actions.is_turn_end
        price_NK = drift_price(self, actions, reference_NK)
        if price_NK is not None:
            rewards_NK = rewards_NK - price_NK
        old_NK = old_log_probs(self, config, rollout, actions)

        def advantages(trace: float) -> torch.Tensor:
            return generalized_advantages(
                rewards_NK,
                values_NK,
                valid_NK,
                actions.is_turn_end,
                actions.lengths,
                torch.where(rollout.bootstraps(device), final_N, 0.0),
                discount=config.discount,
                trace=trace,
            )

        advantages_NK = advantages(config.trace)
        returns_NK = advantages_NK + values_NK
        if config.critic_trace is not None:
            returns_NK = advantages(config.critic_trace) + values_NK
        if config.is_whitened:
            advantages_NK = whiten(advantages_NK, valid_NK)
        return PPOTargets(
            valid_NK, advantages_NK, reference_NK, old_NK, values_NK, returns_NK
        )

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

    def _imitate(self, number: int) -> Tally:
        """Add the gradient of the mixture to that of step `number`; return how likely its data is.

        Which rows are imitated follows from seed, iteration and step alone.
        """
        config = self.config
        assert self.mixture is not None
        step = self.iteration * config.num_epochs * config.num_minibatches + number
        rollout = self.mixture.deal(step * config.ptx_rows, config.ptx_rows)
        measured = imitate(
            self.lm, rollout, config.token_budget, config.ptx_coefficient
        ).result()
        tally = Tally()
        tally.add_ratio("ptx_cross_entropy", measured["cross_entropy"], 1)
        return tally


def load_mixture(config: PPOConfig, tokenizer: Tokenizer, context_length: int) -> Blend:
    """Return what `ptx_data` names, for a model of that tokenizer and context.

    Raises:
        FileNotFoundError, ValueError: a source is not there or broken; the message names it.
    """
    names = config.ptx_data.split(" + ")
    return load_blend(names, tokenizer, context_length, seed=config.seed)


def describe_critic(targets: PPOTargets) -> Tally:
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
