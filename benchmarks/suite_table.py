"""The built-in suites, as the same plain data that a file holds (see `benchmarks.suite`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.commands.demo import DEMO

__all__ = ["SUITES"]


def _easiest(names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"env": f"{name}-easy-v0"} for name in names]


# A network that knows no word would find the right one among a thousand by luck alone.
_WORDS: Mapping[str, Any] = {"vocabulary": "candidates"}
# Stable-Baselines3's own rollouts of thousands of tokens would be most of a budget, and its
# discount of each token a price of every word. Of three settings each, these scored best in
# KeywordBandit.
_PPO: Mapping[str, Any] = {
    **_WORDS,
    "n_steps": 16,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "gamma": 1.0,
}
_A2C: Mapping[str, Any] = {
    **_WORDS,
    "n_steps": 8,
    "learning_rate": 2e-3,
    "ent_coef": 0.01,
    "gamma": 1.0,
}

# What a processor can pay for 135 million parameters: a step of imitation takes some ten seconds,
# one of learning a minute.
_REAL: Mapping[str, Any] = {
    "env_kwargs": {"context_length": 512, "reply_length": 24},
    "budget": 4_000,
}
_REAL_IMITATION: Mapping[str, Any] = {
    "num_steps": 24,
    "num_episodes": 8,
    "learning_rate": 5e-5,
    "num_warmup_steps": 4,
}

SUITES: Mapping[str, Mapping[str, Any]] = {
    "core": {
        "summary": "five applications, a game, the preference model and three diagnostics",
        "lm": "tiny",
        # Of every algorithm that trains the language model, over its recipe's own; step sizes are
        # those that suit the model, which the algorithms have by themselves.
        "hyperparameters": {
            "num_episodes": 64,
            "group_size": 8,
            "learning_rate_schedule": "linear",
        },
        "agents": {
            "ppo": dict(DEMO["hyperparameters"]),
            "sb3-a2c": _A2C,
            # Its own 10,000 steps between two copies of the target would be most of a budget.
            "sb3-dqn": {**_WORDS, "gamma": 1.0, "target_update_interval": 500},
            "sb3-maskable-ppo": _PPO,
            "sb3-ppo": _PPO,
            "sb3-recurrent-ppo": _PPO,
        },
        "evaluation": {
            "num_episodes": 200,
            "num_side_episodes": 100,
            "num_trial_goals": 25,
            "num_trials": 4,
        },
        "tasks": [
            *_easiest(
                [
                    "CustomerService",
                    "VoiceAssistant",
                    "SocialChat",
                    "Tutoring",
                    "Negotiation",
                    "GuessNumber",
                ]
            ),
            {"env": "Preference-v0"},
            *_easiest(["Echo", "Recall"]),
            {"env": "KeywordBandit-v0"},
        ],
    },
    "apps": {
        "extends": "core",
        "summary": "the applications",
        "tasks": _easiest(
            [
                "CustomerService",
                "VoiceAssistant",
                "SocialChat",
                "Tutoring",
                "Negotiation",
            ]
        ),
    },
    "games": {
        "extends": "core",
        "summary": "the games",
        "tasks": _easiest(
            ["TwentyQuestions", "GuessPlace", "GuessNumber", "Wordle", "Mastermind"]
        ),
    },
    "diagnostics": {
        "extends": "core",
        "summary": "the diagnostics, one ability each",
        "tasks": [
            *_easiest(
                [
                    "Echo",
                    "CopyBack",
                    "Recall",
                    "RecallMany",
                    "Umbrella",
                    "Passphrase",
                    "Paraphrase",
                    "ProxyFlaw",
                    "Drift",
                ]
            ),
            {"env": "KeywordBandit-v0"},
        ],
    },
    "smollm2": {
        "summary": "two applications for a real model, at a budget that a processor can pay",
        "lm": "smollm2-135m",
        "hyperparameters": {
            "num_episodes": 16,
            "group_size": 4,
            "num_envs": 16,
            "learning_rate": 5e-6,
            "learning_rate_schedule": "linear",
        },
        "agents": {"grpo": {"num_epochs": 1, "num_minibatches": 1}},
        "evaluation": {
            "num_episodes": 32,
            "num_side_episodes": 16,
            "num_trial_goals": 0,
        },
        "tasks": [
            {
                "env": "CustomerService-easy-v0",
                "warm_start": {**_REAL_IMITATION, "script": "careless"},
                **_REAL,
            },
            {
                "env": "SocialChat-easy-v0",
                "warm_start": {**_REAL_IMITATION, "script": "expert+generic+question"},
                **_REAL,
            },
        ],
    },
}
"""Name -> suite."""
