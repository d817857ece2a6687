"""What a run needs, made and read before anything is written: all that can be wrong is said here.

Whoever waits for a warm start has been told of a missing file, a misspelt keyword or a model that
does not fit long before.
"""

from __future__ import annotations

from agents.dialogue_data import Blend
from agents.engine.causal_lm import CausalLM
from agents.experience.dialogue import make_env
from agents.experience.script import check_script
from agents.ppo import PPOConfig, load_mixture
from agents.reward_model import check_critic, start_critic
from agents.train_config import TrainConfig
from agents.warm_start import build_lm
from chat_envs.tokenizer import Tokenizer, load_tokenizer

__all__ = ["prepare", "read_mixture"]


def prepare(config: TrainConfig) -> CausalLM:
    """Return the model of a run as it comes, once its environment has been made too.

    Whatever is wrong with a config that its fields alone do not show is raised here, or, of the
    data that it imitates, by `read_mixture`.

    Raises:
        ValueError, TypeError: the model or the environment cannot be made like that.
        OSError: a file of the model is not there.
    """
    sft = config.warm_start_config()
    if sft is not None:
        check_script(sft.script, config.env)
    lm = build_lm(config)
    lm.check_processes()
    make_env(config.env, 1, **config.full_env_kwargs()).close()
    if config.critic:
        start_critic(lm, config.critic)
        check_critic(config.critic, _tokenizer_of(config))
    return lm


def read_mixture(config: TrainConfig, lm: CausalLM) -> Blend | None:
    """Return what a run imitates beside its reward (`ptx_data`); None for nothing.

    Args:
        config: the run.
        lm: what `prepare(config)` returned.

    Raises:
        FileNotFoundError, ValueError: a source is not there or broken; the message names it.
    """
    agent_config = config.agent_config()
    if not isinstance(agent_config, PPOConfig) or not agent_config.ptx_data:
        return None
    return load_mixture(agent_config, _tokenizer_of(config), lm.context_length)


def _tokenizer_of(config: TrainConfig) -> Tokenizer:
    return load_tokenizer(config.full_env_kwargs()["tokenizer"])
