"""GRPO (Shao et al. 2024) and its family: a group is its own baseline, and there is no critic.

One update: several replies to one prompt are compared with each other; then a few epochs of
minibatches of a clipped surrogate (`agents.surrogate`). Dr. GRPO, DAPO, GSPO, CISPO and REINFORCE++
are settings of it (`agents.recipe` has their numbers).

DAPO's dynamic sampling: a group whose members all earn the same teaches nothing. It is left out,
and more groups are played until the update is full or `max_refills` is reached. What is played
follows from (seed, iteration), so a resumed run plays the same. Returns, successes and lengths of
an iteration describe all that was played; drift and what is measured while training only what was
kept.

Shape legend: N episodes of a rollout, K action tokens, T turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from agents.algorithm import Algorithm
from agents.algorithm_config import AlgorithmConfig
from agents.credit import CreditRule, returns_of
from agents.engine import process_group
from agents.experience.rollout import ActionTokens, Rollout
from agents.experience.summary import describe_drift
from agents.experience.tally import Tally
from agents.hyperparameter import hyperparameter
from agents.objective.baseline import Baseline, Credit, Scale
from agents.objective.importance import RatioLevel
from agents.objective.kl import KLEstimator
from agents.objective.loss import Aggregation
from agents.objective.overlong import overlong_penalty
from agents.regularizer import drift_price
from agents.surrogate import SurrogateUpdate, Targets, old_log_probs
from agents.surrogate_config import SurrogateConfig

__all__ = ["GRPO", "GRPOConfig"]

LEAST_SPREAD = 1e-6  # in reward: members closer than this earn the same


@dataclass(frozen=True, kw_only=True)
class GRPOConfig(SurrogateConfig):
    """Hyperparameters of `GRPO`; what is the paper's own is its default, step sizes suit `tiny`."""

    kl_coefficient: float = hyperparameter(
        0.04, "price of the distance from the start model", unit="reward a nat", low=0
    )
    kl_estimator: KLEstimator = hyperparameter(
        "k3", "how the distance is estimated", choices=get_args(KLEstimator)
    )
    kl_placement: Literal["reward", "loss"] = hyperparameter(
        "loss", "where the price is paid", choices=("reward", "loss")
    )
    aggregation: Aggregation = hyperparameter(
        "seq-mean-token-mean",
        "how tokens are weighed in the loss",
        choices=get_args(Aggregation),
    )
    baseline: Baseline = hyperparameter(
        "group_mean",
        "what a return is compared with",
        choices=[name for name in get_args(Baseline) if name != "greedy"],
    )
    credit: Credit = hyperparameter(
        "episode",
        "a token is paid the return of its episode, from its turn on, or from itself on",
        choices=get_args(Credit),
    )
    scale: Scale = hyperparameter(
        "group_std",
        "unit of the advantages (see `CreditRule`)",
        choices=get_args(Scale),
    )
    ratio_level: RatioLevel = hyperparameter(
        "token",
        "a token's ratio is its own, or the mean of its reply or episode (GSPO)",
        choices=get_args(RatioLevel),
    )
    has_dynamic_sampling: bool = hyperparameter(
        False, "leave out groups that all earn the same, and play others instead (DAPO)"
    )
    max_refills: int = hyperparameter(
        4, "times that an update plays groups again, to fill up", low=0
    )
    overlong_penalty: float = hyperparameter(
        0.0, "price of a reply that fills its limit (DAPO)", unit="reward", low=0
    )
    overlong_share: float = hyperparameter(
        0.2, "last part of the limit, in which the price rises", low=0.01, high=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        needs_group = self.baseline in ("leave_one_out", "group_mean")
        needs_group = needs_group or self.scale == "group_std"
        if (needs_group or self.has_dynamic_sampling) and self.group_size < 2:
            raise ValueError(
                f"baseline={self.baseline!r}, scale={self.scale!r}, has_dynamic_sampling="
                f"{self.has_dynamic_sampling} compares episodes of one group, so group_size must "
                f"be at least 2, got {self.group_size}."
            )


class GRPO(Algorithm):
    """GRPO over whole dialogues; see `Algorithm` for the arguments."""

    config_class: ClassVar[type[AlgorithmConfig]] = GRPOConfig
    config: GRPOConfig

    def collect(self) -> Rollout:
        """Return the episodes of the present iteration, those that will be left out too."""
        config, rollout = self.config, super().collect()
        if not config.has_dynamic_sampling:
            return rollout
        num_groups = config.num_episodes // config.group_size
        _, size = process_group.place()
        next_group = num_groups
        for draw in range(1, config.max_refills + 1):
            missing = num_groups - len(self.telling_groups(rollout))
            if missing <= 0:
                break
            missing += -missing % size  # each process plays as many
            more = self.play(
                missing * config.group_size, first_group=next_group, draw=draw
            )
            next_group += missing
            rollout = Rollout([*rollout, *more])
        return rollout

    def telling_groups(self, rollout: Rollout) -> list[int]:
        """Return the groups, in order, whose members do not all earn the same."""
        returns_NT, known_NT = returns_of(
            self.paid(rollout),
            rollout.reward_valid(self.lm.device),
            credit=self.config.credit,
            discount=self.config.discount,
        )
        high_NT = torch.where(known_NT, returns_NT, -torch.inf)
        low_NT = torch.where(known_NT, returns_NT, torch.inf)
        telling = []
        for group in sorted(set(rollout.groups.tolist())):
            rows = torch.as_tensor(np.flatnonzero(rollout.groups == group))
            spread_T = high_NT[rows].amax(0) - low_NT[rows].amin(0)
            if bool((spread_T > LEAST_SPREAD).any()):
                telling.append(group)
        return telling

    def update(self, rollout: Rollout) -> Tally:
        """Take some epochs over the rollout; return what was measured on the way."""
        config = self.config
        tally = Tally()
        if config.overlong_penalty > 0:
            tally.merge(self._describe_overlong(rollout))
        if config.has_dynamic_sampling:
            rows = self._kept_rows(rollout)
            num_groups = len(set(rollout.groups.tolist()))
            num_kept = len(set(rollout.groups[rows].tolist()))
            tally.add_total("dropped_groups", num_groups - num_kept)
            tally.add_total("refilled_episodes", len(rollout) - config.num_episodes)
            if len(rows) == 0:  # all earn the same: there is nothing to learn from
                tally.merge(self._describe(rollout))
                tally.add_total("trained_tokens", 0)
                tally.add_total("optimizer_steps", 0)
                return tally
            rollout = Rollout([rollout.episodes[row] for row in rows])
        actions = rollout.actions(self.lm.device)
        reference_NK = self.reference_log_probs(rollout, actions)
        tally.merge(describe_drift(actions, reference_NK))
        advantages_NK, mask_NK = self.advantages(rollout, actions, reference_NK)
        old_NK = old_log_probs(self, config, rollout, actions)
        update = SurrogateUpdate(
            algorithm=self,
            config=config,
            rollout=rollout,
            actions=actions,
            targets=Targets(mask_NK, advantages_NK, reference_NK, old_NK),
            ratio_level=config.ratio_level,
        )
        tally.merge(update.run())
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
        price_NK = drift_price(self, actions, reference_NK)
        return rule.advantages(rollout, actions, self.paid(rollout), price_NK)

    def paid(self, rollout: Rollout) -> torch.Tensor:
        """Return (N, T) rewards, less what long replies cost."""
        rewards_NT = rollout.rewards(self.lm.device)
        if self.config.overlong_penalty > 0:
            penalty_NT = self._penalties(rollout).to(rewards_NT.device)
            rewards_NT = rewards_NT + self.config.overlong_penalty * penalty_NT
        return rewards_NT

    def _penalties(self, rollout: Rollout) -> torch.Tensor:
        """Return (N, T) in [-1, 0]; 0 after the last turn."""
        limit = self.collector.sampling.max_new_tokens
        lengths_NT = np.zeros((len(rollout), int(rollout.num_turns.max())))
        for n, episode in enumerate(rollout):
            lengths_NT[n, : episode.num_turns] = episode.reply_lengths
        margin = self.config.overlong_share * limit
        return overlong_penalty(
            torch.from_numpy(lengths_NT), limit=limit, margin=margin
        )

    def _kept_rows(self, rollout: Rollout) -> npt.NDArray[np.int64]:
        """Return the episodes to learn from: of the first groups that tell something."""
        num_groups = self.config.num_episodes // self.config.group_size
        kept = self.telling_groups(rollout)[:num_groups]
        return np.flatnonzero(np.isin(rollout.groups, kept))

    def _describe(self, rollout: Rollout) -> Tally:
        """Return how far the policy is from the start model."""
        actions = rollout.actions(self.lm.device)
        return describe_drift(actions, self.reference_log_probs(rollout, actions))

    def _describe_overlong(self, rollout: Rollout) -> Tally:
        """Return the share of replies that were charged for their length."""
        tally = Tally()
        num_charged = int((self._penalties(rollout) < 0).sum())
        tally.add_ratio("overlong_share", num_charged, int(rollout.num_turns.sum()))
        return tally
