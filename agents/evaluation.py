"""How good is it? Returns, success and normalised scores on fixed seeds, with 95% intervals.

Scores are of sampled replies (temperature 1) on the seeds `seed, seed + 1, ...` of a split; with
`seed=0` those are the seeds of the anchors. Greedy replies are scored by `is_greedy=True`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Mapping

import numpy as np
import numpy.typing as npt

from agents.engine.language_model import LanguageModel
from agents.experience.collector import Collector
from agents.experience.dialogue import Progress, make_env, play_script, script_of
from agents.experience.rollout import Rollout
from agents.experience.seeding import numpy_generator
from chat_envs import anchors
from chat_envs.replier import Replier

__all__ = [
    "EvaluationResult",
    "Interval",
    "anchors_hold",
    "bootstrap_interval",
    "evaluate",
    "evaluate_script",
    "gold_gain",
    "success_gain",
    "wilson_interval",
]

NUM_REPLICATES = 10_000
DRAWS_AT_ONCE = 1_000_000  # keeps the bootstrap's index array below 8 MB
# Keywords that leave an environment's rewards what they are, so that its anchors still hold.
NEUTRAL_KEYWORDS = {
    "context_length",
    "render_mode",
    "reply_length",
    "split",
    "tokenizer",
}


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95% interval."""

    mean: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return `{"mean", "low", "high"}`."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


def bootstrap_interval(values: npt.ArrayLike, rng: np.random.Generator) -> Interval:
    """Return the mean and its 95% percentile bootstrap interval (Efron 1979), 10,000 replicates.

    Args:
        values: independent observations, at least 2.
        rng: source of the resampling.

    Raises:
        ValueError: on fewer than 2 values, or one that is not finite.

    >>> bootstrap_interval([1.0, 1.0, 1.0], np.random.default_rng(0))
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    observed = np.asarray(values, dtype=np.float64)
    if observed.ndim != 1 or len(observed) < 2 or not np.isfinite(observed).all():
        raise ValueError(
            f"An interval needs at least 2 finite observations in one row, got {observed!r}."
        )
    step = max(DRAWS_AT_ONCE // len(observed), 1)
    means: list[npt.NDArray[np.float64]] = []
    for begin in range(0, NUM_REPLICATES, step):
        shape = (min(step, NUM_REPLICATES - begin), len(observed))
        means.append(observed[rng.integers(len(observed), size=shape)].mean(1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Interval(float(observed.mean()), float(low), float(high))


def wilson_interval(num_successes: int, num_trials: int) -> Interval:
    """Return a share and its 95% score interval (Wilson 1927), sound at 0 and at 1 too.

    Raises:
        ValueError: unless 0 <= num_successes <= num_trials and num_trials >= 1.

    >>> wilson_interval(0, 10).low, round(wilson_interval(0, 10).high, 4)
    (0.0, 0.2775)
    """
    if not 0 <= num_successes <= num_trials or num_trials < 1:
        raise ValueError(
            f"Expected 0 <= successes <= trials and at least one trial, got {num_successes} of "
            f"{num_trials}."
        )
    z = 1.959963984540054  # the normal quantile at 0.975
    share = num_successes / num_trials
    scale = 1 + z**2 / num_trials
    centre = (share + z**2 / (2 * num_trials)) / scale
    spread = (
        z
        * math.sqrt(share * (1 - share) / num_trials + z**2 / (4 * num_trials**2))
        / scale
    )
    # At the ends the formula is exact, the arithmetic is not.
    low = 0.0 if num_successes == 0 else centre - spread
    high = 1.0 if num_successes == num_trials else centre + spread
    return Interval(share, low, high)


@dataclass(frozen=True)
class EvaluationResult:
    """What a policy achieved on fixed seeds.

    Attributes:
        env: id of the environment.
        split: on which goals.
        policy: name of the model or the script.
        seed: the first of the episodes' seeds, and the source of sampling and resampling.
        rollout: the episodes, in the order of their seeds.
        has_anchors: whether the anchors hold: they exist, and no keyword changed the rewards.
    """

    env: str
    split: str
    policy: str
    seed: int
    rollout: Rollout
    has_anchors: bool

    @property
    def returns(self) -> npt.NDArray[np.float64]:
        """(E,) undiscounted returns; NaN where a reward is unknown."""
        return np.array([episode.total_reward for episode in self.rollout])

    @property
    def gold_returns(self) -> npt.NDArray[np.float64]:
        """(E,) undiscounted returns of the task's own reward, whatever was paid."""
        return np.array([episode.total_gold for episode in self.rollout])

    @property
    def successes(self) -> npt.NDArray[np.bool_]:
        """(E,) whether each episode's task was solved."""
        return np.array([episode.success for episode in self.rollout])

    @property
    def scores(self) -> npt.NDArray[np.float64] | None:
        """(E,) normalised scores; None without anchors."""
        if not self.has_anchors:
            return None
        return np.asarray(anchors.normalised_score(self.env, self.returns, self.split))

    def return_interval(self) -> Interval:
        """Return the mean return over the episodes whose rewards are all known."""
        return self._bootstrap(self.returns)

    def gold_interval(self) -> Interval | None:
        """Return the mean return of the task's own reward; None where nobody noted it."""
        golds = self.gold_returns
        return None if np.isnan(golds).all() else self._bootstrap(golds)

    def success_interval(self) -> Interval:
        """Return the share of solved tasks."""
        return wilson_interval(int(self.successes.sum()), len(self.successes))

    def score_interval(self) -> Interval | None:
        """Return the mean normalised score; None without anchors."""
        scores = self.scores
        return None if scores is None else self._bootstrap(scores)

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON; `normalised_score` is null without anchors."""
        score, gold = self.score_interval(), self.gold_interval()
        return {
            "env": self.env,
            "split": self.split,
            "policy": self.policy,
            "episodes": len(self.rollout),
            "unknown_returns": int(np.isnan(self.returns).sum()),
            "return": self.return_interval().as_dict(),
            "gold_return": None if gold is None else gold.as_dict(),
            "success": self.success_interval().as_dict(),
            "normalised_score": None if score is None else score.as_dict(),
        }

    def _bootstrap(self, values: npt.NDArray[np.float64]) -> Interval:
        known = values[~np.isnan(values)]
        if len(known) < 2:
            raise ValueError(
                f"{len(known)} of {len(values)} episodes of {self.env} have a known return, an "
                "interval needs 2: see the log for why the reward fails."
            )
        return bootstrap_interval(known, numpy_generator(self.seed, "bootstrap"))


def evaluate(
    lm: LanguageModel,
    env: str,
    *,
    num_episodes: int = 200,
    split: str = "test",
    seed: int = 0,
    temperature: float = 1.0,
    is_greedy: bool = False,
    num_envs: int = 64,
    env_kwargs: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Return how a language model fares.

    Args:
        lm: plays; its weights and gradients are left alone.
        env: id of a chat environment.
        num_episodes: one a seed; at least 2.
        split: "train" or "test".
        seed: the first of the episodes' seeds.
        temperature: of sampling.
        is_greedy: take the likeliest tokens instead of sampling.
        num_envs: dialogues at a time.
        env_kwargs: further keywords of the environment.
        progress: told how many episodes are over, each time some are.
    """
    kwargs = dict(env_kwargs or {}) | {"split": split}
    collector = Collector(
        lm,
        env,
        num_envs=min(num_envs, num_episodes),
        temperature=temperature,
        seed=seed,
        env_kwargs=kwargs,
    )
    seeds = range(seed, seed + num_episodes)
    sampling = replace(collector.sampling, is_greedy=is_greedy)
    rollout = collector.play(seeds, range(num_episodes), 0, sampling, progress)
    return EvaluationResult(
        env, split, lm.name, seed, rollout, anchors_hold(env, kwargs)
    )


