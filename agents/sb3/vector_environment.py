"""`ChatVecEnv`: many chat environments as one `VecEnv` of Stable-Baselines3.

Shape legend: N environments, C ids of a context.
"""

from __future__ import annotations

from typing import Any, Sequence, SupportsIndex

import gymnasium
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import (
    VecEnvIndices,
    VecEnvObs,
    VecEnvStepReturn,
)

from agents.experience.dialogue import make_env
from chat_envs.vector import ChatVectorEnv
from chat_envs.wrappers import TokenActions

__all__ = ["ChatVecEnv"]


class ChatVecEnv(VecEnv):
    """Chat environments, one token a step, in one process.

    The same to Stable-Baselines3 as a `DummyVecEnv` of `TokenActions(gymnasium.make(id))`, number
    by number for a seed, and faster: all replies that end in a step are scored in one call of the
    reward, and nothing is copied that was not changed.

    Args:
        env: id of a chat environment, or a `ChatVectorEnv` with autoreset disabled.
        num_envs: how many (N), where `env` is an id.
        vocabulary: what may be written, as for `TokenActions`.
        **env_kwargs: keywords of the environment, where `env` is an id.

    >>> venv = ChatVecEnv("chat_envs/Echo-easy-v0", num_envs=2)
    >>> venv.reset()["input_ids"].shape
    (2, 384)
    """

    def __init__(
        self,
        env: str | ChatVectorEnv,
        num_envs: int = 8,
        *,
        vocabulary: str | Sequence[int] = "all",
        **env_kwargs: Any,
    ) -> None:
        self.vector = make_env(env, num_envs, **env_kwargs)
        self.envs = [TokenActions(one, vocabulary) for one in self.vector.envs]
        first = self.envs[0]
        self._actions: Sequence[SupportsIndex] = ()
        size = (self.vector.num_envs, self.vector.context_length)
        self._ids_NC: npt.NDArray[np.int64] = np.zeros(size, np.int64)
        self._mask_NC: npt.NDArray[np.int8] = np.zeros(size, np.int8)
        super().__init__(
            self.vector.num_envs, first.observation_space, first.action_space
        )

    def reset(self) -> VecEnvObs:
        """Begin an episode in every environment, with the seeds and options that were set."""
        for i, options in enumerate(self._options):
            seeds: list[int | None] = [None] * self.num_envs
            seeds[i] = self._seeds[i]
            self._seat([i], seeds, options)
        self._reset_seeds()
        self._reset_options()
        return self._observe()

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Take the (N,) actions of the next `step_wait`.

        Raises:
            ValueError: if they have another shape; nothing was written then.
        """
        if actions.shape != (self.num_envs,):
            raise ValueError(
                f"Actions have shape ({self.num_envs},), one token an environment, got "
                f"{actions.shape}."
            )
        self._actions = actions.tolist()

    def step_wait(self) -> VecEnvStepReturn:
        """Write one token in every environment; take the turn of those whose reply has ended.

        Returns:
            Observations, (N,) float32 rewards, (N,) bool, and one `info` an environment. Where an
            episode is over the next has begun; `info["terminal_observation"]` is how it ended.
        """
        rewards = np.zeros(self.num_envs, dtype=np.float32)
        dones = np.zeros(self.num_envs, dtype=np.bool_)
        replies: dict[int, npt.NDArray[np.int64]] = {}
        infos: list[dict[str, Any]] = [{}] * self.num_envs
        for i, (env, action) in enumerate(zip(self.envs, self._actions, strict=True)):
            reply = env.write(action)
            if reply is None:
                env.show_draft(self._ids_NC[i], self._mask_NC[i])
                infos[i] = env.describe()
                infos[i]["TimeLimit.truncated"] = False
            else:
                replies[i] = reply
        if replies:
            places = list(replies)
            _, earned, terminated, truncated, _ = self.vector.step_some(
                places, list(replies.values())
            )
            rewards[places] = earned
            dones[places] = terminated | truncated
            is_cut = (truncated & ~terminated).tolist()
            for i, cut in zip(places, is_cut, strict=True):
                infos[i] = self._answer(i, is_cut=cut, is_over=bool(dones[i]))
            if dones.any():
                self._seat(np.flatnonzero(dones).tolist(), None, None)
        return self._observe(), rewards, dones, infos

    def _answer(self, i: int, *, is_cut: bool, is_over: bool) -> dict[str, Any]:
        """Return the `info` of an environment that has taken its turn; show its context."""
        env = self.vector.envs[i]
        info = env.describe()
        info["TimeLimit.truncated"] = is_cut
        if is_over:
            info["terminal_observation"] = env.observe()
        else:
            self._show(i)
        return info

    def _seat(
        self,
        places: Sequence[int],
        seeds: Sequence[int | None] | None,
        options: dict[str, Any] | None,
    ) -> None:
        """Begin episodes in some environments."""
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[list(places)] = True
        self.vector.reset(seed=seeds, options={**(options or {}), "reset_mask": mask})
        for i in places:
            self.envs[i].begin()
            self.reset_infos[i] = self.vector.envs[i].describe()
            self._show(i)

    def _show(self, i: int) -> None:
        seen = self.vector.envs[i].observe()
        self._ids_NC[i] = seen["input_ids"]
        self._mask_NC[i] = seen["attention_mask"]

    def _observe(self) -> dict[str, npt.NDArray[Any]]:
        return {
            "attention_mask": self._mask_NC.copy(),
            "input_ids": self._ids_NC.copy(),
        }

    def close(self) -> None:
        """Close every environment."""
        self.vector.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of each environment, as `DummyVecEnv` does."""
        return [env.get_wrapper_attr(attr_name) for env in self._some(indices)]

    def set_attr(
        self, attr_name: str, value: Any, indices: VecEnvIndices = None
    ) -> None:
        """Set an attribute of each environment's outermost wrapper."""
        for env in self._some(indices):
            setattr(env, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call a method of each environment."""
        return [
            env.get_wrapper_attr(method_name)(*method_args, **method_kwargs)
            for env in self._some(indices)
        ]

    def env_is_wrapped(
        self,
        wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]],
        indices: VecEnvIndices = None,
    ) -> list[bool]:
        """Return whether each environment is wrapped in that class."""
        return [is_wrapped(env, wrapper_class) for env in self._some(indices)]

    def _some(self, indices: VecEnvIndices) -> list[TokenActions]:
        return [self.envs[i] for i in self._get_indices(indices)]
