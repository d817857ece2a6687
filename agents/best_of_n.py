"""Best of n at inference: play several whole episodes of one goal and keep the best.

Nothing is trained, and it is the baseline that any training is measured against: it stays within
log n - (n - 1) / n nats of the policy (Stiennon et al. 2020, arXiv:2009.01325) and makes good use
of them (better than PPO at equal distance: Gao et al. 2022, arXiv:2210.10760), though it is not
quite the policy that earns most of the reward that chooses. The best is chosen by what is paid;
what the task itself pays, gold, is reported beside it.

Shape legend: E goals (seeds), N episodes of each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.engine.language_model import LanguageModel
from agents.evaluation import (
    EvaluationResult,
    Interval,
    anchors_hold,
    bootstrap_interval,
)
from agents.experience.collector import Collector
from agents.experience.dialogue import Progress
from agents.experience.rollout import Rollout
from agents.experience.seeding import numpy_generator

__all__ = ["BestOfN", "best_of_n", "best_of_n_kl", "evaluate_best_of_n"]

Floats = npt.NDArray[np.float64]


def best_of_n_kl(n: int) -> float:
    """Return KL(best of n || start) in nats, log n - (n - 1) / n.

    Exact where no two replies tie (Stiennon et al. 2020, arXiv:2009.01325, appendix G.3), and
    above the truth where they do: a short reply is drawn twice.

    >>> best_of_n_kl(1), round(best_of_n_kl(4), 4)
    (0.0, 0.6363)
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}.")
    return math.log(n) - (n - 1) / n


def best_of_n(scores: npt.ArrayLike, values: npt.ArrayLike, n: int) -> float:
    """Return the expected value of the best of n replies, over all choices of n out of N.

    The unbiased estimator of Nakano et al. 2021 (arXiv:2112.09332, appendix I). Equal scores share
    their value: which of them is taken is chance.

    Args:
        scores: (N,) what the best is chosen by.
        values: (N,) what is wanted of it.
        n: replies to choose from, 1 to N.

    >>> best_of_n([1.0, 2.0, 3.0], [10.0, 20.0, 60.0], 1)
    30.0
    >>> best_of_n([1.0, 2.0, 3.0], [10.0, 20.0, 60.0], 3)
    60.0
    """
    proxy = np.asarray(scores, dtype=np.float64)
    wanted = np.asarray(values, dtype=np.float64)
    total = len(proxy)
    if not 1 <= n <= total:
        raise ValueError(f"n must be within 1 and {total}, got {n}.")
    _, group = np.unique(proxy, return_inverse=True)
    wanted = (np.bincount(group, weights=wanted) / np.bincount(group))[group]
    order = np.argsort(proxy, kind="stable")
    # P(the i-th smallest is the best) = C(i - 1, n - 1) / C(N, n), as a running product.
    shares = np.zeros(total)
    shares[total - 1] = n / total
    for i in range(total - 1, n - 1, -1):
        shares[i - 1] = shares[i] * (i - n + 1) / i
    return float(shares @ wanted[order])