def evaluate_script(
    policy: str | Replier,
    env: str,
    *,
    num_episodes: int = 200,
    split: str = "test",
    seed: int = 0,
    num_envs: int = 64,
    env_kwargs: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Return how a script fares ("expert", "blind", "random", ...); arguments as for `evaluate`."""
    kwargs = dict(env_kwargs or {}) | {"split": split}
    made = make_env(env, min(num_envs, num_episodes), **kwargs)
    rng = numpy_generator(seed, "script")
    script = script_of(policy, rng) if isinstance(policy, str) else policy
    rollout = play_script(made, range(seed, seed + num_episodes), script, progress)
    name = policy if isinstance(policy, str) else getattr(policy, "__name__", "script")
    return EvaluationResult(env, split, name, seed, rollout, anchors_hold(env, kwargs))


def success_gain(before: EvaluationResult, after: EvaluationResult) -> Interval:
    """Return the rise in success, seed by seed (paired, so the seeds' own difficulty cancels).

    Raises:
        ValueError: if the two were not measured on the same seeds of the same environment.
    """
    _require_same_episodes(before, after)
    difference = after.successes.astype(np.float64) - before.successes
    return bootstrap_interval(difference, numpy_generator(after.seed, "bootstrap"))


def gold_gain(before: EvaluationResult, after: EvaluationResult) -> Interval:
    """Return the rise in the return of the task's own reward, seed by seed.

    Raises:
        ValueError: if the two were not measured on the same seeds of the same environment.
    """
    _require_same_episodes(before, after)
    difference = after.gold_returns - before.gold_returns
    return bootstrap_interval(difference, numpy_generator(after.seed, "bootstrap"))


def _require_same_episodes(before: EvaluationResult, after: EvaluationResult) -> None:
    one, other = (
        (result.env, result.split, [episode.seed for episode in result.rollout])
        for result in (before, after)
    )
    if one != other:
        raise ValueError(
            f"A gain compares the same episodes, got {before.env} {before.split} "
            f"({len(one[2])} seeds from {before.seed}) and {after.env} {after.split} "
            f"({len(other[2])} seeds from {after.seed})."
        )


def anchors_hold(env: str, kwargs: Mapping[str, Any]) -> bool:
    """Return whether scores can be normalised: anchors exist, and no keyword changes rewards."""
    if set(kwargs) - NEUTRAL_KEYWORDS:
        return False
    try:
        anchors.load(env)
    except (LookupError, ValueError):  # none stored, or an id that is not of this suite
        return False
    return True
