"""`evaluate_sb3`: the episodes and scores of every agent, whatever the algorithm."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")
sb3_contrib = pytest.importorskip("sb3_contrib")

from stable_baselines3 import DQN, PPO  # noqa: E402
from stable_baselines3.common.base_class import BaseAlgorithm  # noqa: E402

from agents.evaluation import evaluate_script  # noqa: E402
from agents.sb3 import (  # noqa: E402
    ChatVecEnv,
    TokenFeaturesExtractor,
    evaluate_sb3,
)
from agents.sb3.randomness import lent_randomness  # noqa: E402
from chat_envs.wrappers import TokenActions  # noqa: E402

ECHO, MASTERMIND = "chat_envs/Echo-easy-v0", "chat_envs/Mastermind-easy-v0"
SMALL: dict[str, Any] = {
    "features_extractor_class": TokenFeaturesExtractor,
    "features_extractor_kwargs": {"length": 8, "width": 8},
}


def build(
    class_: Any = PPO,
    env_id: str = ECHO,
    vocabulary: str | list[int] = "candidates",
    policy: str = "MultiInputPolicy",
    env_kwargs: dict[str, Any] | None = None,
    **kwargs: Any,
) -> BaseAlgorithm:
    with lent_randomness(0, torch.device("cpu")):
        model: BaseAlgorithm = class_(
            policy,
            ChatVecEnv(env_id, 2, vocabulary=vocabulary, **(env_kwargs or {})),
            seed=0,
            device="cpu",
            policy_kwargs=SMALL | kwargs,
        )
    return model


class ExpertModel:
    """Has what `evaluate_sb3` asks of a model, and says what the experts of its dialogues say."""

    device = torch.device("cpu")

    def __init__(self, env_id: str) -> None:
        env = TokenActions(gymnasium.make(env_id))
        self.action_space, self.observation_space = (
            env.action_space,
            env.observation_space,
        )
        self.scripts: dict[tuple[int, ...], int] = {}
        unwrapped: Any = env.unwrapped
        for seed in range(12):
            env.reset(seed=seed, options=None)
            is_over = False
            while not is_over:
                for token in unwrapped.encode(unwrapped.expert_reply()).tolist():
                    seen = env.observe()
                    length = int(seen["attention_mask"].sum())
                    self.scripts[tuple(seen["input_ids"][:length].tolist())] = token
                    _, _, terminated, truncated, info = env.step(token)
                    is_over = terminated or truncated
                    if is_over or token in unwrapped.template.stop_ids:
                        break

    def predict(
        self,
        observation: dict[str, np.ndarray],
        state: None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, None]:
        lengths = observation["attention_mask"].sum(1)
        keys = [
            tuple(ids[:n].tolist())
            for ids, n in zip(observation["input_ids"], lengths, strict=True)
        ]
        return np.array([self.scripts[key] for key in keys]), None


@pytest.mark.parametrize("env_id", [ECHO, MASTERMIND])
def test_what_an_expert_says_token_by_token_scores_as_the_expert(env_id: str) -> None:
    model: Any = ExpertModel(env_id)
    mine = evaluate_sb3(model, env_id, num_episodes=12, split="train", num_envs=5)
    theirs = evaluate_script("expert", env_id, num_episodes=12, split="train")
    assert mine.returns.tolist() == theirs.returns.tolist()
    assert mine.scores is not None and theirs.scores is not None
    assert mine.scores.tolist() == theirs.scores.tolist()
    for one, other in zip(mine.rollout, theirs.rollout, strict=True):
        assert one.ids.tolist() == other.ids.tolist()
        assert one.reply_cut.tolist() == other.reply_cut.tolist()


def test_the_same_seed_draws_the_same_replies_and_another_does_not() -> None:
    model = build()
    said = []
    for seed, num_envs in ((0, 3), (0, 3), (1, 3)):
        torch.rand(1)
        result = evaluate_sb3(
            model,
            ECHO,
            num_episodes=8,
            seed=seed,
            num_envs=num_envs,
            vocabulary="candidates",
        )
        said.append([e.ids.tolist() for e in result.rollout])
    assert said[0] == said[1] != said[2]


def test_greedy_replies_do_not_depend_on_how_many_play() -> None:
    model = build()
    said = [
        [
            e.ids.tolist()
            for e in evaluate_sb3(
                model,
                ECHO,
                num_episodes=6,
                num_envs=num_envs,
                is_greedy=True,
                vocabulary="candidates",
            ).rollout
        ]
        for num_envs in (1, 4, 64)
    ]
    assert said[0] == said[1] == said[2]


def test_one_that_learns_values_replies_greedily() -> None:
    model = build(DQN)
    vars(model)["exploration_rate"] = 1.0
    assert isinstance(model, DQN)
    results = [
        evaluate_sb3(model, ECHO, num_episodes=6, seed=0, vocabulary="candidates")
        for _ in range(2)
    ]
    greedy = evaluate_sb3(
        model, ECHO, num_episodes=6, is_greedy=True, vocabulary="candidates"
    )
    for result in results:
        assert [e.ids.tolist() for e in result.rollout] == [
            e.ids.tolist() for e in greedy.rollout
        ]


def test_a_recurrent_policy_remembers_its_own_dialogue_alone() -> None:
    model = build(
        sb3_contrib.RecurrentPPO,
        MASTERMIND,
        policy="MultiInputLstmPolicy",
        lstm_hidden_size=8,
    )
    calls: list[tuple[np.ndarray, np.ndarray]] = []
    predict = model.predict

    def watched(observation: Any, **kwargs: Any) -> Any:
        actions, state = predict(observation, **kwargs)
        assert kwargs["deterministic"]
        if kwargs.get("state") is not None:
            # A dialogue that begins knows nothing of the one before at its place.
            fresh = kwargs["episode_start"]
            calls.append((fresh, np.abs(kwargs["state"][0]).sum((0, 2))))
        return actions, state

    model.predict = watched  # type: ignore[method-assign]
    said = [
        [
            e.ids.tolist()
            for e in evaluate_sb3(
                model,
                MASTERMIND,
                num_episodes=6,
                num_envs=num_envs,
                is_greedy=True,
                vocabulary="candidates",
            ).rollout
        ]
        for num_envs in (1, 4)
    ]
    assert said[0] == said[1]
    fresh = np.concatenate([begins for begins, _ in calls])
    known = np.concatenate([norms for _, norms in calls])
    assert fresh.any() and (known[~fresh] > 0).all()


def test_masks_are_handed_to_those_that_take_them() -> None:
    env = TokenActions(gymnasium.make(ECHO))
    legal = env.action_masks()
    ids = [*np.flatnonzero(~legal).tolist(), *np.flatnonzero(legal)[:2].tolist()]
    for class_, is_masked in ((sb3_contrib.MaskablePPO, True), (PPO, False)):
        result = evaluate_sb3(
            build(class_, vocabulary=ids, env_kwargs={"reply_length": 40}),
            ECHO,
            num_episodes=30,
            vocabulary=ids,
            env_kwargs={"reply_length": 40},
        )
        # A control id that ends no turn ends the reply, unsaid.
        assert any(e.reply_cut.any() for e in result.rollout) != is_masked


def test_a_reply_that_was_never_said_is_an_empty_one_on_record() -> None:
    made = TokenActions(gymnasium.make(MASTERMIND))
    illegal = np.flatnonzero(~made.action_masks())[:2].tolist()
    model = build(env_id=MASTERMIND, vocabulary=illegal)
    result = evaluate_sb3(
        model, MASTERMIND, num_episodes=3, split="train", vocabulary=illegal
    )
    for seed, episode in enumerate(result.rollout):
        assert all(
            m["content"] == "" for m in episode.messages if m["role"] == "assistant"
        )
        assert episode.reply_lengths.tolist() == [1] * len(episode.rewards)
        made.reset(seed=seed)
        paid, is_over = 0.0, False
        while not is_over:
            _, reward, terminated, truncated, _ = made.step(illegal[0])
            paid, is_over = paid + reward, terminated or truncated
        assert episode.rewards.sum() == pytest.approx(paid)
        unwrapped: Any = made.unwrapped
        assert episode.ids.tolist() == unwrapped.context.ids.tolist()


def test_another_model_than_the_environments_is_refused() -> None:
    model = build()
    with pytest.raises(ValueError, match="actions and the environment 1024"):
        evaluate_sb3(model, ECHO, num_episodes=2)
    with pytest.raises(ValueError, match="context_length"):
        evaluate_sb3(
            model,
            ECHO,
            num_episodes=2,
            vocabulary="candidates",
            env_kwargs={"context_length": 200},
        )


def test_progress_counts_the_episodes() -> None:
    told: list[int] = []
    result = evaluate_sb3(
        build(),
        ECHO,
        num_episodes=5,
        num_envs=2,
        vocabulary="candidates",
        progress=told.append,
        name="mine",
    )
    assert told == sorted(told) and told[-1] == 5
    assert result.policy == "mine" and result.split == "test"


def test_scores_need_rewards_that_are_the_tasks_own() -> None:
    kwargs = {"has_partial_credit": True}
    model = build(env_kwargs=kwargs)
    result = evaluate_sb3(
        model, ECHO, num_episodes=2, vocabulary="candidates", env_kwargs=kwargs
    )
    assert result.scores is None


def test_episodes_are_played_on_the_seeds_that_are_named() -> None:
    model = build()

    def said(**options: Any) -> list[tuple[int, list[int]]]:
        result = evaluate_sb3(
            model, ECHO, vocabulary="candidates", is_greedy=True, **options
        )
        return [(e.seed, e.ids.tolist()) for e in result.rollout]

    in_a_row = said(num_episodes=4, seed=3)
    assert said(seeds=[3, 4, 5, 6]) == in_a_row
    chosen = said(seeds=[5, 5, 3])
    assert chosen == [in_a_row[2], in_a_row[2], in_a_row[0]]
    with pytest.raises(ValueError, match="at least one seed"):
        said(seeds=[])


def test_trials_of_one_seed_are_drawn_one_by_one() -> None:
    result = evaluate_sb3(build(), ECHO, seeds=[0] * 8, vocabulary="candidates")
    assert len({tuple(e.ids.tolist()) for e in result.rollout}) > 1
