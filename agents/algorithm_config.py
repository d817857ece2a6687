"""The hyperparameters that every algorithm has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from agents.hyperparameter import check_hyperparameters, hyperparameter
from agents.objective.kl import KLEstimator

__all__ = ["AlgorithmConfig"]


@dataclass(frozen=True, kw_only=True)
class AlgorithmConfig:
    """Hyperparameters that every algorithm has. Each field's metadata has its unit and range."""

    seed: int = hyperparameter(0, "source of all randomness", low=0)
    num_envs: int = hyperparameter(
        64, "dialogues that each process plays at a time", low=1
    )
    num_episodes: int = hyperparameter(64, "episodes of one update", low=1)
    group_size: int = hyperparameter(
        8, "episodes that share one environment seed", low=1
    )
    temperature: float = hyperparameter(
        1.0,
        "divides the logits when sampling and when training",
        low=0,
        is_low_open=True,
    )
    max_reply_tokens: int | None = hyperparameter(
        None,
        "longest reply; None takes the environment's",
        unit="tokens",
        low=1,
        is_optional=True,
    )
    token_budget: int = hyperparameter(
        16384, "largest micro-batch, a shared prompt counted once", unit="tokens", low=1
    )
    learning_rate: float = hyperparameter(
        1e-5, "AdamW's step size; 0 is a control", low=0
    )
    learning_rate_schedule: Literal["constant", "linear"] = hyperparameter(
        "constant",
        "the step size stays, or falls linearly to 0 at the end of `learn`",
        choices=("constant", "linear"),
    )
    weight_decay: float = hyperparameter(0.0, "decoupled weight decay", low=0)
    max_grad_norm: float = hyperparameter(
        1.0, "global gradient norm is clipped to this", low=0, is_low_open=True
    )
    ema_decay: float = hyperparameter(
        0.0,
        "share that each update keeps of a moving average of the weights; 0 keeps none",
        low=0,
        high=0.999999,
    )
    discount: float = hyperparameter(
        1.0, "discount of the future, a turn", low=0, high=1
    )
    entropy_coefficient: float = hyperparameter(
        0.0, "weight of the entropy", unit="a nat", low=0
    )
    kl_coefficient: float = hyperparameter(
        0.0, "price of the distance from the start model", unit="reward a nat", low=0
    )
    kl_estimator: KLEstimator = hyperparameter(
        "k1", "how the distance is estimated", choices=get_args(KLEstimator)
    )
    kl_placement: Literal["reward", "loss"] = hyperparameter(
        "reward", "where the price is paid", choices=("reward", "loss")
    )
    kl_target: float | None = hyperparameter(
        None,
        "KL that the coefficient is adapted to hold; None keeps the coefficient",
        unit="nats a token",
        low=0,
        is_low_open=True,
        is_optional=True,
    )
    has_shuffled_rewards: bool = hyperparameter(
        False, "negative control: the returns are paid in random order"
    )

    def __post_init__(self) -> None:
        check_hyperparameters(self)
        if self.num_episodes % self.group_size:
            raise ValueError(
                f"num_episodes={self.num_episodes} must be a multiple of "
                f"group_size={self.group_size}."
            )
        if (
            self.kl_placement == "loss"
            and self.kl_estimator == "k1"
            and self.kl_coefficient > 0
        ):
            raise ValueError(
                "kl_estimator='k1' in the loss has a gradient of mean 0 and would hold nothing; "
                "use 'k2' or 'k3' there, or kl_placement='reward'."
            )
        if self.kl_target is not None and self.kl_coefficient == 0:
            raise ValueError(
                f"kl_target={self.kl_target} adapts kl_coefficient by factors, so it needs a start "
                "above 0, got kl_coefficient=0."
            )
