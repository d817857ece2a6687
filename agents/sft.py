"""Supervised fine-tuning on scripted dialogues: the warm start of every small model.

An iteration plays fresh dialogues with a script and takes one cross-entropy step on the script's
tokens; what the user and the system said is read, never imitated. A script with a systematic flaw
gives an honestly mediocre start, from which reinforcement learning has something to gain.

`agents.fine_tuning` does the same on dialogues of one's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Mapping

from agents.algorithm import Algorithm
from agents.algorithm_config import AlgorithmConfig
from agents.engine.language_model import LanguageModel
from agents.experience.dialogue import make_env, play_script, script_of
from agents.experience.rollout import Rollout
from agents.experience.seeding import episode_seed, numpy_generator
from agents.experience.tally import Tally
from agents.hyperparameter import hyperparameter
from agents.imitation import imitate, ramped_rate
from chat_envs.replier import Replier
from chat_envs.vector import ChatVectorEnv

__all__ = ["SFT", "SFTConfig", "demonstrations"]


# Off by default; a price of drift or a shuffled reward asked for here would be silently ignored.
_UNUSED = ("entropy_coefficient", "kl_coefficient", "kl_target", "has_shuffled_rewards")


@dataclass(frozen=True, kw_only=True)
class SFTConfig(AlgorithmConfig):
    """Hyperparameters of `SFT`; the defaults suit the model `tiny`."""

    num_episodes: int = hyperparameter(32, "dialogues of one step", low=1)
    group_size: int = hyperparameter(
        1, "episodes that share one environment seed", low=1
    )
    learning_rate: float = hyperparameter(
        3e-3, "AdamW's peak step size; 0 is a control", low=0
    )
    weight_decay: float = hyperparameter(0.01, "decoupled weight decay", low=0)
    num_steps: int = hyperparameter(350, "optimizer steps of the whole run", low=1)
    num_warmup_steps: int = hyperparameter(
        20,
        "the step size rises linearly so long, then falls linearly to 0",
        unit="steps",
        low=0,
    )
    script: str = hyperparameter(
        "expert", "whose replies are imitated (see `script_of`)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in _UNUSED:
            if getattr(self, name) not in (None, False, 0):
                raise ValueError(
                    f"SFT imitates and has no use for {name}: leave it alone, got "
                    f"{getattr(self, name)!r}."
                )
        if self.learning_rate_schedule != "constant":
            raise ValueError(
                "SFT has a schedule of its own (num_warmup_steps, then linear over num_steps): "
                f"leave learning_rate_schedule alone, got {self.learning_rate_schedule!r}."
            )


def demonstrations(
    env: str | ChatVectorEnv,
    policy: str | Replier = "expert",
    *,
    num_episodes: int,
    seed: int = 0,
    iteration: int = 0,
    num_envs: int = 32,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Rollout:
    """Return scripted dialogues.

    Args:
        env: the id of a chat environment, or a `ChatVectorEnv` with autoreset disabled.
        policy: a name for `script_of`, or a function from the environment to a reply.
        num_episodes: how many.
        seed: with `iteration`, source of the environments' seeds.
        iteration: counter; another one gives other dialogues.
        num_envs: dialogues at a time, where `env` is an id.
        env_kwargs: keywords of the environment (`split` among them), where `env` is an id.
    """
    made = make_env(env, num_envs, **(env_kwargs or {}))
    rng = numpy_generator(seed, "script", iteration)
    script = script_of(policy, rng) if isinstance(policy, str) else policy
    seeds = [episode_seed(seed, iteration, number) for number in range(num_episodes)]
    return play_script(made, seeds, script)


class SFT(Algorithm):
    """Imitation of a script; `learn()` without arguments runs `num_steps` steps.

    The figures `return`, `success` and their like are the script's, not the model's.

    Args:
        lm: see `Algorithm`.
        env: see `Algorithm`.
        config: see `Algorithm`.
        replier: says what to imitate, instead of `config.script`. It is code, so it is no
            hyperparameter: a resumed run must be given it again.
        env_kwargs: see `Algorithm`.
        **hyperparameters: fields of `SFTConfig`.
    """

    config_class: ClassVar[type[AlgorithmConfig]] = SFTConfig
    has_reference: ClassVar[bool] = False
    has_end: ClassVar[bool] = True
    config: SFTConfig

    def __init__(
        self,
        lm: LanguageModel,
        env: str | ChatVectorEnv,
        config: SFTConfig | None = None,
        *,
        replier: Replier | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        **hyperparameters: Any,
    ) -> None:
        super().__init__(lm, env, config, env_kwargs=env_kwargs, **hyperparameters)
        self.replier = replier

    @property
    def is_finished(self) -> bool:
        """Whether the schedule of step sizes has come to its end."""
        return self.iteration >= self.config.num_steps

    def collect(self) -> Rollout:
        """Return fresh dialogues of the script."""
        rollout = demonstrations(
            self.env,
            self.config.script if self.replier is None else self.replier,
            num_episodes=self.config.num_episodes,
            seed=self.config.seed,
            iteration=self.iteration,
        )
        self.collector.count(rollout)
        return rollout

    def learning_rate(self) -> float:
        """Return the step size of the present iteration."""
        return ramped_rate(
            self.iteration + 1,
            peak=self.config.learning_rate,
            num_warmup_steps=self.config.num_warmup_steps,
            num_steps=self.config.num_steps,
        )

    def update(self, rollout: Rollout) -> Tally:
        """Take one cross-entropy step; return what was measured on the way."""
        lm = self.lm
        lm.set_learning_rate(self.learning_rate())
        tally = imitate(lm, rollout, self.config.token_budget)
        tally.add_ratio("learning_rate", self.learning_rate(), 1)
        tally.add_ratio("grad_norm", lm.step(), 1)
        num_tokens = int(sum(episode.action_mask.sum() for episode in rollout))
        tally.add_total("trained_tokens", num_tokens)
        return tally
