"""Transcripts on disk: one line of JSON an episode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium

from chat_envs.core import ChatEnv

__all__ = ["RecordTranscript"]


class RecordTranscript(
    gymnasium.Wrapper[Any, Any, Any, Any],
    gymnasium.utils.RecordConstructorArgs,
):
    """Appends every episode to a JSONL file, when it ends.

    A line has `id`, `seed`, `return`, `num_turns`, `success`, `termination_reason`,
    `is_truncated`, `is_complete`, `reward_components` (sums), `metrics` and `messages`, and in
    `turns` all that `rescore` needs to score each turn with another reward. An episode that is
    given up after at least one turn is written with `is_complete` false, by `reset` or `close`.
    Lines are flushed one by one, so that a crash loses no finished episode.

    Of an episode restored from a state the earlier messages are there, but only the turns taken
    since, with their rewards.

    Args:
        env: A `ChatEnv`, wrapped or not, steps of which are turns.
        path: The file. It and its folder are made if need be; lines are appended.

    >>> import chat_envs, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "transcripts.jsonl"
    >>> with RecordTranscript(gymnasium.make("chat_envs/Echo-easy-v0"), path) as env:
    ...     _ = env.reset(seed=7)
    ...     _ = env.step(env.unwrapped.encode("hello"))
    >>> json.loads(path.read_text())["messages"][2]
    {'role': 'assistant', 'content': 'hello'}
    >>> folder.cleanup()
    """

    def __init__(self, env: gymnasium.Env[Any, Any], path: str | Path) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self, path=str(path))
        gymnasium.Wrapper.__init__(self, env)
        chat_env = env.unwrapped
        if not isinstance(chat_env, ChatEnv):
            raise TypeError(
                f"RecordTranscript needs a ChatEnv, got {type(chat_env).__name__}"
            )
        self._chat_env = chat_env
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a", encoding="utf-8")
        self._seed: int | None = None
        self._episode_return = 0.0
        self._components: dict[str, float] = {}
        self._info: dict[str, Any] | None = None
        self._turns: list[dict[str, Any]] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Write what was left unfinished and begin an episode."""
        self._write(is_complete=False, is_truncated=False)
        observation, info = self.env.reset(seed=seed, options=options)
        self._seed = seed
        self._episode_return = 0.0
        self._components = dict.fromkeys(info["reward_components"], 0.0)
        self._turns = []
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one turn; write the episode if it ends."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._episode_return += float(reward)
        for name, value in info["reward_components"].items():
            self._components[name] += value
        self._info = info
        self._turns.append(self._turn_record(float(reward), info))
        if terminated or truncated:
            self._write(is_complete=True, is_truncated=truncated)
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        """Write what was left unfinished and close the file."""
        if not self._file.closed:
            self._write(is_complete=False, is_truncated=False)
            self._file.close()
        super().close()

    def _turn_record(self, reward: float, info: dict[str, Any]) -> dict[str, Any]:
        """Return the turn just taken: what a reward function was told, and what came of it."""
        request = self._chat_env.reward_request()
        told = request.info
        return {
            "turn": request.turn,
            "reply_index": len(request.prompt),
            "num_messages": len(request.messages),
            "reply_ids": request.reply_ids.tolist(),
            "terminated": request.terminated,
            "success": bool(told["success"]),
            "termination_reason": told["termination_reason"],
            "metrics": {name: float(value) for name, value in told["metrics"].items()},
            "task_components": (
                None if request.task is None else dict(request.task_components)
            ),
            "gold_reward": info["gold_reward"],
            "reward": reward,
            "reward_components": dict(info["reward_components"]),
            "reward_valid": info["reward_valid"],
        }

    def _write(self, *, is_complete: bool, is_truncated: bool) -> None:
        """Write the episode at hand, if it has a turn that was not written."""
        if self._info is None:
            return
        info, self._info = self._info, None
        line = {
            "id": self.spec.id if self.spec else type(self._chat_env).__name__,
            "seed": self._seed,
            "return": self._episode_return,
            "num_turns": info["turn"],
            "success": info["success"],
            "termination_reason": info["termination_reason"],
            "is_truncated": bool(is_truncated),
            "is_complete": is_complete,
            "reward_components": self._components,
            "metrics": info["metrics"],
            "messages": [m.as_dict() for m in self._chat_env.conversation],
            "task_names": list(self._chat_env.component_names),
            "turns": self._turns,
        }
        # ASCII alone: text with lone surrogates has no UTF-8 form, but it has escapes.
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
