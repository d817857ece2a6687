"""Filtered behaviour cloning, or expert iteration: imitate the best of what was said.

One update: several replies to one prompt are played, the best of each group are kept, and the
policy takes cross-entropy steps on their tokens. RAFT (Dong et al. 2023, arXiv:2304.06767) keeps
the one best of a group (`keep_share` of at most 1 / group_size); STaR (Zelikman et al. 2022,
arXiv:2203.14465) keeps what is right, which `least_return` says. There is no ratio, no baseline and
no price of drift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.algorithm import Algorithm
from agents.algorithm_config import AlgorithmConfig
from agents.experience.rollout import Rollout
from agents.experience.seeding import numpy_generator
from agents.experience.summary import describe_drift
from agents.experience.tally import Tally
from agents.hyperparameter import hyperparameter
from agents.imitation import imitate

__all__ = ["FilteredCloning", "FilteredCloningConfig", "best_episodes"]

# Imitation has no use for these; off by default, so asked for they would be silently ignored.
_UNUSED = ("entropy_coefficient", "kl_coefficient", "kl_target")


@dataclass(frozen=True, kw_only=True)
class FilteredCloningConfig(AlgorithmConfig):
    """Hyperparameters of `FilteredCloning`; the defaults suit the model `tiny`."""

    learning_rate: float = hyperparameter(
        5e-4, "AdamW's step size; 0 is a control", low=0
    )
    keep_share: float = hyperparameter(
        0.25,
        "best part of each group that is imitated, at least one episode",
        low=0,
        high=1,
        is_low_open=True,
    )
    least_return: float | None = hyperparameter(
        None,
        "an episode that earned less is not imitated; None sets no bound",
        unit="reward",
        is_optional=True,
    )
    num_epochs: int = hyperparameter(2, "passes over what was kept", low=1)
    num_minibatches: int = hyperparameter(1, "optimizer steps of each pass", low=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in _UNUSED:
            if getattr(self, name) not in (None, 0):
                raise ValueError(
                    f"FilteredCloning imitates and has no use for {name}: leave it alone, got "
                    f"{getattr(self, name)!r}."
                )


def best_episodes(
    rollout: Rollout,
    *,
    keep_share: float,
    least_return: float | None,
    discount: float = 1.0,
) -> list[int]:
    """Return the rows of the best `keep_share` of each group, of those that earned enough.

    An episode with an unknown reward is never among them. Of equals the first is taken.

    Args:
        rollout: whole groups.
        keep_share: in (0, 1]; the number kept is rounded up.
        least_return: None for no bound.
        discount: a turn.
    """
    returns = [
        float(e.rewards @ discount ** np.arange(e.num_turns)) if e.is_known else None
        for e in rollout
    ]
    kept: list[int] = []
    for group in sorted(set(rollout.groups.tolist())):
        rows = np.flatnonzero(rollout.groups == group).tolist()
        # 1e-9: a share such as 0.1 of 10 is one, whatever the arithmetic says.
        num_best = max(math.ceil(keep_share * len(rows) - 1e-9), 1)
        known = [(-value, row) for row in rows if (value := returns[row]) is not None]
        best = sorted(known)[:num_best]
        # And 0.7 + 0.1 is as much as 0.8.
        least = -math.inf if least_return is None else least_return - 1e-9
        kept += [row for worth, row in best if -worth >= least]
    return sorted(kept)


class FilteredCloning(Algorithm):
    """Imitation of the policy's own best dialogues; see `Algorithm` for the arguments."""

    config_class: ClassVar[type[AlgorithmConfig]] = FilteredCloningConfig
    config: FilteredCloningConfig

    def update(self, rollout: Rollout) -> Tally:
        """Imitate the best episodes; return what was measured on the way."""
        config, lm, tally = self.config, self.lm, Tally()
        actions = rollout.actions(lm.device)
        reference_NK = self.reference_log_probs(rollout, actions)
        tally.merge(describe_drift(actions, reference_NK))
        kept = best_episodes(
            rollout,
            keep_share=config.keep_share,
            least_return=config.least_return,
            discount=config.discount,
        )
        tally.add_ratio("kept_share", len(kept), len(rollout))
        best = [rollout.episodes[row] for row in kept]
        tally.add_ratio("kept_return", sum(e.total_reward for e in best), len(best))
        tally.add_total("trained_tokens", int(sum(e.action_mask.sum() for e in best)))
        rng = numpy_generator(config.seed, "minibatch", self.iteration)
        num_steps = 0
        for _ in range(config.num_epochs):
            order = rng.permutation(len(best))
            for rows in np.array_split(order, config.num_minibatches):
                if len(rows) == 0:
                    continue
                some = Rollout([best[row] for row in rows])
                tally.merge(
                    imitate(
                        lm, some, config.token_budget, temperature=config.temperature
                    )
                )
                tally.add_ratio("grad_norm", lm.step(), 1)
                num_steps += 1
        tally.add_total("optimizer_steps", num_steps)
        return tally
