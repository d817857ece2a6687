"""`ChatVectorEnv`: many dialogues stepped together, all replies scored in one call.

Byte-identical to Gymnasium's own `SyncVectorEnv` and `AsyncVectorEnv` over the same environments,
in all three autoreset modes; besides, `step_some` steps a subset, so that dialogues need not
march in lockstep.

Shape legend: N environments, C ids of a context, R ids of a reply.
"""

from __future__ import annotations

import operator
from typing import Any, Callable, Mapping, Protocol, Sequence

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from chat_envs.context import TokenContext, as_count, stack_padded
from chat_envs.core import ChatEnv, Observation
from chat_envs.core.info import describe_all
from chat_envs.core.scoring import score_turns

__all__ = ["ChatVectorEnv", "vector_entry_point"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Step = tuple[Observation, Floats, Bools, Bools, dict[str, Any]]


class ChatVectorEnv(VectorEnv[Observation, npt.NDArray[np.int64], npt.NDArray[Any]]):
    """N environments of one class.

    Args:
        make_env: makes one environment from keywords (its class will do).
        num_envs: how many, at least 1.
        autoreset_mode: "NextStep", "SameStep" or "Disabled" (Gymnasium's `AutoresetMode`).
        max_episode_steps: truncate an episode after so many turns since its `reset`, as Gymnasium's
            `TimeLimit` does; None for no such limit.
        **kwargs: keywords of each environment.

    Raises:
        ValueError, TypeError: if a number is no integer of at least 1, or the mode is unknown.
    """

    def __init__(
        self,
        make_env: Callable[..., ChatEnv],
        num_envs: int,
        *,
        autoreset_mode: str | AutoresetMode = "NextStep",
        max_episode_steps: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.num_envs = num_envs = as_count("num_envs", num_envs)
        modes = [mode.value for mode in AutoresetMode]
        if autoreset_mode not in (*modes, *AutoresetMode):
            raise ValueError(
                f"autoreset_mode must be one of {modes}, got {autoreset_mode!r}."
            )
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.max_episode_steps = (
            None
            if max_episode_steps is None
            else as_count("max_episode_steps", max_episode_steps)
        )
        first = make_env(**kwargs)
        # One scorer for all: a reward model is loaded once and scores all replies in one call.
        kwargs = kwargs | {"reward": first.scorer, "tokenizer": first.tokenizer}
        self.envs = [first, *(make_env(**kwargs) for _ in range(num_envs - 1))]
        self.scorer = first.scorer
        self.tokenizer = first.tokenizer
        self.template = first.template
        self.context_length = first.context_length
        self.reply_length = first.reply_length
        self.metadata = dict(first.metadata) | {"autoreset_mode": self.autoreset_mode}
        self.render_mode = first.render_mode
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self.observation_space = batch_space(first.observation_space, num_envs)
        self.action_space = batch_space(first.action_space, num_envs)
        self._everyone = list(range(num_envs))
        self._has_own_reset = type(first).reset is not ChatEnv.reset
        self._is_over = np.zeros(num_envs, dtype=np.bool_)
        self._first_turns = [0] * num_envs  # where each episode stood when it was reset

    # Gymnasium ---------------------------------------------------------------------------

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin episodes: in all environments, or in those of `options["reset_mask"]`.

        Args:
            seed: one for each environment, or an int s for s, s + 1, ..., or None.
            options: passed on to each environment, without `reset_mask` ((N,) bool) and `states`;
                not changed. `{"state": state}` restores one saved episode in all of them,
                `{"states": [...]}` one in each, None where an episode is to begin.

        Raises:
            ValueError: if the numbers do not agree, or a state comes with a seed, or is refused.
        """
        seeds = self._seeds(seed)
        shared = dict(options or {})
        indices = self._everyone
        if "reset_mask" in shared:
            indices = self._chosen_by(shared.pop("reset_mask"))
        own = self._own_options(shared)
        for i in indices:
            self._seat(i, seeds[i], None if options is None else shared | own[i])
        return self._observe(self._everyone), self._info(indices)

    def step(self, actions: npt.ArrayLike) -> Step:
        """Take one turn in every environment.

        Args:
            actions: (N, R) ids.

        Raises:
            gymnasium.error.ResetNeeded: if an episode is over and none begins by itself.
        """
        ids = self.envs[0].as_ids(actions)
        if ids.shape != (self.num_envs, self.reply_length):
            raise ValueError(
                f"Actions have shape ({self.num_envs}, {self.reply_length}), got {ids.shape}."
            )
        rows = ids.tolist()
        dead = self._is_over & (self.autoreset_mode == AutoresetMode.NEXT_STEP)
        alive = np.flatnonzero(~dead).tolist()
        rewards, terminations, truncations = self._turn(alive, [rows[i] for i in alive])
        for i in np.flatnonzero(dead).tolist():
            self._seat(i, None, None)
        infos: dict[str, Any] = {}
        if self.autoreset_mode == AutoresetMode.SAME_STEP and self._is_over.any():
            infos = self._restart(np.flatnonzero(self._is_over).tolist())
        infos |= self._info(self._everyone)
        return self._observe(self._everyone), rewards, terminations, truncations, infos

    def render(self) -> tuple[Any, ...] | None:
        """Return every environment's transcript."""
        return tuple(env.render() for env in self.envs)

    def close_extras(self, **kwargs: Any) -> None:
        """Close every environment, once, as `close` does of Gymnasium's own vectors."""
        for env in self.envs:
            env.close()

    # More than Gymnasium ------------------------------------------------------------------

    def step_some(
        self, indices: Sequence[int], replies: Sequence[npt.ArrayLike]
    ) -> Step:
        """Take one turn in some environments; the others wait.

        Args:
            indices: n distinct environments.
            replies: n arrays of at most R ids, unpadded or padded.

        Returns:
            What `step` returns, with one row for each of `indices`, in their order; `info` has
            no `_key` masks, since every row is there.

        Raises:
            ValueError: unless `autoreset_mode` is "Disabled"; no dialogue has moved then.
            gymnasium.error.ResetNeeded: if the episode of one of them is over.
        """
        if self.autoreset_mode != AutoresetMode.DISABLED:
            raise ValueError(
                "step_some needs autoreset_mode='Disabled', got "
                f"{self.autoreset_mode.value!r}: an environment that waits cannot autoreset."
            )
        indices = [operator.index(i) for i in indices]
        is_sound = set(indices) <= set(self._everyone)
        if not indices or not is_sound or len(set(indices)) != len(indices):
            raise ValueError(
                f"step_some takes distinct environments of 0 to {self.num_envs - 1}, at least "
                f"one, got {indices}."
            )
        if len(replies) != len(indices):
            raise ValueError(
                f"step_some takes one reply for each environment, got {len(replies)} for "
                f"{len(indices)}."
            )
        rows = []
        for reply in replies:
            ids = self.envs[0].as_ids(reply)
            if ids.ndim != 1 or len(ids) > self.reply_length:
                raise ValueError(
                    f"A reply is at most {self.reply_length} ids, got shape {ids.shape}."
                )
            rows.append(ids.tolist())
        rewards, terminations, truncations = self._turn(indices, rows)
        infos = describe_all([self.envs[i] for i in indices])
        infos["action_mask"] = self._stack(indices, "action_mask")
        return (
            self._observe(indices),
            rewards[indices],
            terminations[indices],
            truncations[indices],
            infos,
        )

    def contexts(self) -> list[TokenContext]:
        """Return each environment's token context, with the episode's exact ids."""
        return [env.context for env in self.envs]

    def states(self) -> list[dict[str, Any]]:
        """Return each environment's state, for `reset(options={"states": states})`."""
        return [env.state() for env in self.envs]

    # Inside ---------------------------------------------------------------------------------

    def _turn(
        self, indices: list[int], rows: list[list[int]]
    ) -> tuple[Floats, Bools, Bools]:
        """Advance the dialogues, score their replies in one call, settle."""
        self._require_open(indices)
        envs = [self.envs[i] for i in indices]
        for env, row in zip(envs, rows, strict=True):
            env._advance(row)
        outcomes = score_turns(self.scorer, envs)
        rewards = np.zeros(self.num_envs, dtype=np.float64)
        terminations = np.zeros(self.num_envs, dtype=np.bool_)
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        for i, env, outcome in zip(indices, envs, outcomes, strict=True):
            rewards[i], terminations[i], truncations[i] = env._settle(outcome)
            if self.max_episode_steps is not None:
                # As TimeLimit does it, whether or not the task ended in the same turn.
                num_turns = env.turn - self._first_turns[i]
                truncations[i] |= num_turns >= self.max_episode_steps
        self._is_over[indices] = (terminations | truncations)[indices]
        return rewards, terminations, truncations

    def _require_open(self, indices: list[int]) -> None:
        """Raise, before any dialogue moves, if one of them cannot."""
        is_over = self._is_over.tolist()
        closed = [i for i in indices if is_over[i] or self.envs[i].is_over]
        if closed:
            raise gymnasium.error.ResetNeeded(
                f"The episodes of the environments {closed} are over (or never began): call "
                "reset(), with options={'reset_mask': ...} to begin these alone."
            )

    def _seat(self, i: int, seed: int | None, options: dict[str, Any] | None) -> None:
        """Begin an episode in environment i."""
        env = self.envs[i]
        if self._has_own_reset:
            env.reset(seed=seed, options=options)
        else:
            env._reset(seed, options)
        self._first_turns[i] = self.envs[i].turn
        self._is_over[i] = False

    def _restart(self, indices: list[int]) -> dict[str, Any]:
        """Return the final observations and infos of these environments and reset them."""
        final_obs = np.full(self.num_envs, None, dtype=object)
        for i in indices:
            final_obs[i] = self.envs[i].observe()
        infos = {
            "final_obs": final_obs,
            "_final_obs": self._mask(indices),
            "final_info": self._info(indices),
            "_final_info": self._mask(indices),
        }
        for i in indices:
            self._seat(i, None, None)
        return infos

    def _observe(self, indices: list[int]) -> Observation:
        return {
            "input_ids": self._stack(indices, "input_ids"),
            "attention_mask": self._stack(indices, "attention_mask"),
        }

    def _stack(self, indices: list[int], name: str) -> npt.NDArray[Any]:
        return stack_padded([self.envs[i].context for i in indices], name)

    def _mask(self, indices: list[int]) -> Bools:
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[indices] = True
        return mask

    def _info(self, indices: list[int]) -> dict[str, Any]:
        """Return the infos of these environments, laid out as Gymnasium's vector infos."""
        columns = describe_all([self.envs[i] for i in indices])
        columns["action_mask"] = self._stack(indices, "action_mask")
        return self._spread(columns, indices, self._mask(indices))

    def _spread(
        self, columns: Mapping[str, Any], indices: list[int], mask: Bools
    ) -> dict[str, Any]:
        """Spread columns of n rows to N rows and add Gymnasium's `_key` masks, each its own."""
        infos: dict[str, Any] = {}
        for key, column in columns.items():
            if isinstance(column, dict):
                infos[key] = self._spread(column, indices, mask)
            elif len(indices) == self.num_envs:
                infos[key] = column
            else:
                empty = None if column.dtype == object else 0
                infos[key] = np.full(
                    (self.num_envs, *column.shape[1:]), empty, column.dtype
                )
                infos[key][indices] = column
            infos[f"_{key}"] = mask.copy()
        return infos

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [int(seed) + i for i in self._everyone]
        seeds = [None if s is None else operator.index(s) for s in seed]
        if len(seeds) != self.num_envs:
            raise ValueError(
                f"{self.num_envs} environments need as many seeds, got {len(seeds)}."
            )
        return seeds

    def _own_options(self, shared: dict[str, Any]) -> list[dict[str, Any]]:
        """Take `states` out of the options; return what each environment gets of it."""
        if "states" not in shared:
            return [{}] * self.num_envs
        states = shared.pop("states")
        if "state" in shared:
            raise ValueError(
                "options has both 'state', for all environments, and 'states', one for each; "
                "give one of them."
            )
        if not isinstance(states, (list, tuple)) or len(states) != self.num_envs:
            raise ValueError(
                f"options['states'] is a list of {self.num_envs} states, one for each "
                f"environment, None where an episode is to begin; got {states!r}."
            )
        return [{} if state is None else {"state": state} for state in states]

    def _chosen_by(self, mask: Any) -> list[int]:
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"options['reset_mask'] is a bool array, got {mask!r}.")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"options['reset_mask'] has shape ({self.num_envs},) and a True in it, got "
                f"{mask!r}."
            )
        return [i for i in self._everyone if mask[i]]


class _MakeVector(Protocol):
    def __call__(
        self,
        num_envs: int,
        autoreset_mode: str | AutoresetMode = "NextStep",
        max_episode_steps: int | None = None,
        **kwargs: Any,
    ) -> ChatVectorEnv: ...


def vector_entry_point(env_class: Callable[..., ChatEnv]) -> _MakeVector:
    """Return the `make_vector` that a module exports beside its environment.

    >>> from chat_envs.envs.echo import Echo
    >>> vector_entry_point(Echo)(num_envs=3).num_envs
    3
    """

    def make_vector(
        num_envs: int,
        autoreset_mode: str | AutoresetMode = "NextStep",
        max_episode_steps: int | None = None,
        **kwargs: Any,
    ) -> ChatVectorEnv:
        """Return `num_envs` environments as one `ChatVectorEnv`."""
        return ChatVectorEnv(
            env_class,
            num_envs,
            autoreset_mode=autoreset_mode,
            max_episode_steps=max_episode_steps,
            **kwargs,
        )

    return make_vector
