"""Players whose code is not ours: algorithms of Stable-Baselines3, and agents of a user's own.

Shape legend: N dialogues, C ids of a context, R ids of a reply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from agents.experience.dialogue import Reply, make_env, play
from agents.experience.rollout import Rollout
from benchmarks.cell import Curve
from benchmarks.job import Job, evaluation_kwargs, make_sb3_agent
from benchmarks.own_agent import find_own_agent
from benchmarks.player import NUM_ENVS, CurveLog, Goals
from chat_envs.vector import ChatVectorEnv

__all__ = ["MalformedReplyError", "OwnPlayer", "SB3Player", "check_actions"]

_NUM_POINTS = 30  # of a curve


class MalformedReplyError(ValueError):
    """An agent returned what is no reply; the message says what was expected."""


class SB3Player:
    """An algorithm of Stable-Baselines3 on tokens. A timestep of its is a token."""

    has_start = True

    def __init__(self, job: Job) -> None:
        self._job = job
        self._agent = make_sb3_agent(job)
        # Builds the network and trains nothing, so that the beginning can be scored too.
        self._agent.learn(job.env, 0, seed=job.seed)

    def play(self, goals: Goals) -> Rollout:
        """Return the episodes."""
        scored = self._agent.evaluate(
            seeds=goals.seeds,
            split=goals.split,
            is_greedy=goals.is_greedy,
            num_envs=NUM_ENVS,
            env_kwargs=evaluation_kwargs(self._job.env_kwargs),
        )
        rollout: Rollout = scored.rollout
        return rollout

    def learn(self, total_tokens: int) -> Curve | None:
        """Train for so many tokens."""
        watch = _EpisodeWatch(total_tokens, "reward" in self._job.env_kwargs)
        self._agent.learn(
            self._job.env, total_tokens, seed=self._job.seed, callback=watch
        )
        watch.end(int(self._agent.model.num_timesteps))
        return watch.log.curve()

    def mean_log_prob(self, rollout: Rollout) -> None:
        """Return None: nobody keeps the network as it was."""


class _EpisodeWatch:
    """A callback of Stable-Baselines3 in its plainest form: called with the loop's variables."""

    def __init__(self, total_tokens: int, is_paid_otherwise: bool) -> None:
        self.log = CurveLog(is_paid_otherwise)
        self._every = max(total_tokens // _NUM_POINTS, 1)
        self._next = self._every
        self._noted = 0
        self._num_turns = 0
        self._returns: list[float] = []

    def __call__(self, variables: Mapping[str, Any], names: Mapping[str, Any]) -> bool:
        """Note the episodes that have ended; go on."""
        for info in variables["infos"]:
            if "episode" in info:
                self._returns.append(float(info["episode"]["r"]))
                self._num_turns += int(info.get("turn", 0))
        num_tokens = int(variables["self"].num_timesteps)
        if num_tokens >= self._next and self._returns:
            self._note(num_tokens)
            self._next = num_tokens + self._every
        return True

    def end(self, num_tokens: int) -> None:
        """Note the end, so that the last point tells what was spent."""
        if num_tokens > self._noted:
            self._note(num_tokens)

    def _note(self, num_tokens: int) -> None:
        known = {"return": float(np.mean(self._returns))} if self._returns else {}
        self.log.add(self._num_turns, num_tokens, known)
        self._returns, self._noted = [], num_tokens


class OwnPlayer:
    """An agent from outside (`benchmarks.own_agent.OwnAgent`)."""

    has_start = False

    def __init__(self, job: Job) -> None:
        self._job = job
        self._agent = find_own_agent(job.base)(
            job.env, job.seed, dict(job.env_kwargs), **job.settings
        )

    def play(self, goals: Goals) -> Rollout:
        """Return the episodes.

        Raises:
            MalformedReplyError: the agent's replies are none.
        """
        seeds = goals.seeds
        env = make_env(
            self._job.env, min(NUM_ENVS, len(seeds)), **goals.env_kwargs(self._job)
        )

        def reply(places: Sequence[int]) -> list[Reply]:
            seen = [env.envs[place].observe() for place in places]
            observation = {
                name: np.stack([one[name] for one in seen]) for name in seen[0]
            }
            answer: Any = self._agent.predict(
                observation, deterministic=goals.is_greedy
            )
            if not isinstance(answer, tuple) or len(answer) != 2:
                raise MalformedReplyError(
                    f"predict returns a pair, actions and anything, got {answer!r:.200}"
                )
            actions = check_actions(answer[0], len(places), env)
            return [_reply(row, env) for row in actions]

        return Rollout(play(env, seeds, range(len(seeds)), reply))

    def learn(self, total_tokens: int) -> None:
        """Let it learn; nobody sees how it goes on the way."""
        self._agent.learn(total_tokens)

    def mean_log_prob(self, rollout: Rollout) -> None:
        """Return None: nobody knows its model."""


def check_actions(
    actions: Any, num_rows: int, env: ChatVectorEnv
) -> npt.NDArray[np.int64]:
    """Return (N, R) actions if they are replies.

    Raises:
        MalformedReplyError: says what is wrong with them.
    """
    try:
        ids = np.asarray(actions)
    except (TypeError, ValueError) as error:
        raise MalformedReplyError(f"the actions are no array: {error}") from error
    if ids.dtype.kind not in "iu":
        raise MalformedReplyError(
            f"actions are integers, ids of the vocabulary; got dtype {ids.dtype}"
        )
    longest = env.reply_length
    is_shaped = ids.ndim == 2 and ids.shape[0] == num_rows
    if not is_shaped or not 1 <= ids.shape[1] <= longest:
        raise MalformedReplyError(
            f"actions have the shape ({num_rows}, 1 to {longest}), got {ids.shape}"
        )
    num_ids = len(env.tokenizer)
    if int(ids.min()) < 0 or int(ids.max()) >= num_ids:
        raise MalformedReplyError(
            f"ids lie in [0, {num_ids}), got {ids.min()} to {ids.max()}"
        )
    return ids.astype(np.int64)


def _reply(ids: npt.NDArray[np.int64], env: ChatVectorEnv) -> Reply:
    """Return what the environment reads of a row: up to its first control id."""
    is_control = np.isin(ids, list(env.tokenizer.control_ids))
    end = int(is_control.argmax()) if is_control.any() else len(ids)
    has_stop = end < len(ids) and int(ids[end]) in env.template.stop_ids
    said = ids[: end + has_stop]
    if not len(said):
        raise MalformedReplyError(
            f"a reply begins with the control id {ids[0]}, which says nothing and ends nothing; "
            f"to say nothing, write a stop id alone: {sorted(env.template.stop_ids)}"
        )
    return Reply(said, np.zeros(len(said), dtype=np.float32), is_cut=not has_stop)