@dataclass(frozen=True)
class BestOfN:
    """How the best of n fares.

    Attributes:
        n: episodes that the best is chosen from.
        kl: upper bound of the distance from the policy, in nats an episode.
        chosen: the best of the first n episodes of each goal: episodes, success, scores.
        everything: all episodes, goal by goal.
        paid: (E,) expected paid return of the best, over all choices of n out of N; NaN of a goal
            with fewer than n known returns.
        gold: (E,) likewise of the task's own reward, NaN where nobody noted it.
    """

    n: int
    kl: float
    chosen: EvaluationResult
    everything: Rollout
    paid: Floats
    gold: Floats

    def paid_interval(self) -> Interval:
        """Return the mean paid return, with its interval over goals."""
        return self._interval(self.paid)

    def gold_interval(self) -> Interval | None:
        """Return the mean gold return; None where nobody noted it."""
        return None if np.isnan(self.gold).all() else self._interval(self.gold)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON: the result of the chosen episodes, and the estimates."""
        gold = self.gold_interval()
        return self.chosen.as_dict() | {
            "n": self.n,
            "kl": self.kl,
            "episodes_played": len(self.everything),
            "expected_return": self.paid_interval().as_dict(),
            "expected_gold_return": None if gold is None else gold.as_dict(),
        }

    def _interval(self, values: Floats) -> Interval:
        known = values[~np.isnan(values)]
        return bootstrap_interval(known, numpy_generator(self.chosen.seed, "bootstrap"))


def evaluate_best_of_n(
    lm: LanguageModel,
    env: str,
    n: int,
    *,
    num_samples: int | None = None,
    num_episodes: int = 200,
    split: str = "test",
    seed: int = 0,
    temperature: float = 1.0,
    num_envs: int = 64,
    env_kwargs: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> BestOfN:
    """Return how the best of n whole episodes of one goal fares, by the reward that is paid.

    Args:
        lm: plays; its weights and gradients are left alone.
        env: id of a chat environment.
        n: episodes to choose from.
        num_samples: N, at least n, episodes of each goal; None plays n. More make the estimates
            less noisy.
        num_episodes: E, goals; at least 2.
        split: "train" or "test".
        seed: the first of the goals' seeds.
        temperature: of sampling.
        num_envs: dialogues at a time.
        env_kwargs: further keywords of the environment.
        progress: told how many episodes are over, each time some are.

    Raises:
        ValueError: n below 1 or above num_samples, or fewer than 2 goals.
    """
    total = n if num_samples is None else num_samples
    if not 1 <= n <= total:
        raise ValueError(f"n must be within 1 and num_samples={total}, got {n}.")
    if num_episodes < 2:
        raise ValueError(
            f"num_episodes must be at least 2, for an interval; got {num_episodes}."
        )
    kwargs = dict(env_kwargs or {}) | {"split": split}
    collector = Collector(
        lm,
        env,
        num_envs=min(max(num_envs, total), num_episodes * total),
        group_size=total,
        temperature=temperature,
        seed=seed,
        env_kwargs=kwargs,
    )
    goals = [number // total for number in range(num_episodes * total)]
    seeds = [seed + goal for goal in goals]
    rollout = collector.play(seeds, goals, 0, collector.sampling, progress)
    place = (env, split, f"{lm.name}, best of {n}", seed)
    has_anchors = anchors_hold(env, kwargs)
    result = partial(EvaluationResult, *place, has_anchors=has_anchors)
    return _choose(rollout, n, total, result)


def _choose(
    rollout: Rollout,
    n: int,
    num_samples: int,
    result: Callable[..., EvaluationResult],
) -> BestOfN:
    """Return the best of `num_samples` episodes of each goal; `result` takes the chosen ones."""
    paid_EN = np.array([e.total_reward for e in rollout]).reshape(-1, num_samples)
    gold_EN = np.array([e.total_gold for e in rollout]).reshape(-1, num_samples)
    # A reward that failed cannot be the best; where all failed, the first stands for them.
    first_EN = np.where(np.isnan(paid_EN), -np.inf, paid_EN)[:, :n]
    best_E = np.arange(len(paid_EN)) * num_samples + first_EN.argmax(1)
    pairs = list(zip(paid_EN, gold_EN, strict=True))
    return BestOfN(
        n=n,
        kl=best_of_n_kl(n),
        chosen=result(rollout=Rollout([rollout.episodes[row] for row in best_E])),
        everything=rollout,
        paid=np.array([_expected(paid, paid, n) for paid, _ in pairs]),
        gold=np.array([_expected(paid, gold, n) for paid, gold in pairs]),
    )


def _expected(paid_N: Floats, wanted_N: Floats, n: int) -> float:
    """Return the expected value of the best of n, of the episodes whose reward is known."""
    is_known_N = ~np.isnan(paid_N)
    if int(is_known_N.sum()) < n:
        return math.nan
    return best_of_n(paid_N[is_known_N], wanted_N[is_known_N], n)
