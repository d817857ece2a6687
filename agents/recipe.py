"""Agents by name: an algorithm and the hyperparameters that make it what its paper says.

Many algorithms differ by a few choices (`docs/algorithms.md` has their equations side by side), so
each is a setting of one of five classes. Step sizes, numbers of epochs and batch sizes are not a
recipe's: they are the class's, which suit the model `tiny`. Whoever runs a recipe may change
anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.algorithm import Algorithm
from agents.algorithm_config import AlgorithmConfig
from agents.engine.language_model import LanguageModel
from agents.filtered_cloning import FilteredCloning
from agents.grpo import GRPO
from agents.hyperparameter import build_config
from agents.ppo import PPO
from agents.reinforce import REINFORCE
from chat_envs.vector import ChatVectorEnv

__all__ = ["RECIPES", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """How an agent is made.

    Calling it makes the algorithm, with the arguments of `Algorithm`.

    Attributes:
        algorithm: class that it is a setting of.
        paper: where it comes from.
        hyperparameters: that differ from the class's defaults.
    """

    algorithm: type[Algorithm]
    paper: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config_class(self) -> type[AlgorithmConfig]:
        """The dataclass of its hyperparameters."""
        return self.algorithm.config_class

    def config(self, values: Mapping[str, Any] | None = None) -> AlgorithmConfig:
        """Return all hyperparameters: the recipe's, and those given over them.

        Raises:
            TypeError: an unknown hyperparameter (the nearest is named), or one of a wrong type.
            ValueError: a hyperparameter out of range.

        >>> RECIPES["dr_grpo"].config({"seed": 3}).scale
        'none'
        """
        return build_config(
            self.config_class, dict(self.hyperparameters) | dict(values or {})
        )

    def __call__(
        self,
        lm: LanguageModel,
        env: str | ChatVectorEnv,
        config: AlgorithmConfig | None = None,
        *,
        env_kwargs: Mapping[str, Any] | None = None,
        **hyperparameters: Any,
    ) -> Algorithm:
        """Return the algorithm, over the recipe's hyperparameters where no config is given."""
        if config is None:
            config, hyperparameters = self.config(hyperparameters), {}
        return self.algorithm(lm, env, config, env_kwargs=env_kwargs, **hyperparameters)


_NO_KL = {"kl_coefficient": 0.0}

RECIPES: Mapping[str, Recipe] = {
    # Advantages of a critic (GAE), clipped surrogate.
    "ppo": Recipe(PPO, "Schulman et al. 2017, arXiv:1707.06347"),
    # grad = mean of (R - baseline) grad log p.
    "reinforce": Recipe(REINFORCE, "Williams 1992"),
    # A_i = R_i - mean of the others of the group; the log-prob of the whole episode, summed; drift
    # is paid for in the reward (0.03: appendix C).
    "rloo": Recipe(
        REINFORCE,
        "Ahmadian et al. 2024, arXiv:2402.14740",
        {
            "baseline": "leave_one_out",
            "aggregation": "seq-mean-token-sum",
            "kl_coefficient": 0.03,
        },
    ),
    # A = R - R(greedy reply).
    "remax": Recipe(
        REINFORCE,
        "Li et al. 2023, arXiv:2310.10505",
        {"baseline": "greedy", "aggregation": "seq-mean-token-sum"},
    ),
    # A_t = R - beta * sum over i >= t of KL_i, whitened over the batch: no critic, no group. The
    # price, here and below, is a choice of ours.
    "reinforce_pp": Recipe(
        GRPO,
        "Hu et al. 2025, arXiv:2501.03262",
        {
            "baseline": "none",
            "credit": "token",
            "scale": "batch",
            "aggregation": "token-mean",
            "kl_coefficient": 0.01,
            "kl_estimator": "k1",
            "kl_placement": "reward",
        },
    ),
    # A = R - mean of the group, whitened over the batch; drift is paid for in the loss.
    "reinforce_pp_baseline": Recipe(
        GRPO,
        "Hu et al. 2025, arXiv:2501.03262",
        {
            "baseline": "group_mean",
            "scale": "batch",
            "aggregation": "token-mean",
            "kl_coefficient": 0.01,
            "kl_estimator": "k2",
            "kl_placement": "loss",
        },
    ),
    # A = (R - mean) / std of the group; beta * k3 in the loss, equations 3 and 4.
    "grpo": Recipe(GRPO, "Shao et al. 2024, arXiv:2402.03300"),
    # Neither the std nor the length of a reply divides: section 3.2.
    "dr_grpo": Recipe(
        GRPO,
        "Liu et al. 2025, arXiv:2503.20783",
        {"scale": "none", "aggregation": "seq-mean-token-sum-norm", **_NO_KL},
    ),
    # Equations 8 to 13: clip-higher, dynamic sampling, token mean, soft overlong punishment (its
    # last fifth: 4,096 of 20,480 tokens).
    "dapo": Recipe(
        GRPO,
        "Yu et al. 2025, arXiv:2503.14476",
        {
            "clip_low": 0.2,
            "clip_high": 0.28,
            "aggregation": "token-mean",
            "has_dynamic_sampling": True,
            "overlong_penalty": 1.0,
            **_NO_KL,
        },
    ),
    # The ratio of a reply is the geometric mean of its tokens', and so has a narrow clip: equations
    # 5 to 7, section 5.1.
    "gspo": Recipe(
        GRPO,
        "Zheng et al. 2025, arXiv:2507.18071",
        {"ratio_level": "turn", "clip_low": 3e-4, "clip_high": 4e-4, **_NO_KL},
    ),
    # sg(clip(ratio)) * A * log p, equations 4 and 5; no lower bound. The paper does not say its
    # upper one: 5 is that of Khatri et al. 2025, arXiv:2510.13786.
    "cispo": Recipe(
        GRPO,
        "MiniMax 2025, arXiv:2506.13585",
        {
            "surrogate": "cispo",
            "clip_low": 1.0,
            "clip_high": 4.0,
            "aggregation": "token-mean",
            **_NO_KL,
        },
    ),
    # Cross-entropy on the best of each group: a quarter of it, where RAFT keeps one.
    "expert_iteration": Recipe(
        FilteredCloning, "Dong et al. 2023 (RAFT), arXiv:2304.06767"
    ),
}
