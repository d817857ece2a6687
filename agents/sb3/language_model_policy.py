"""The language model as a policy of Stable-Baselines3: its next token is the action.

Shape legend: B observations, C ids of a context, S longest context of a batch, V vocabulary,
W hidden width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import gymnasium
import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import CombinedExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule

from agents.engine.causal_lm import CausalLM
from agents.engine.value_head import ValueHead
from agents.sb3.language_model_source import LMSource

__all__ = ["LMActorCriticPolicy"]


class LMActorCriticPolicy(ActorCriticPolicy):
    """A language model that PPO and A2C of Stable-Baselines3 train.

    The distribution of actions is the model's of the next token, the critic its value head on the
    same hidden state. The weights are the model's own: after `learn` the very same model decodes
    and evaluates as any other (`agents.evaluation.evaluate(lm, ...)`).

    Args:
        observation_space: of a chat environment.
        action_space: `Discrete(V)`, every id an action.
        lr_schedule: of the optimizer.
        use_sde: must be False: actions are discrete.
        lm: an `LMSource`, or a name or a directory for one.
        forbidden_ids: ids that are never said. Language models say all ids; forbid the control
            ids that are no stop ids, as our own agents do.
        optimizer_class: of the weights.
        optimizer_kwargs: keywords of it, without the learning rate.

    Raises:
        TypeError: if `lm` is a bare model.
        ValueError: if model and environment do not fit.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        lr_schedule: Schedule,
        use_sde: bool = False,
        *,
        lm: LMSource | str | Path,
        forbidden_ids: Sequence[int] = (),
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        if isinstance(lm, CausalLM):
            raise TypeError(
                "policy_kwargs={'lm': LMSource(lm)}: Stable-Baselines3 pickles policy_kwargs into "
                "every file, and a bare model would be stored twice."
            )
        if not isinstance(action_space, spaces.Discrete):
            raise ValueError(
                f"Actions are ids, Discrete(V) of TokenActions, got {action_space}."
            )
        # Plain attributes: modules can only be set when torch's own constructor has run.
        self._source = lm if isinstance(lm, LMSource) else LMSource(lm)
        self._lm = self._source.load(int(action_space.n))
        self._forbidden_ids = [int(i) for i in forbidden_ids]
        self._check_length(observation_space)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch=[],
            use_sde=use_sde,
            features_extractor_class=CombinedExtractor,  # has no weights, and is not used
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )

    @property
    def lm(self) -> CausalLM:
        """The language model, which shares its weights with this policy."""
        return self._lm

    def _check_length(self, observation_space: gymnasium.Space[Any]) -> None:
        assert isinstance(observation_space, spaces.Dict)
        shape = observation_space["input_ids"].shape
        assert shape is not None
        if shape[0] > self._lm.context_length:
            raise ValueError(
                f"The environment's context has {shape[0]} ids, {self._lm.name} attends to "
                f"{self._lm.context_length}: make the environment with a smaller context_length."
            )

    def _build(self, lr_schedule: Schedule) -> None:
        """Take the model's network for the policy's; called by the base class."""
        network = self._lm.network
        if network.value_head is None:
            network.value_head = ValueHead(network.hidden_width).to(self._lm.device)
        self._lm.forbid(self._forbidden_ids)
        self.network = network
        self.optimizer = self.optimizer_class(
            self.parameters(),
            lr=lr_schedule(1),  # type: ignore[call-arg]
            **self.optimizer_kwargs,
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            "lm": self._source,
            "forbidden_ids": self._forbidden_ids,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }

    def forward(
        self, obs: PyTorchObs, deterministic: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return (B,) actions, their (B, 1) values and (B,) log-probs."""
        distribution, values_B1 = self._judge(obs)
        actions_B = distribution.get_actions(deterministic=deterministic)
        return actions_B, values_B1, distribution.log_prob(actions_B)

    def evaluate_actions(
        self, obs: PyTorchObs, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return (B, 1) values, (B,) log-probs of `actions`, and (B,) entropies."""
        distribution, values_B1 = self._judge(obs)
        return values_B1, distribution.log_prob(actions), distribution.entropy()

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """Return the distribution of the next token."""
        return self._judge(obs)[0]

    def predict_values(self, obs: PyTorchObs) -> torch.Tensor:
        """Return the (B, 1) values of contexts."""
        return self._judge(obs)[1]

    def _judge(self, obs: PyTorchObs) -> tuple[Distribution, torch.Tensor]:
        """Return the distribution of the next token and the (B, 1) values.

        The observations are read as they are: what Stable-Baselines3 makes of them for its own
        networks, floats, is of no use here.
        """
        assert isinstance(obs, dict)
        lengths_B = obs["attention_mask"].sum(-1).long().clamp(min=1)
        width = int(lengths_B.max())
        ids_BS = obs["input_ids"][:, :width].long()
        rows_B = torch.arange(len(ids_BS), device=ids_BS.device)
        places_B = rows_B * width + lengths_B - 1
        # Padding comes last, and attention is causal: it changes nothing.
        logits_BV, hidden_BSW = self.network(ids_BS, places_B)
        assert self.network.value_head is not None
        last_BW = hidden_BSW.reshape(-1, hidden_BSW.shape[-1])[places_B]
        values_B1 = self.network.value_head(last_BW)[:, None]
        assert isinstance(self.action_space, spaces.Discrete)
        logits_BV = logits_BV[:, : int(self.action_space.n)]
        distribution = self.action_dist.proba_distribution(action_logits=logits_BV)
        assert isinstance(distribution, Distribution)
        return distribution, values_B1
