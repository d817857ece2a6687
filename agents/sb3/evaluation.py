"""How good is a model of Stable-Baselines3? Whole dialogues on fixed seeds, as for any agent.

Shape legend: N dialogues at a time, M of them in the middle of a reply, A actions, H hidden width.
"""

from __future__ import annotations

import inspect
from typing import Any, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from agents.evaluation import EvaluationResult, anchors_hold
from agents.experience.dialogue import Progress, Reply, make_env, play
from agents.experience.rollout import Rollout
from agents.sb3.randomness import lent_randomness
from chat_envs.vector import ChatVectorEnv
from chat_envs.wrappers import TokenActions

__all__ = ["evaluate_sb3"]


def evaluate_sb3(
    model: BaseAlgorithm,
    env: str,
    *,
    num_episodes: int = 200,
    seeds: Sequence[int] | None = None,
    split: str = "test",
    seed: int = 0,
    vocabulary: str | Sequence[int] = "all",
    is_greedy: bool = False,
    num_envs: int = 64,
    env_kwargs: Mapping[str, Any] | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> EvaluationResult:
    """Return how a model of Stable-Baselines3 fares on whole dialogues.

    The episodes, their scores and their intervals are those of `agents.evaluation.evaluate`, so
    the two can be compared seed by seed; log-probs of the replies are not recorded (0).

    Args:
        model: any algorithm for `Discrete` actions, masked and recurrent ones too. One that learns
            values, as DQN does, replies greedily: its random moves are for exploring.
        env: id of a chat environment.
        num_episodes: on the seeds from `seed` on; at least 2.
        seeds: one an episode, instead of those; one that is there twice is played twice.
        split: "train" or "test".
        seed: the first of the episodes' seeds, and the source of sampling.
        vocabulary: what the model was trained with.
        is_greedy: take the likeliest tokens instead of sampling.
        num_envs: dialogues at a time.
        env_kwargs: further keywords of the environment.
        name: what the result calls the policy; None takes the algorithm's.
        progress: told how many episodes are over, each time some are.

    Raises:
        ValueError: if the model has other actions or observations than the environment, or there
            is no seed.
    """
    played = range(seed, seed + num_episodes) if seeds is None else list(seeds)
    if not played:
        raise ValueError("An evaluation needs at least one seed.")
    kwargs = dict(env_kwargs or {}) | {"split": split}
    made = make_env(env, min(num_envs, len(played)), **kwargs)
    is_greedy = is_greedy or isinstance(model, OffPolicyAlgorithm)
    speaker = _Speaker(model, made, vocabulary, is_greedy)
    try:
        with lent_randomness(seed, model.device):
            episodes = play(made, played, range(len(played)), speaker, progress)
    finally:
        made.close()
    return EvaluationResult(
        env,
        split,
        name or type(model).__name__,
        seed,
        Rollout(episodes),
        anchors_hold(env, kwargs),
    )


class _Speaker:
    """Replies token by token in the dialogues that it is asked about."""

    def __init__(
        self,
        model: BaseAlgorithm,
        env: ChatVectorEnv,
        vocabulary: str | Sequence[int],
        is_greedy: bool,
    ) -> None:
        self._model = model
        self._dialogues = env.envs
        self._envs = [TokenActions(one, vocabulary) for one in env.envs]
        self._control_ids = env.tokenizer.control_ids
        self._stop_ids = env.template.stop_ids
        self._closing = next(iter(env.template.closing(None)), env.tokenizer.pad_id)
        self._is_greedy = is_greedy
        self._takes_masks = (
            "action_masks" in inspect.signature(model.predict).parameters
        )
        self._state: tuple[npt.NDArray[Any], ...] | None = None  # each (layers, N, H)
        space = self._envs[0].action_space
        if model.action_space != space:
            actions = getattr(model.action_space, "n", model.action_space)
            assert isinstance(space, spaces.Discrete)
            raise ValueError(
                f"The model has {actions} actions and the environment {space.n}: evaluate with "
                "the vocabulary and the tokenizer that it was trained with."
            )
        if model.observation_space != self._envs[0].observation_space:
            raise ValueError(
                f"The model sees {model.observation_space} and the environment shows "
                f"{self._envs[0].observation_space}: evaluate with the context_length and the "
                "tokenizer that it was trained with."
            )

    def __call__(self, places: Sequence[int]) -> list[Reply]:
        """Return a reply for each of `places`."""
        said: dict[int, list[int]] = {place: [] for place in places}
        for place in places:
            self._envs[place].begin()
        unfinished = list(places)
        while unfinished:
            actions = self._predict(unfinished, said)
            finished = set()
            for place, action in zip(unfinished, actions, strict=True):
                env = self._envs[place]
                said[place].append(int(env.ids[action]))
                if env.write(action) is not None:
                    finished.add(place)
            unfinished = [place for place in unfinished if place not in finished]
        return [self._reply(said[place]) for place in places]

    def _reply(self, ids: list[int]) -> Reply:
        # A control id that is no stop id ends the reply unsaid, as in the environment.
        has_stop = ids[-1] in self._stop_ids
        if ids[-1] in self._control_ids and not has_stop:
            # Nothing said at all: what the environment closes the reply with stands for it, so that
            # the turn has a token of the agent as every turn of a record has.
            ids = ids[:-1] or [self._closing]
        log_probs = np.zeros(len(ids), dtype=np.float32)
        return Reply(np.array(ids, dtype=np.int64), log_probs, is_cut=not has_stop)

    def _predict(self, places: list[int], said: Mapping[int, list[int]]) -> list[int]:
        """Return an action for each of M places."""
        envs = [self._envs[place] for place in places]
        seen = [env.observe() for env in envs]
        observation = {key: np.stack([one[key] for one in seen]) for key in seen[0]}
        extra: dict[str, Any] = {}
        if self._takes_masks:
            extra["action_masks"] = np.stack([env.action_masks() for env in envs])
        if self._state is not None:
            extra["state"] = tuple(part[:, places] for part in self._state)
        actions, state = self._model.predict(
            observation,
            episode_start=np.array(
                [self._is_beginning(place, said[place]) for place in places]
            ),
            deterministic=self._is_greedy,
            **extra,
        )
        if state is not None:
            self._remember(places, state)
        chosen: list[int] = actions.tolist()
        return chosen

    def _is_beginning(self, place: int, said: list[int]) -> bool:
        return not said and self._dialogues[place].turn == 0

    def _remember(self, places: list[int], state: tuple[npt.NDArray[Any], ...]) -> None:
        """Keep what a recurrent policy knows of these dialogues."""
        if self._state is None:
            num_places = len(self._envs)
            self._state = tuple(
                np.zeros((part.shape[0], num_places, *part.shape[2:]), part.dtype)
                for part in state
            )
        for kept, part in zip(self._state, state, strict=True):
            kept[:, places] = part
