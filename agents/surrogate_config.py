"""The hyperparameters of algorithms that take several steps on one rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from agents.algorithm_config import AlgorithmConfig
from agents.hyperparameter import hyperparameter
from agents.objective.loss import Aggregation

__all__ = ["Surrogate", "SurrogateConfig"]

Surrogate = Literal["clip", "cispo"]


@dataclass(frozen=True, kw_only=True)
class SurrogateConfig(AlgorithmConfig):
    """Hyperparameters of an update in epochs and minibatches, on ratios to the sampler."""

    learning_rate: float = hyperparameter(
        2e-4, "AdamW's step size; 0 is a control", low=0
    )
    num_epochs: int = hyperparameter(2, "passes over each rollout", low=1)
    num_minibatches: int = hyperparameter(1, "optimizer steps of each pass", low=1)
    surrogate: Surrogate = hyperparameter(
        "clip",
        "the objective is clipped (PPO), or the weight of the gradient (CISPO)",
        choices=get_args(Surrogate),
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
    importance_cap: float | None = hyperparameter(
        None,
        "weigh tokens by p_trainer / p_sampler, at most this; None trusts that they agree",
        low=1,
        is_optional=True,
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
        "token-mean",
        "how tokens are weighed in the loss",
        choices=get_args(Aggregation),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_minibatches > self.num_episodes:
            raise ValueError(
                f"num_minibatches={self.num_minibatches} would leave minibatches empty: an update "
                f"has num_episodes={self.num_episodes}."
            )
        if self.surrogate == "cispo" and self.dual_clip is not None:
            raise ValueError(
                f"dual_clip={self.dual_clip} is a floor of the clipped objective, and "
                "surrogate='cispo' has none: leave it out."
            )
