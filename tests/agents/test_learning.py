"""They learn: from known starts, on tasks whose optimum is known, with negative controls."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from agents.engine.loading import load_lm
from agents.engine.local import LocalLM
from agents.evaluation import evaluate
from agents.experience.rollout import Rollout
from agents.grpo import GRPO
from agents.ppo import PPO
from agents.recipe import RECIPES
from agents.reinforce import REINFORCE
from agents.sft import SFT
from chat_envs.core import ChatEnv
from chat_envs.tokenizer import load_tokenizer
from tests.agents.toys import WORDS, Parrot, make_lm, make_parrots

FAST: dict[str, Any] = {"num_episodes": 32, "learning_rate": 1e-3}


def any_word(env: ChatEnv) -> str:
    """Say one of the words, whichever: a start that knows how to speak but not what to say."""
    assert isinstance(env, Parrot)
    return WORDS[int(env.np_random.integers(len(WORDS)))]


@pytest.fixture(scope="module")
def speaker() -> LocalLM:
    lm = make_lm()
    SFT(
        lm, make_parrots(16), replier=any_word, num_steps=40, num_warmup_steps=5
    ).learn()
    return lm


def successes(rollout: Rollout) -> float:
    """Return the share of right words."""
    return float(
        np.mean(np.concatenate([e.reward_components["right"] for e in rollout]))
    )


# Where all is solved, advantages in units of their own deviation are noise: smaller steps at last.
SETTLING: dict[str, Any] = {"learning_rate_schedule": "linear"}
LEARNERS = [name for name in RECIPES if name not in ("ppo", "reinforce")]
CASES: list[tuple[Any, dict[str, Any]]] = [
    (REINFORCE, {"baseline": "leave_one_out"}),
    (REINFORCE, {"baseline": "greedy"}),
    (REINFORCE, {"baseline": "batch_mean", "credit": "turn"}),
    (PPO, {}),
    (PPO, SETTLING | {"critic_trace": 1.0, "dual_clip": 3.0}),
    (GRPO, SETTLING | {"baseline": "none", "credit": "turn", "scale": "return_batch"}),
    *(
        (RECIPES[name], SETTLING | ({"max_refills": 1} if name == "dapo" else {}))
        for name in LEARNERS
    ),
]
IDS = [f"{i}-{cls.__name__}" for i, (cls, _) in enumerate(CASES[: -len(LEARNERS)])]


@pytest.mark.parametrize(("cls", "kwargs"), CASES, ids=IDS + LEARNERS)
def test_a_bandit_is_solved(speaker: LocalLM, cls: Any, kwargs: dict[str, Any]) -> None:
    # The user always asks for the same word; a start says it a quarter of the time.
    env = make_parrots(32, num_words=1)
    algorithm = cls(copy.deepcopy(speaker), env, **FAST, **kwargs)
    assert successes(algorithm.collect()) < 0.5
    algorithm.learn(total_iterations=20)
    assert successes(algorithm.collect()) > 0.9


def test_a_learning_rate_of_zero_solves_nothing(speaker: LocalLM) -> None:
    env = make_parrots(32, num_words=1)
    algorithm = REINFORCE(copy.deepcopy(speaker), env, **FAST | {"learning_rate": 0.0})
    algorithm.learn(total_iterations=5)
    assert successes(algorithm.collect()) < 0.5


def test_shuffled_rewards_solve_nothing(speaker: LocalLM) -> None:
    # Noise makes such a policy drift to *some* word, so one run proves nothing: four are played,
    # and all four would end above 0.9 if their rewards were their own (see above).
    shares = []
    for seed in range(4):
        env = make_parrots(32, num_words=1)
        settings = FAST | {"seed": seed, "has_shuffled_rewards": True}
        algorithm = REINFORCE(copy.deepcopy(speaker), env, **settings)
        algorithm.learn(total_iterations=15)
        shares.append(successes(algorithm.collect()))
    assert np.mean(shares) < 0.5, shares


def half_deaf(env: ChatEnv) -> str:
    """Hear two of the words; answer the other two wrongly most of the time, always in one way."""
    assert isinstance(env, Parrot)
    is_heard = env.word in WORDS[:2] or env.np_random.random() < 0.4
    return env.word if is_heard else WORDS[0]


@pytest.fixture(scope="module")
def listener() -> LocalLM:
    lm = make_lm()
    SFT(lm, make_parrots(16), replier=half_deaf, num_steps=150).learn()
    return lm


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "reinforce" else pytest.mark.slow)
        for name in RECIPES
    ],
)
def test_an_identity_task_is_solved_from_a_systematic_flaw(
    listener: LocalLM, name: str
) -> None:
    algorithm = RECIPES[name](copy.deepcopy(listener), make_parrots(64))
    assert successes(algorithm.collect()) < 0.85
    algorithm.learn(total_iterations=40)
    assert successes(algorithm.collect()) > 0.9


def forgetful(env: ChatEnv) -> str:
    """Echo the user, but in half of the episodes the first word alone."""
    words = env.expert_reply().split()
    return " ".join(words[:1] if env.np_random.random() < 0.5 else words)


def test_reinforce_solves_echo_easy() -> None:
    env_id = "chat_envs/Echo-easy-v0"
    lm = load_lm("tiny", tokenizer=load_tokenizer(), engine="local", seed=0)
    SFT(lm, env_id, replier=forgetful, num_steps=200).learn()
    algorithm = REINFORCE(
        lm, env_id, learning_rate=1e-3, learning_rate_schedule="linear"
    )
    before = evaluate(lm, env_id, num_episodes=200, split="train").success_interval()
    algorithm.learn(total_iterations=40)
    after = evaluate(lm, env_id, num_episodes=200, split="train").success_interval()
    assert before.high < 0.75
    assert after.mean >= 0.9
