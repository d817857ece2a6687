"""What an `SB3Agent` can be told: names that exist, values that a file can hold."""

from __future__ import annotations

import inspect
import math
from typing import Any, Callable, Iterable, Mapping, NamedTuple

from stable_baselines3.common.base_class import BaseAlgorithm

from agents.sb3.language_model_policy import LMActorCriticPolicy
from agents.sb3.token_features import TokenFeaturesExtractor
from chat_envs.optional_package import load_module
from chat_envs.spelling import nearest

__all__ = ["ALGORITHMS", "SB3Algorithm", "check_keywords", "plain"]


class SB3Algorithm(NamedTuple):
    """An algorithm of Stable-Baselines3 and how we build it.

    Attributes:
        label: what benchmarks call the agent.
        package: which holds the class.
        policy: its policy for observations of several parts.
        keywords: what differs from its own defaults.
        has_language_model: whether it can train one.
    """

    label: str
    package: str
    policy: str
    keywords: Mapping[str, Any]
    has_language_model: bool = False

    def load(self, name: str) -> type[BaseAlgorithm]:
        """Return the class; `sb3_contrib` is needed by those alone who ask for what it holds."""
        module = load_module(
            self.package, need=f"{name} is in {self.package}", extra="sb3"
        )
        found: type[BaseAlgorithm] = getattr(module, name)
        return found


_MULTI, _SB3, _CONTRIB = "MultiInputPolicy", "stable_baselines3", "sb3_contrib"
# 2,048 timesteps of one environment are its default; here there are 16 side by side.
_ROLLOUT = {"n_steps": 128}
ALGORITHMS: Mapping[str, SB3Algorithm] = {
    "A2C": SB3Algorithm("sb3-a2c", _SB3, _MULTI, {}, has_language_model=True),
    # Its buffer holds every context twice: a million of them would be gigabytes.
    "DQN": SB3Algorithm("sb3-dqn", _SB3, _MULTI, {"buffer_size": 20_000}),
    "MaskablePPO": SB3Algorithm("sb3-maskable-ppo", _CONTRIB, _MULTI, _ROLLOUT),
    "PPO": SB3Algorithm("sb3-ppo", _SB3, _MULTI, _ROLLOUT, has_language_model=True),
    "RecurrentPPO": SB3Algorithm(
        "sb3-recurrent-ppo", _CONTRIB, "MultiInputLstmPolicy", {}
    ),
}
"""Class -> what it takes to build it."""

# Set by SB3Agent itself.
_OWN = frozenset(("_init_setup_model", "env", "policy", "seed"))
_OWN_OF_POLICIES = frozenset(
    "action_space features_extractor_class features_extractor_kwargs forbidden_ids lm lr_schedule"
    " observation_space".split()
)


def check_keywords(
    algorithm: str,
    hyperparameters: Mapping[str, Any],
    features: Mapping[str, Any],
    *,
    has_language_model: bool,
) -> None:
    """Refuse keywords that nobody would read.

    Raises:
        ImportError: if the algorithm's package is not installed.
        TypeError: if one is unknown; the nearest right name is proposed.
    """
    found = ALGORITHMS[algorithm]
    class_ = found.load(algorithm)
    policy = (
        LMActorCriticPolicy
        if has_language_model
        else class_.policy_aliases[found.policy]
    )
    _check(algorithm, hyperparameters, _keywords(class_) - _OWN - {"device"})
    policy_kwargs = hyperparameters.get("policy_kwargs") or {}
    if not isinstance(policy_kwargs, Mapping):
        raise TypeError(f"policy_kwargs must be a mapping, got {policy_kwargs!r}.")
    _check("policy_kwargs", policy_kwargs, _keywords(policy) - _OWN_OF_POLICIES)
    known = _keywords(TokenFeaturesExtractor) - {"observation_space"}
    _check("features", features, known)


def _keywords(called: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(called).parameters)


def _check(owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    for name in given:
        if name in _OWN or name in _OWN_OF_POLICIES:
            raise TypeError(
                f"{owner}: {name} is set by SB3Agent itself, from its own arguments."
            )
        if name not in known:
            raise TypeError(f"{owner} has no keyword {name!r}.{nearest(name, known)}")


def plain(name: str, value: Any) -> Any:
    """Return `value` as it comes back from a file of JSON: tuples are lists.

    Raises:
        TypeError: if JSON cannot hold it; names it.

    >>> plain("net_arch", (64, 32))
    [64, 32]
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [plain(name, one) for one in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(f"{name}.{key}", one) for key, one in value.items()}
    raise TypeError(
        f"{name}={value!r} is not plain JSON, as the settings of an SB3Agent are so that they can "
        "be saved; call Stable-Baselines3 itself with it."
    )
